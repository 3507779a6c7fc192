//! The partition machine from outside: state + command at *t* → state + answer + hints + records.

#![allow(clippy::expect_used)]

mod attempts;
mod callbacks;
mod closing;
mod fixture;
mod intake;
mod leases;
mod ownership;
mod properties;
mod recalls;
mod receipts;
mod redrive;
mod tokens;
