//! Asks all peers again and again how late it is, and gives away what is led here while this node's clock is wrong.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use super::{Company, Reading};
use crate::codec;
use crate::ledgers::Inner;
use crate::peers::{Kind, Lane};

/// How often peers are asked.
const EVERY: Duration = Duration::from_millis(500);
/// How often while this node does not know the present yet.
const EVERY_AT_FIRST: Duration = Duration::from_millis(100);
/// How long a peer may take; what takes longer says little.
const WITHIN: Duration = Duration::from_millis(400);
/// How often it is looked whether this node has to stand aside.
const LOOK: Duration = Duration::from_millis(250);
/// How long a start may wait for the present.
const AT_A_START: Duration = Duration::from_secs(1);
/// How long giving away may take before it is begun again.
const GIVE_AWAY: Duration = Duration::from_secs(10);

/// Measures until the node closes.
pub(crate) async fn measure(inner: Weak<Inner>) {
    loop {
        let Some(now) = inner.upgrade() else { return };
        let company = company(&now);
        if let Company::Others(others) = &company {
            join_all(others.iter().map(|peer| ask(&now, *peer))).await;
        }
        now.ground.clock.look(&company);
        let settled = now.ground.clock.is_settled();
        drop(now);
        sleep(if settled { EVERY } else { EVERY_AT_FIRST }).await;
    }
}

/// Who this node's clocks are compared with.
pub(crate) fn company(inner: &Inner) -> Company {
    let me = inner.node();
    let others = inner.control.host().read(|control| {
        let known = control.cluster.is_some() && control.nodes.contains_key(&me);
        known.then(|| control.staying().filter(|node| *node != me).collect())
    });
    match others {
        Some(others) => Company::Others(others),
        None if inner.peers.me().cluster.read().is_some() => Company::Unknown,
        None => Company::None,
    }
}

async fn ask(inner: &Inner, peer: u64) {
    let clock = &inner.ground.clock;
    let asked = clock.elapsed_ms();
    let answer = inner.peers.call(peer, None, Lane::Raft, Kind::Clock, bytes::Bytes::new(), WITHIN).await;
    let came = clock.elapsed_ms();
    if let Ok(reading) =
        answer.map_err(|e| e.to_string()).and_then(|a| codec::decode::<Reading>(&a).map_err(|e| e.to_string()))
    {
        clock.hear(peer, asked, came, reading);
    }
}

/// Gives away what is led here while this node's clock is astray, until the node closes. Says when that begins and ends.
pub(crate) async fn stand_aside(inner: Weak<Inner>) {
    let mut aside = false;
    loop {
        sleep(LOOK).await;
        let Some(now) = inner.upgrade() else { return };
        let astray = now.ground.clock.is_astray();
        if astray != aside {
            aside = astray;
            say(&now, astray);
            now.look.notify_one();
        }
        if astray {
            // What is under way goes on when the time runs out, and is given away at the next look.
            let _ = timeout(GIVE_AWAY, now.give_away()).await;
        }
    }
}

fn say(inner: &Arc<Inner>, astray: bool) {
    let ahead_ms =
        inner.ground.clock.wall().0.cast_signed() - inner.ground.clock.agreed().unwrap_or_default().0.cast_signed();
    if astray {
        tracing::warn!(
            ahead_ms,
            "this machine's clock is far from the time that a majority of the nodes agrees on: this node leads nothing until \
             it is right; set the machine's clock (NTP)"
        );
    } else {
        tracing::info!(ahead_ms, "this machine's clock agrees with the other nodes again");
    }
}

/// Waits until this node knows the present, for a moment at most: who asks it for something right after its start should find
/// it in the same time as the others.
pub(crate) async fn settle(inner: &Arc<Inner>) {
    let until = Instant::now() + AT_A_START;
    while !inner.ground.clock.is_settled() && matches!(company(inner), Company::Others(_)) && Instant::now() < until {
        sleep(EVERY_AT_FIRST / 2).await;
    }
}
