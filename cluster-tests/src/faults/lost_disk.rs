//! One node loses its disk and comes back under its own number with nothing.

use std::fs;

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
        fs::remove_dir_all(&data).when("taking a disk away")?;
        fs::create_dir_all(&data).when("giving an empty disk")?;
        open_to_all(&data)?;
        scene.stand.cluster.nodes[index].restart()?;
        scene.mended();
        Ok(())
    })
    .await
}
