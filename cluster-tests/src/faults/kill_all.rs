//! kill -9 of all three nodes at the same moment, as when the power of a room fails.

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
        scene.strike().await?;
        let nodes = &mut scene.stand.cluster.nodes;
        nodes.iter().try_for_each(|node| node.hit())?;
        nodes.iter_mut().try_for_each(|node| node.reap())?;
        nodes.iter_mut().try_for_each(|node| node.restart())?;
        scene.mended();
        Ok(())
    })
    .await
}
