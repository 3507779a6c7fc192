//! Two of three disks are emptied at once: nobody is left who can tell what was promised, so nothing may be accepted until an
//! operator says so (`tidings cluster force-disk`). What the third disk has must all be there afterwards.

use std::time::Duration;

use serde_json::Value;

use super::course::{Scene, under_load};
use super::table::Row;
use crate::cluster::{PATIENCE, eventually};
use crate::failure::ensure;
use crate::testbed::compose::docker;
use crate::testbed::stand::Setup;
use crate::testbed::twin::said;
use crate::{Proof, When};

/// How an emptied node is told.
const WORDS: &str = "is not the one that the cluster knows";
/// How long it is looked whether anything is accepted.
const LOOKED: Duration = Duration::from_secs(8);

/// Runs it.
///
/// # Errors
/// When the testbed cannot be run or does not heal.
pub async fn run() -> Proof<Row> {
    under_load(Setup::default(), async |scene| {
        // The one disk that stays has everything, so that all of it has to be there afterwards.
        scene.load.rest(true);
        everywhere(scene).await?;
        scene.strike().await?;
        for index in [1, 2] {
            scene.stand.cluster.nodes[index].hit()?;
        }
        for index in [1, 2] {
            scene.stand.cluster.nodes[index].reap()?;
            super::lost_disk::empty(&scene.stand.data(scene.stand.cluster.nodes[index].id))?;
            scene.stand.cluster.nodes[index].restart()?;
        }
        for index in [1, 2] {
            eventually("an emptied node is told what its disk is", PATIENCE, async || {
                said(scene.stand.container(index)?, &[WORDS]).when("reading its log")
            })
            .await?;
        }
        scene.load.rest(false);
        let before = scene.load.accepted();
        scene.hold(LOOKED).await;
        let after = scene.load.accepted();
        scene.must(before == after, || format!("{} were accepted with one disk of three", after - before));
        forced(scene).await?;
        scene.mended();
        noted(scene).await
    })
    .await
}

/// Waits until everything has ended and every replica has everything.
async fn everywhere(scene: &Scene) -> Proof {
    scene.stand.cluster.wait_drained().await?;
    eventually("every replica has everything", PATIENCE, async || {
        let status = scene.stand.cluster.status().await?;
        let behind: u64 = status.groups.iter().flat_map(|group| group.lag.values()).sum();
        ensure(behind == 0, || format!("{behind} entries are missing"))
    })
    .await
}

/// The operator's last resort, as its help describes it.
async fn forced(scene: &mut Scene) -> Proof {
    scene.stand.cluster.nodes[0].stop(Duration::from_secs(20)).await?;
    let [data, config] = [scene.stand.data(1), scene.stand.config(1)].map(|path| path.display().to_string());
    let (data, config) = (format!("{data}:/data"), format!("{config}:/etc/tidings/node.toml:ro"));
    let image = std::env::var("TIDINGS_IMAGE").unwrap_or_else(|_| "tidings:testbed".to_owned());
    let mut command = vec!["run", "--rm", "--read-only", "--volume", &data, "--volume", &config, &image];
    command.extend(["cluster", "force-disk", "2", "--config", "/etc/tidings/node.toml"]);
    let refused = docker(&command).is_err();
    scene.must(refused, || "a loss was accepted that nobody had said to accept".to_owned());
    command.push("--accept-loss");
    let told = docker(&command)?;
    scene.note(format!("nothing was accepted before `force-disk`, which said \"{}\"", told.trim()));
    scene.stand.cluster.nodes[0].restart()
}

/// The audit log says what was done.
async fn noted(scene: &mut Scene) -> Proof {
    scene.stand.cluster.wait_ready().await?;
    let audit: Value = scene.stand.cluster.ask("/v1/audit?limit=500").await?;
    let noted = audit.to_string().contains("force_disk");
    scene.must(noted, || "the audit log does not name force_disk".to_owned());
    Ok(())
}
