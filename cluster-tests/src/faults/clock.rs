//! The wall clock of the leader of most partitions jumps by an hour, and back.

use std::time::Duration;

use super::course::under_load;
use super::table::Row;
use crate::testbed::stand::Setup;
use crate::{Proof, When};

/// Runs it with a jump of so many seconds.
///
/// # Errors
/// When the testbed cannot be run or does not heal.
pub async fn run(seconds: i64) -> Proof<Row> {
    under_load(Setup { bent: true, ..Setup::default() }, async |scene| {
        let leader = scene.stand.cluster.leader_of_most().await?;
        let id = scene.stand.cluster.nodes[leader].id;
        let bent = scene.stand.bent.clone().when("bending a node")?;
        scene.strike().await?;
        bent.clock(id, seconds)?;
        scene.hold(Duration::from_secs(12)).await;
        bent.clock(id, 0)?;
        scene.mended();
        Ok(())
    })
    .await
}
