//! How nodes talk: one port, framed and multiplexed, both sides proving that they know the cluster's secret.

mod client;
mod handshake;
mod network;
mod roll;
mod server;
mod snapshot;
mod wire;

pub(crate) use client::{CallError, Lane, Peers};
pub(crate) use handshake::Identity;
pub(crate) use network::Network;
pub(crate) use roll::Roll;
pub(crate) use server::{Service, serve};
pub(crate) use snapshot::{Arrivals, Complete, Piece};
pub(crate) use wire::Kind;
