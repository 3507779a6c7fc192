//! A key is revoked while a node is cut off from both others by the network: that node must not answer it for longer than
//! `access.stale_after_ms`.

use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};

use super::course::{Scene, under_load};
use super::table::Row;
use crate::client::Client;
use crate::cluster::{PATIENCE, eventually};
use crate::testbed::links;
use crate::testbed::stand::Setup;
use crate::{Proof, When};

/// How long a node believes its copy of the keys.
const STALE_AFTER: Duration = Duration::from_secs(5);
/// What an answer may be late by on a busy machine.
const NOISE: Duration = Duration::from_millis(500);
/// How long the node is asked.
const ASKED: Duration = Duration::from_secs(12);

/// Runs it.
///
/// # Errors
/// When the testbed cannot be run or does not heal.
pub async fn run() -> Proof<Row> {
    let extra = format!("\n[access]\nstale_after_ms = {}\n", STALE_AFTER.as_millis());
    under_load(Setup { extra, ..Setup::default() }, async |scene| {
        let cut = scene.stand.cluster.leader_of_most().await?;
        let others = scene.stand.others(cut);
        let (id, doomed) = doomed(scene, cut).await?;
        scene.strike().await?;
        for other in &others {
            links::cut_both(scene.stand.container(cut)?, scene.stand.container(*other)?)?;
        }
        let url = format!("{}/v1/keys/{id}", scene.stand.cluster.url(others[0]));
        let admin = scene.stand.cluster.admin.clone();
        eventually("the key is revoked", PATIENCE, async || {
            let answer = admin.call(Method::DELETE, &url, &[], Default::default()).await.when("revoking")?;
            if answer.status == 404 { Ok(answer) } else { answer.expect_status(204) }
        })
        .await?;
        ask(scene, cut, &doomed, Instant::now()).await?;
        for index in 0..3 {
            links::mend(scene.stand.container(index)?)?;
        }
        scene.mended();
        let url = format!("{}/v1/templates", scene.stand.cluster.url(cut));
        eventually("the node is back, and knows that the key is revoked", PATIENCE, async || {
            doomed.call(Method::GET, &url, &[], Default::default()).await.when("asking")?.expect_status(401)
        })
        .await?;
        Ok(())
    })
    .await
}

/// A key that works on the node, and its id.
async fn doomed(scene: &Scene, at: usize) -> Proof<(String, Client)> {
    let cluster = &scene.stand.cluster;
    let body = json!({"name": "doomed", "role": "viewer"});
    let made = cluster.admin.send(Method::POST, &format!("{}/v1/keys", cluster.url(at)), &body).await?;
    let made: Value = made.expect_status(201)?.json()?;
    let text = |name: &str| made[name].as_str().map(str::to_owned).when("reading the new key");
    Ok((text("id")?, Client::new(&text("key")?)))
}

/// Asks the node that is cut off with the revoked key, and notes for how long it answered.
async fn ask(scene: &mut Scene, cut: usize, doomed: &Client, revoked: Instant) -> Proof {
    let url = format!("{}/v1/templates", scene.stand.cluster.url(cut));
    let (mut longest, mut refused) = (Duration::ZERO, 0);
    while revoked.elapsed() < ASKED {
        let got = doomed.call(Method::GET, &url, &[], Default::default()).await.when("asking")?;
        match (got.status, got.code().as_deref()) {
            (200, _) => longest = revoked.elapsed(),
            (503, Some("cut_off")) => refused += 1,
            (status, code) => scene.must(false, || format!("a node that is cut off answered {status} {code:?}")),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    scene.must(refused > 0, || "the node never said that it is cut off".to_owned());
    scene.must(longest <= STALE_AFTER + NOISE, || format!("the revoked key worked for {longest:?}"));
    let (longest, most) = (longest.as_secs_f64(), STALE_AFTER.as_secs());
    scene.note(format!("the revoked key worked for {longest:.2} s of {most} s, then `cut_off` {refused} times"));
    Ok(())
}
