//! The partition machine from outside: state + command at *t* → state + answer + hints + records.

#![allow(clippy::expect_used)]

mod attempts;
mod closing;
mod fixture;
mod intake;
mod leases;
mod ownership;
mod properties;
mod redrive;
mod rule_properties;
mod rules;
