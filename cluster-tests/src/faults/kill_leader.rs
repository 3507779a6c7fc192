//! kill -9 of the node that leads the most partitions; it comes back once the others lead.

use std::time::Duration;

use super::course::under_load;
use super::table::Row;
use crate::Proof;
use crate::testbed::stand::Setup;

/// The longest time that a dead leader may keep the cluster from accepting.
const GAP: Duration = Duration::from_secs(3);

/// Runs it.
///
/// # Errors
/// When the testbed cannot be run or does not heal.
pub async fn run() -> Proof<Row> {
    let row = under_load(Setup::default(), async |scene| {
        let leader = scene.stand.cluster.leader_of_most().await?;
        scene.strike().await?;
        scene.stand.cluster.nodes[leader].kill()?;
        scene.wait_led_by_others(leader).await?;
        scene.accept_more(500).await?;
        scene.stand.cluster.nodes[leader].restart()?;
        scene.mended();
        Ok(())
    })
    .await?;
    Ok(row.with_gap_within(GAP))
}
