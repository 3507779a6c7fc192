//! The bench: what Tidings keeps of the rate of a relay that keeps nothing, measured on one machine in one run.

pub mod disk;
pub mod relay;
pub mod run;
pub mod table;
