//! The leader of most partitions sends through a narrow link: packets queue for up to 300 ms, and what does not fit into
//! the queue is dropped.

use std::time::Duration;

use super::course::under_load;
use super::table::Row;
use crate::Proof;
use crate::testbed::links;
use crate::testbed::stand::Setup;

/// Why it cannot be run here, if it cannot.
pub fn missing() -> Option<String> {
    links::missing_shaper()
}

/// Runs it.
///
/// # Errors
/// When the testbed cannot be run or does not heal.
pub async fn run() -> Proof<Row> {
    under_load(Setup::default(), async |scene| {
        let leader = scene.stand.cluster.leader_of_most().await?;
        scene.strike().await?;
        let narrow = ["tbf", "rate", "1mbit", "burst", "10kb", "latency", "300ms"];
        links::shape(scene.stand.container(leader)?, &narrow)?;
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
