//! The links of the leader of most partitions come and go, around the time of an election.

use std::time::Duration;

use super::course::under_load;
use super::table::Row;
use crate::Proof;
use crate::testbed::links;
use crate::testbed::stand::Setup;

/// How long each cut lasts, in milliseconds: shorter and longer than an election.
const CUTS: [u64; 8] = [300, 2_500, 700, 1_500, 400, 3_000, 1_000, 2_000];
/// How long the links hold between two cuts.
const BETWEEN: Duration = Duration::from_millis(700);

/// Runs it.
///
/// # Errors
/// When the testbed cannot be run or does not heal.
pub async fn run() -> Proof<Row> {
    under_load(Setup::default(), async |scene| {
        let leader = scene.stand.cluster.leader_of_most().await?;
        for cut in CUTS {
            scene.strike().await?;
            for other in scene.stand.others(leader) {
                links::cut_both(scene.stand.container(leader)?, scene.stand.container(other)?)?;
            }
            scene.hold(Duration::from_millis(cut)).await;
            for index in 0..3 {
                links::mend(scene.stand.container(index)?)?;
            }
            scene.hold(BETWEEN).await;
        }
        scene.mended();
        Ok(())
    })
    .await
}
