//! The disk of one node runs full under load, and is freed again.

use std::time::Duration;

use super::course::under_load;
use super::table::Row;
use crate::testbed::stand::Setup;
use crate::{Proof, When};

/// Size of the disk, in bytes: well above what a node keeps free (256 MiB).
const SIZE: u64 = 900 << 20;
/// What is left on the full disk: less than a node keeps free.
const LEFT: u64 = 128 << 20;

/// Runs it.
///
/// # Errors
/// When the testbed cannot be run or does not heal.
pub async fn run() -> Proof<Row> {
    under_load(Setup { small_disk: Some((2, SIZE)), ..Setup::default() }, async |scene| {
        scene.strike().await?;
        scene.stand.small_disk.as_ref().when("finding the small disk")?.fill(LEFT)?;
        scene.hold(Duration::from_secs(6)).await;
        let ready = crate::client::Client::new("");
        let url = format!("{}/readyz", scene.stand.cluster.nodes[1].url());
        let answer =
            ready.call(hyper::Method::GET, &url, &[], bytes::Bytes::new()).await.when("asking the full node")?;
        let words = String::from_utf8_lossy(&answer.body).into_owned();
        crate::failure::ensure(answer.status == 503 && words.contains("disk"), || {
            format!("the node with a full disk says {} {words}", answer.status)
        })?;
        scene.hold(Duration::from_secs(6)).await;
        scene.stand.small_disk.as_ref().when("finding the small disk")?.free()?;
        scene.mended();
        Ok(())
    })
    .await
}
