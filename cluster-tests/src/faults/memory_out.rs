//! One node has next to no memory left: it refuses, or is killed and started again.

use std::time::Duration;

use hyper::Method;
use serde_json::json;

use super::course::{Scene, under_load};
use super::table::Row;
use crate::Proof;
use crate::process::resident;
use crate::testbed::compose::docker;
use crate::testbed::provider::INSIDE;
use crate::testbed::stand::Setup;

/// Memory that is left to the node beside what it occupies, in bytes.
const ROOM: u64 = 8 << 20;
/// How long nothing is left.
const LASTS: Duration = Duration::from_secs(12);
/// As much as any process may want.
const PLENTY: &str = "8g";

/// Runs it.
///
/// # Errors
/// When the testbed cannot be run or does not heal.
pub async fn run() -> Proof<Row> {
    under_load(Setup::default(), async |scene| {
        let index = scene.stand.cluster.leader_of_most().await?;
        let container = scene.stand.container(index)?.id.clone();
        let limit = |most: &str| docker(&["update", "--memory", most, "--memory-swap", most, &container]);
        scene.strike().await?;
        let most = resident(scene.stand.container(index)?.pid()?)? + ROOM;
        limit(&most.to_string())?;
        let mut refused = 0;
        for _ in 0..LASTS.as_secs() {
            scene.hold(Duration::from_secs(1)).await;
            refused += u32::from(refuses(scene, index).await);
        }
        let runs = scene.stand.container(index)?.runs();
        scene.strike().await?;
        limit(PLENTY)?;
        if !runs {
            scene.stand.cluster.nodes[index].reap()?;
            scene.stand.cluster.nodes[index].restart()?;
        }
        scene.mended();
        scene.must(!runs || refused > 0, || "it was neither killed, nor did it refuse".to_owned());
        let end = if runs { "it went on" } else { "it was killed" };
        scene.note(format!(
            "{} MiB left it; refused {refused} of {} asked with `memory_full`; {end}",
            ROOM >> 20,
            LASTS.as_secs()
        ));
        Ok(())
    })
    .await
}

/// Whether the node says that it has no memory for a message. The message itself could not be rendered, so none is made.
async fn refuses(scene: &Scene, index: usize) -> bool {
    let url = format!("{}/v1/messages", scene.stand.cluster.url(index));
    let body = json!({"template": "none of this name", "to": [{"to": format!("{INSIDE}/never")}]});
    let answer = scene.stand.cluster.admin.send(Method::POST, &url, &body).await;
    answer.is_ok_and(|answer| answer.code().as_deref() == Some("memory_full"))
}
