//! The simulation of a cluster from one seed.
