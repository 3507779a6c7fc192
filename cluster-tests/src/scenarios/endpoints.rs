//! Recipients whose servers fail cost the others of the same account nothing: not their breaker, not their places.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use serde_json::{Value, json};

use super::isolation::{NOISE, Silent, TIMES, millis, p99, post};
use crate::cluster::{Cluster, PATIENCE, Shape, eventually};
use crate::failure::ensure;
use crate::receiver::{BROKEN, Manners, Receiver, SECRET};
use crate::report::Report;
use crate::{Proof, When};

/// Deliveries to each kind of broken recipient.
const EACH: u64 = 600;
/// Places of a pool: few, so that a server that hangs would soon hold all of them.
const PLACES: usize = 8;
/// How long broken recipients are there before anybody is measured beside them.
const BEFORE: Duration = Duration::from_secs(3);

/// Measures a healthy recipient alone, and beside recipients of the same account: some of its own host that answer 500, some
/// that refuse the connection, some that take it and never answer, and some of the kind that hangs on two hundred ports.
///
/// # Errors
/// When the p99 of the healthy one grows beyond noise, or the account is blamed, or what was broken is not delivered when it heals.
pub async fn run() -> Proof<Report> {
    let extra = format!("[dispatch]\npool_size = {PLACES}\n");
    let cluster = Cluster::start(&Shape { extra, ..Shape::full(3, 8) }).await?;
    let receiver = Receiver::start(Manners::default())?;
    let account =
        json!({"provider": "webhook", "settings": {"secret": SECRET, "allow_private": true, "timeout_ms": 5_000}});
    let retry = json!({"max_attempts": 100, "first_ms": 200, "longest_ms": 2_000, "give_up_after_ms": 600_000});
    let template = json!({"channel": "webhook", "account": "hook", "content": {"n": "{{ n }}"}, "retry": retry});
    cluster.teach("hook", &account, &template).await?;
    let mut report = Report::new("servers of recipients that fail, one account, three nodes");
    let alone = p99(&cluster, &receiver, "hook", 0).await?;
    report.line("healthy alone, p99", millis(alone));

    let silent = Silent::start()?;
    let many: Vec<Silent> = (0..200).map(|_| Silent::start()).collect::<Proof<_>>()?;
    let kinds: [(&str, Vec<String>); 4] = [
        ("answers 500 on the same host", (0..EACH).map(|n| format!("{}{BROKEN}{}", receiver.base(), n % 5)).collect()),
        ("refuses connections", closed(EACH)?),
        ("never answers", (0..EACH).map(|n| silent.url(n % 20)).collect()),
        ("never answers on two hundred ports", (0..EACH).map(|n| many[n as usize % many.len()].url(n)).collect()),
    ];
    let mut broken = 0;
    for (part, (kind, to)) in (1..).zip(kinds) {
        // Many deliveries to few paths: a query tells them apart, since a message goes to a recipient once.
        let one = |(n, to): (usize, String)| json!({"to": format!("{to}?n={n}"), "variables": {"n": "1"}});
        let to: Vec<Value> = to.into_iter().enumerate().map(one).collect();
        broken += to.len() as u64;
        post(&cluster, 0, &json!({"template": "hook", "to": to})).await?;
        tokio::time::sleep(BEFORE).await;
        let beside = p99(&cluster, &receiver, "hook", part).await?;
        report.line(format!("healthy beside one that {kind}, p99"), millis(beside));
        let most = (alone * TIMES).max(alone + NOISE);
        ensure(beside <= most, || {
            format!("p99 beside one that {kind}: {beside:?}, alone {alone:?}\n{}", report.text())
        })?;
    }
    let stats = cluster.stats().await?;
    ensure(stats.pending == broken, || format!("{} of {broken} wait: {stats:?}\n{}", stats.pending, report.text()))?;
    let hook: Value = cluster.ask("/v1/accounts/hook").await?;
    // Nothing is said of the health of an account that has no trouble.
    let breaker = hook["health"]["breaker"].as_str().unwrap_or("closed");
    ensure(breaker == "closed", || format!("the account is blamed: {hook}"))?;
    receiver.heal();
    eventually("the host that healed has everything", PATIENCE, async || {
        let pending = cluster.stats().await?.pending;
        ensure(pending <= broken - EACH, || format!("{pending} of {broken} wait"))
    })
    .await?;
    report.line("deliveries that waited for what healed", EACH);
    Ok(report)
}

/// URLs of a port that nobody listens on.
fn closed(count: u64) -> Proof<Vec<String>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).when("finding a port")?;
    let address = listener.local_addr().when("finding a port")?;
    Ok((0..count).map(|n| format!("http://{address}/in/{}", n % 20)).collect())
}
