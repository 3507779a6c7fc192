//! Everything that the leader of most partitions sends comes late, and not always in order.

use std::time::Duration;

use super::course::under_load;
use super::table::Row;
use crate::Proof;
use crate::testbed::late::Late;
use crate::testbed::stand::Setup;

/// How late a packet is on the mean, and how much more or less.
const LATE: (Duration, Duration) = (Duration::from_millis(80), Duration::from_millis(40));

/// Runs it.
///
/// # Errors
/// When the testbed cannot be run or does not heal.
pub async fn run() -> Proof<Row> {
    under_load(Setup::default(), async |scene| {
        let leader = scene.stand.cluster.leader_of_most().await?;
        scene.strike().await?;
        let late = Late::start(scene.stand.container(leader)?, LATE.0, LATE.1)?;
        for _ in 0..5 {
            scene.hold(Duration::from_secs(3)).await;
            scene.strike().await?;
        }
        drop(late);
        scene.mended();
        Ok(())
    })
    .await
}
