//! The process: wires everything and serves the HTTP API.
//!
//! [`serve`] starts a node from its configuration and gives it back [`Running`]; [`found_dev`] makes a cluster of a lone node,
//! [`restore`] one of a backup.

pub mod apart;
pub mod clock;

mod accounts;
mod api;
mod app;
mod arriving;
mod auth;
mod awake;
mod bearer;
mod bodies;
mod connections;
mod control_groups;
mod delivering;
mod descriptors;
mod doors;
mod forcing;
mod founding;
mod fresh;
mod guard;
mod heavy;
mod inflow;
mod intake;
mod ledger;
mod listener;
mod look;
mod materials;
mod meters;
mod policies;
mod private;
mod problem;
mod providers;
mod restoring;
mod running;
mod seal;
mod secret_check;
mod sign_ins;
#[cfg(feature = "sim")]
pub mod sim;
mod strict;
mod turning_away;
mod wiring;

pub use forcing::{force_disk, skip_entry};
pub use problem::Code;
pub use restoring::restore;
pub use running::{FoundError, Running, StartError, found_dev, recover_dev, serve, serve_with};
