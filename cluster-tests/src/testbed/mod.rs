//! The compose testbed: three nodes and a receiver in containers, and the ways to break them from outside.

pub mod bent;
pub mod compose;
pub mod container;
pub mod crowd;
pub mod disk;
pub mod late;
pub mod links;
pub mod person;
pub mod provider;
pub mod stand;
pub mod twin;
