//! All links between nodes are cut: nobody has a majority, nothing may be accepted, and nothing is lost.

use std::time::Duration;

use super::course::under_load;
use super::table::Row;
use crate::Proof;
use crate::testbed::links;
use crate::testbed::stand::Setup;

/// Runs it.
///
/// # Errors
/// When the testbed cannot be run or does not heal.
pub async fn run() -> Proof<Row> {
    under_load(Setup::default(), async |scene| {
        scene.strike().await?;
        for (one, other) in [(0, 1), (0, 2), (1, 2)] {
            links::cut_both(scene.stand.container(one)?, scene.stand.container(other)?)?;
        }
        // What was under way is settled one way or the other by then; after that nothing can be accepted.
        scene.hold(Duration::from_secs(4)).await;
        let before = scene.load.accepted();
        scene.hold(Duration::from_secs(6)).await;
        let after = scene.load.accepted();
        for index in 0..3 {
            links::mend(scene.stand.container(index)?)?;
        }
        scene.mended();
        crate::failure::ensure(before == after, || format!("{} were accepted without a majority", after - before))
    })
    .await
}
