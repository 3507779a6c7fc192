//! Every sync of the leader of most partitions takes much longer than that of the others.

use std::time::Duration;

use super::course::under_load;
use super::table::Row;
use crate::testbed::stand::Setup;
use crate::{Proof, When};

/// Runs it.
///
/// # Errors
/// When the testbed cannot be run or does not heal.
pub async fn run() -> Proof<Row> {
    under_load(Setup { bent: true, ..Setup::default() }, async |scene| {
        let leader = scene.stand.cluster.leader_of_most().await?;
        let id = scene.stand.cluster.nodes[leader].id;
        let bent = scene.stand.bent.clone().when("bending a node")?;
        scene.strike().await?;
        bent.slow_sync(id, 150)?;
        for _ in 0..5 {
            scene.hold(Duration::from_secs(3)).await;
            scene.strike().await?;
        }
        bent.slow_sync(id, 0)?;
        scene.mended();
        Ok(())
    })
    .await
}
