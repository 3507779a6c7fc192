//! The partition machine from outside: state + command at *t* → state + answer + hints + records.

#![allow(clippy::expect_used)]

mod asking;
mod attempts;
mod borrowing;
mod bounces;
mod callbacks;
mod closing;
mod doubt;
mod endpoints;
mod failover;
mod fixture;
mod intake;
mod leases;
mod leaving;
mod leg_hours;
mod legs;
mod own;
mod ownership;
mod poison;
mod properties;
mod random_outside;
mod recalls;
mod receipts;
mod redrive;
mod repair;
mod routed;
mod rule_properties;
mod rules;
mod tokens;
mod waiting;
