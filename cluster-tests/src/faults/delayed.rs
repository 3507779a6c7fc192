//! Everything that the leader of most partitions sends comes late, and not always in order.

use std::time::Duration;

use super::course::under_load;
use super::table::Row;
use crate::Proof;
use crate::testbed::links;
use crate::testbed::stand::Setup;

/// Why it cannot be run here, if it cannot.
pub fn missing() -> Option<String> {
    links::missing_shaper("netem")
}

/// Runs it.
///
/// # Errors
/// When the testbed cannot be run or does not heal.
pub async fn run() -> Proof<Row> {
    under_load(Setup::default(), async |scene| {
        let leader = scene.stand.cluster.leader_of_most().await?;
        scene.strike().await?;
        links::shape(scene.stand.container(leader)?, &["netem", "delay", "80ms", "40ms"])?;
        for _ in 0..5 {
            scene.hold(Duration::from_secs(3)).await;
            scene.strike().await?;
        }
        links::mend(scene.stand.container(leader)?)?;
        scene.mended();
        Ok(())
    })
    .await
}
