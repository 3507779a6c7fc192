//! One node's disk is put back to a copy that was taken while it was stopped, after it ran on and promised more.

use super::course::{Scene, under_load};
use super::table::Row;
use crate::cluster::{PATIENCE, eventually};
use crate::testbed::stand::Setup;
use crate::testbed::twin::said;
use crate::{Proof, When};

/// The folder that the spare node would have.
const SHELF: u64 = 4;
/// How a node says what its disk is.
const WORDS: &str = "was put back to an earlier state";

/// Runs it.
///
/// # Errors
/// When the testbed cannot be run or does not heal.
pub async fn run() -> Proof<Row> {
    under_load(Setup::default(), async |scene| {
        let index = scene.leader_of_fewest().await?;
        scene.strike().await?;
        copied_while_stopped(scene, index).await?;
        scene.accept_more(1_000).await?;
        scene.strike().await?;
        let id = scene.stand.cluster.nodes[index].id;
        scene.stand.cluster.nodes[index].kill()?;
        scene.wait_led_by_others(index).await?;
        super::lost_disk::empty(&scene.stand.data(id))?;
        scene.stand.copy_disk(SHELF, id)?;
        scene.stand.cluster.nodes[index].restart()?;
        scene.mended();
        eventually("the node says what its disk is", PATIENCE, async || {
            said(scene.stand.container(index)?, &[WORDS]).when("reading its log")
        })
        .await?;
        scene.note(format!("the node said that its disk {WORDS}, and came back with a new one"));
        Ok(())
    })
    .await
}

/// Stops the node, takes the copy, and starts it again; gives back once it takes part.
async fn copied_while_stopped(scene: &mut Scene, index: usize) -> Proof {
    let id = scene.stand.cluster.nodes[index].id;
    scene.stand.cluster.nodes[index].stop(std::time::Duration::from_secs(20)).await?;
    scene.stand.copy_disk(id, SHELF)?;
    scene.stand.cluster.nodes[index].restart()?;
    scene.stand.cluster.wait_ready().await
}
