//! Two nodes are stopped and come back each under the other's addresses, in the network and in their configuration.

use std::fs;
use std::time::Duration;

use super::course::under_load;
use super::table::Row;
use crate::testbed::compose::docker;
use crate::testbed::stand::{Setup, Stand};
use crate::{Proof, When};

/// Runs it.
///
/// # Errors
/// When the testbed cannot be run or does not heal.
pub async fn run() -> Proof<Row> {
    under_load(Setup::default(), async |scene| {
        scene.strike().await?;
        for index in [1, 2] {
            scene.stand.cluster.nodes[index].stop(Duration::from_secs(20)).await?;
        }
        swap(&scene.stand)?;
        for index in [1, 2] {
            scene.stand.cluster.nodes[index].restart()?;
        }
        scene.mended();
        Ok(())
    })
    .await
}

/// Gives the containers of nodes 2 and 3 each other's name in the network, and tells the nodes so.
fn swap(stand: &Stand) -> Proof {
    let network = stand.compose.network();
    for index in [1, 2] {
        docker(&["network", "disconnect", &network, &stand.container(index)?.id])?;
    }
    for (index, name, old) in [(1, "node-3", "node-2"), (2, "node-2", "node-3")] {
        docker(&["network", "connect", "--alias", name, &network, &stand.container(index)?.id])?;
        let path = stand.config(stand.cluster.nodes[index].id);
        let text = fs::read_to_string(&path).when("reading a node's config")?;
        // Written in place: the container has this very file mounted.
        fs::write(&path, text.replace(&format!("\"{old}:"), &format!("\"{name}:"))).when("swapping addresses")?;
    }
    Ok(())
}
