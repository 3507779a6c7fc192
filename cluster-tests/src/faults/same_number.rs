//! An empty node takes the number of one that runs, and asks to join.

use hyper::Method;
use serde_json::json;

use super::course::under_load;
use super::table::Row;
use crate::cluster::{PATIENCE, eventually};
use crate::testbed::stand::Setup;
use crate::{Proof, When};

/// Runs it.
///
/// # Errors
/// When the testbed cannot be run or does not heal.
pub async fn run() -> Proof<Row> {
    under_load(Setup::default(), async |scene| {
        let index = scene.leader_of_fewest().await?;
        let id = scene.stand.cluster.nodes[index].id;
        scene.strike().await?;
        let mut twin = scene.stand.start_twin(id)?;
        let health = format!("{}/healthz", twin.url());
        let admin = scene.stand.cluster.admin.clone();
        eventually("the second node of the number answers", PATIENCE, async || {
            admin.call(Method::GET, &health, &[], Default::default()).await.when("asking")?.expect_status(200)
        })
        .await?;
        let body = json!({"id": id, "peer_addr": twin.peer_addr(), "api_addr": twin.api_addr()});
        for url in scene.stand.cluster.urls() {
            let answer = admin.send(Method::POST, &format!("{url}/v1/cluster/nodes"), &body).await?;
            let said = String::from_utf8_lossy(&answer.body).into_owned();
            scene.must(answer.status == 409 || answer.status == 422, || {
                format!("a node of a number in use was answered {} {said}", answer.status)
            });
            let code = answer.code().unwrap_or_default();
            let why = ["disk", "number", "this is node"].iter().any(|words| said.contains(words));
            scene.must(why, || format!("it is not said why: {said}"));
            if url == scene.stand.cluster.url(0) {
                scene.note(format!("refused with {} `{code}`", answer.status));
            }
        }
        scene.accept_more(1_000).await?;
        twin.kill()?;
        scene.mended();
        Ok(())
    })
    .await
}
