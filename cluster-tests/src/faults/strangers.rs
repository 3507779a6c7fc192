//! Strangers hold silent and dripping connections at every node, at the port of its peers or at that of its callers.

use std::time::Duration;

use super::course::{Scene, under_load};
use super::table::Row;
use crate::Proof;
use crate::testbed::crowd::{Crowd, Prober};
use crate::testbed::stand::Setup;

/// The ports inside the containers.
const API: u16 = 7_400;
const PEERS: u16 = 7_500;
/// How long the strangers stay.
const STAY: Duration = Duration::from_secs(15);
/// Longest time that an answer about health may take.
const HEALTH: Duration = Duration::from_secs(1);
/// Ten times as many as a node has places for strangers from one address at its peers' port.
const AT_PEERS: usize = 160;
/// As many as callers there are in a large house; half of them say something.
const AT_API: usize = 300;
/// The beginning of a head that does not end.
const HEAD: &[u8] = b"POST /v1/messages HTTP/1.1\r\nHost: node\r\nX: ";
/// The beginning of a TLS record that does not end (RFC 8446 §5.1): a ClientHello of 16 KiB.
const HELLO: &[u8] = &[22, 3, 1, 64, 0, 1, 0, 63, 252, 3, 3];

/// Strangers at the port where nodes speak to each other.
///
/// # Errors
/// When the testbed cannot be run or does not heal.
pub async fn at_peers() -> Proof<Row> {
    run(PEERS, AT_PEERS, HELLO).await
}

/// Strangers at the port of the API.
///
/// # Errors
/// When the testbed cannot be run or does not heal.
pub async fn at_api() -> Proof<Row> {
    run(API, AT_API, HEAD).await
}

async fn run(port: u16, count: usize, first: &'static [u8]) -> Proof<Row> {
    under_load(Setup::default(), async |scene| {
        // Connections between nodes may break, and owners change.
        scene.strike().await?;
        let prober = Prober::start(published(scene)?);
        let mut crowd = Crowd::default();
        for index in 0..3 {
            crowd.gather(scene.stand.container(index)?, port, count / 2, b"")?;
            crowd.gather(scene.stand.container(index)?, port, count / 2, first)?;
        }
        let before = scene.load.accepted();
        scene.hold(STAY).await;
        let (health, taken, opened) = (prober.seen(), scene.load.accepted() - before, crowd.opened());
        drop(crowd);
        scene.mended();
        scene.must(opened >= 3 * count as u64, || format!("only {opened} connections came about"));
        scene.must(health.failed.is_empty(), || format!("health failed: {}", health.failed.join(", ")));
        scene.must(health.slowest <= HEALTH, || format!("health was answered after {:?}", health.slowest));
        scene.must(taken > 0, || "nothing was taken while the strangers were there".to_owned());
        let slowest = health.slowest.as_millis();
        scene.note(format!("{opened} connections; health asked {} times, slowest {slowest} ms", health.asked));
        Ok(())
    })
    .await
}

/// Where the nodes answer on this machine.
pub(super) fn published(scene: &Scene) -> Proof<Vec<String>> {
    (0..3).map(|index| Ok(scene.stand.container(index)?.published.clone())).collect()
}
