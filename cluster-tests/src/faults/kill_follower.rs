//! kill -9 of the node that leads the fewest groups; it comes back after a while of load.

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
        let follower = scene.leader_of_fewest().await?;
        scene.strike().await?;
        scene.stand.cluster.nodes[follower].kill()?;
        scene.wait_led_by_others(follower).await?;
        scene.accept_more(1_000).await?;
        scene.stand.cluster.nodes[follower].restart()?;
        scene.mended();
        Ok(())
    })
    .await
}
