//! A copy of one node's disk is run beside it, under the same number and another address.

use super::course::under_load;
use super::table::Row;
use crate::cluster::{PATIENCE, eventually};
use crate::testbed::stand::Setup;
use crate::testbed::twin::said;
use crate::{Proof, When};

/// How the cluster says what the copy is; which of them depends on who is met first.
const WORDS: [&str; 3] = [
    "was copied: two processes were heard of",
    "or was copied and is used elsewhere",
    "or another process uses its number",
];

/// Runs it.
///
/// # Errors
/// When the testbed cannot be run or does not heal.
pub async fn run() -> Proof<Row> {
    under_load(Setup::default(), async |scene| {
        let index = scene.leader_of_fewest().await?;
        let id = scene.stand.cluster.nodes[index].id;
        scene.strike().await?;
        scene.stand.cluster.nodes[index].kill()?;
        scene.wait_led_by_others(index).await?;
        scene.stand.copy_disk(id, 4)?;
        scene.stand.cluster.nodes[index].restart()?;
        scene.stand.cluster.wait_ready().await?;
        scene.strike().await?;
        let mut twin = scene.stand.start_twin(id)?;
        let words = eventually("the copy is told what it is", PATIENCE, async || {
            said(twin.container().when("finding the twin")?, &WORDS).when("reading its log")
        })
        .await?;
        scene.note(format!("the copy was told: \"{words}\""));
        scene.accept_more(1_000).await?;
        // Whichever of them the cluster believes, it may change its mind once more.
        scene.strike().await?;
        twin.kill()?;
        scene.mended();
        Ok(())
    })
    .await
}
