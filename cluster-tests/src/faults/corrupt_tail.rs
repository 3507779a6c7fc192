//! Bytes at the tail of one node's database are flipped while it is down.

use super::course::{Scene, under_load};
use super::table::Row;
use crate::Proof;
use crate::cluster::{PATIENCE, eventually};
use crate::failure::ensure;
use crate::testbed::stand::Setup;

/// So many bytes are flipped: more than were on their way to the disk when the node died. What was not synced by then nobody was
/// promised, and a node goes on without it.
const FLIPPED: usize = 256 << 10;

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
        let data = scene.stand.data(scene.stand.cluster.nodes[index].id);
        let (at, length) = flip_tail(&data.join("ledger/db"), FLIPPED)?;
        scene.note(format!("{FLIPPED} bytes at {at} of {length} flipped"));
        scene.stand.cluster.nodes[index].restart()?;
        refused(scene, index).await?;
        scene.accept_more(500).await?;
        scene.stand.cluster.nodes[index].reap()?;
        super::lost_disk::empty(&data)?;
        scene.stand.cluster.nodes[index].restart()?;
        scene.mended();
        Ok(())
    })
    .await
}

/// Waits until the node has ended by itself, with words that say what is wrong and what to do.
async fn refused(scene: &mut Scene, index: usize) -> Proof {
    eventually("the damaged node refuses to start", PATIENCE, async || {
        let container = scene.stand.container(index)?;
        ensure(!container.runs(), || "it runs".to_owned())?;
        let words = container.log_tail();
        ensure(words.contains("damaged data in database"), || format!("it ended with: {words}"))
    })
    .await?;
    scene.note("the node refused to start and said why; an empty disk healed it");
    Ok(())
}

/// Flips so many bytes before the end of what was written to a file; the place and the file's length.
fn flip_tail(file: &std::path::Path, count: usize) -> Proof<(usize, usize)> {
    use crate::When as _;
    let mut bytes = std::fs::read(file).when("reading a database")?;
    let end = bytes.iter().rposition(|byte| *byte != 0).when("looking for the end of a database")? + 1;
    let start = end.saturating_sub(count);
    bytes[start..end].iter_mut().for_each(|byte| *byte = !*byte);
    std::fs::write(file, &bytes).when("damaging a database")?;
    Ok((start, bytes.len()))
}
