//! The node that leads the most partitions is frozen and wakes up in the belief that it leads.

use std::time::Duration;

use super::course::under_load;
use super::table::Row;
use crate::Proof;
use crate::testbed::stand::Setup;

/// Runs it.
///
/// # Errors
/// When the testbed cannot be run or does not heal.
pub async fn run() -> Proof<Row> {
    under_load(Setup::default(), async |scene| {
        let leader = scene.stand.cluster.leader_of_most().await?;
        scene.strike().await?;
        scene.stand.cluster.nodes[leader].pause()?;
        scene.hold(Duration::from_secs(15)).await;
        scene.stand.cluster.nodes[leader].resume()?;
        scene.mended();
        Ok(())
    })
    .await
}
