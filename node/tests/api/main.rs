//! The API of a node, asked over HTTP: real groups on a real disk, started in this process.

#![allow(clippy::expect_used, reason = "these are tests; clippy only sees that in test functions")]

mod backpressure;
mod backup;
mod bad_input;
mod behind;
mod cancel;
mod caps;
mod cluster;
mod content;
mod cut_off;
mod dead_letters;
mod declared;
mod doors;
mod double;
mod dry_run;
mod first_message;
mod further_legs;
mod idempotency;
mod limits;
mod lists;
mod lone;
mod materials;
mod members;
mod people;
mod policies;
mod preview;
mod process;
mod recalls;
mod receipts;
mod reconfigure;
mod restart;
mod robots;
mod routes;
mod rules;
mod secrets;
mod sign_ins;
mod stopping;
mod strangers;
mod suppressions;
mod upgrade;
mod words;
