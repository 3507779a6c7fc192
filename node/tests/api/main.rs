//! The API of a node, asked over HTTP: real groups on a real disk, started in this process.

#![allow(clippy::expect_used, reason = "these are tests; clippy only sees that in test functions")]

mod backup;
mod bad_input;
mod cancel;
mod cluster;
mod content;
mod dead_letters;
mod first_message;
mod idempotency;
mod lists;
mod lone;
mod materials;
mod members;
mod people;
mod preview;
mod process;
mod reconfigure;
mod restart;
mod secrets;
mod stopping;
mod upgrade;
