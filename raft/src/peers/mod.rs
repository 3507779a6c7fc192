//! How nodes talk: one port, ciphered, framed and multiplexed, both sides proving that they know the cluster's secret.

mod cipher;
#[cfg(test)]
#[cfg(not(feature = "sim"))]
mod cipher_tests;
mod client;
mod contact;
mod disks;
#[cfg(test)]
#[cfg(not(feature = "sim"))]
mod disks_tests;
mod handshake;
#[cfg(test)]
mod handshake_tests;
mod introduce;
mod network;
mod penalties;
mod places;
mod refusals;
mod roll;
mod server;
#[cfg(test)]
#[cfg(not(feature = "sim"))]
mod server_tests;
mod snapshot;
mod wire;

pub(crate) use cipher::Cipher;
pub(crate) use client::{CallError, Lane, Peers};
pub(crate) use disks::DiskBook;
pub(crate) use handshake::Identity;
pub(crate) use network::Network;
pub(crate) use server::{Service, serve};
pub(crate) use snapshot::{Arrivals, Complete, Piece};
pub(crate) use wire::Kind;

/// What every connection is set to: nothing small waits for more, and an end that is gone is noticed.
#[cfg(not(feature = "sim"))]
fn settle(stream: &tokio::net::TcpStream) {
    use rustix::net::sockopt;
    use std::time::Duration;
    /// An idle connection is asked whether its other end still is there after so long, and then so often.
    const IDLE: Duration = Duration::from_secs(15);
    /// What was sent and is not acknowledged for so long ends the connection, in milliseconds.
    const UNACKNOWLEDGED_MS: u32 = 30_000;
    let set = stream.set_nodelay(true).and_then(|()| {
        sockopt::set_socket_keepalive(stream, true)?;
        sockopt::set_tcp_keepidle(stream, IDLE)?;
        sockopt::set_tcp_keepintvl(stream, IDLE / 3)?;
        sockopt::set_tcp_keepcnt(stream, 3)?;
        #[cfg(target_os = "linux")]
        sockopt::set_tcp_user_timeout(stream, UNACKNOWLEDGED_MS)?;
        Ok(())
    });
    if let Err(error) = set {
        tracing::debug!(%error, "a connection to a peer keeps its defaults");
    }
}

#[cfg(feature = "sim")]
fn settle(stream: &crate::base::net::TcpStream) {
    let _ = stream.set_nodelay(true);
}
