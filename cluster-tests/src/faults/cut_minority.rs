//! The node that leads the most partitions loses its links to both others: it still reaches callers and the provider.

use std::time::Duration;

use super::course::under_load;
use super::table::Row;
use crate::Proof;
use crate::testbed::links;
use crate::testbed::stand::Setup;

/// Runs it.
///
/// # Errors
/// When the testbed cannot be run or does not heal.
pub async fn run() -> Proof<Row> {
    under_load(Setup::default(), async |scene| {
        let leader = scene.stand.cluster.leader_of_most().await?;
        scene.strike().await?;
        for other in scene.stand.others(leader) {
            links::cut_both(scene.stand.container(leader)?, scene.stand.container(other)?)?;
        }
        scene.hold(Duration::from_secs(12)).await;
        for index in 0..3 {
            links::mend(scene.stand.container(index)?)?;
        }
        scene.mended();
        Ok(())
    })
    .await
}
