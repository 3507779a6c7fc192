//! Every sync of one node's disk fails, as a dying disk does, so that the Raft cores on it die: the process has to end by itself
//! with its reason, the others go on, and it comes back when the disk is whole.

use super::course::under_load;
use super::table::Row;
use crate::cluster::{PATIENCE, eventually};
use crate::failure::ensure;
use crate::testbed::stand::Setup;
use crate::{Proof, When};

/// What the node says at its end.
const WORDS: [&str; 2] = ["cannot go on", "Input/output error"];

/// Runs it.
///
/// # Errors
/// When the testbed cannot be run or does not heal.
pub async fn run() -> Proof<Row> {
    under_load(Setup { bent: true, ..Setup::default() }, async |scene| {
        let index = scene.stand.cluster.leader_of_most().await?;
        let id = scene.stand.cluster.nodes[index].id;
        let bent = scene.stand.bent.clone().when("bending a node")?;
        scene.strike().await?;
        bent.broken_disk(id, true)?;
        eventually("the node whose disk is broken ends by itself", PATIENCE, async || {
            ensure(!scene.stand.container(index)?.runs(), || "it runs".to_owned())
        })
        .await?;
        let code = scene.stand.container(index)?.exit_code()?;
        let log = scene.stand.container(index)?.log();
        scene.must(code == 1, || format!("it ended with exit code {code}"));
        for words in WORDS {
            scene.must(log.contains(words), || format!("it did not say \"{words}\""));
        }
        scene.wait_led_by_others(index).await?;
        scene.accept_more(500).await?;
        // It may have been started again by whoever looks after it, as long as the disk is broken: it ends again.
        scene.stand.cluster.nodes[index].restart()?;
        eventually("the node ends again", PATIENCE, async || {
            ensure(!scene.stand.container(index)?.runs(), || "it runs".to_owned())
        })
        .await?;
        bent.broken_disk(id, false)?;
        scene.strike().await?;
        scene.stand.cluster.nodes[index].restart()?;
        scene.mended();
        scene.note(format!("it ended by itself with exit code {code} and its reason, twice"));
        Ok(())
    })
    .await
}
