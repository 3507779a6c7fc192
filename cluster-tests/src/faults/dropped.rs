//! One packet of ten that arrives at any node is lost by chance.

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
        for index in 0..3 {
            links::lose(scene.stand.container(index)?, 10)?;
        }
        for _ in 0..5 {
            scene.hold(Duration::from_secs(3)).await;
            // Owners may change at any time in such weather.
            scene.strike().await?;
        }
        for index in 0..3 {
            links::mend(scene.stand.container(index)?)?;
        }
        scene.mended();
        Ok(())
    })
    .await
}
