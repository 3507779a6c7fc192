//! One node loses its disk and comes back under its own number with nothing.

use std::fs;
use std::path::Path;

use super::course::under_load;
use super::table::Row;
use crate::testbed::disk::open_to_all;
use crate::testbed::stand::Setup;
use crate::{Proof, When};

/// Runs it.
///
/// # Errors
/// When the testbed cannot be run or does not heal.
pub async fn run() -> Proof<Row> {
    under_load(Setup::default(), async |scene| {
        let index = scene.leader_of_fewest().await?;
        scene.strike().await?;
        scene.stand.cluster.nodes[index].kill()?;
        scene.wait_led_by_others(index).await?;
        scene.accept_more(500).await?;
        let data = scene.stand.data(scene.stand.cluster.nodes[index].id);
        empty(&data)?;
        scene.stand.cluster.nodes[index].restart()?;
        scene.mended();
        Ok(())
    })
    .await
}

/// Gives a node that is down an empty disk.
pub(super) fn empty(data: &Path) -> Proof {
    // What is inside goes, not the folder itself: the container has that one mounted.
    for entry in fs::read_dir(data).when("looking at a disk")? {
        let path = entry.when("looking at a disk")?.path();
        let gone = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        gone.when("emptying a disk")?;
    }
    open_to_all(data)
}
