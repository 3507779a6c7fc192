//! Mail goes to a real mail server over STARTTLS with a login, and is read from its Maildir.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};

use super::dkim;
use crate::cluster::{Cluster, PATIENCE, Shape, eventually};
use crate::failure::ensure;
use crate::mta::{DOMAIN, Mta, PASSWORD, USER};
use crate::report::Report;
use crate::{Proof, When};

/// The one mailbox that the server does not have.
const NOBODY: &str = "nobody-here";

/// Sends `mails` mails in one message, one of them to a mailbox that does not exist.
///
/// # Errors
/// When a mail is missing or doubled, or the refused one is not a dead letter with the server's words.
pub async fn run(mails: u64) -> Proof<Report> {
    let mta = Mta::start().await?;
    let cluster = Cluster::start(&Shape::full(1, 2)).await?;
    let account = json!({"provider": "email/smtp", "settings": {
        "host": "localhost", "port": mta.port, "username": USER, "password": PASSWORD,
        "from": format!("Shop <no-reply@{DOMAIN}>"), "ca_pem": mta.ca_pem}});
    let template = json!({"channel": "email", "account": "mail",
        "content": {"subject": "订单 {{ n }}", "text": "Order {{ n }} was sent.", "html": "<p>Order {{ n }} was sent.</p>"},
        "retry": {"max_attempts": 3, "first_ms": 200, "longest_ms": 1_000, "give_up_after_ms": 60_000}});
    cluster.teach("mail", &account, &template).await?;
    let mut to: Vec<Value> = (0..mails)
        .map(|n| json!({"to": format!("customer-{n}@{DOMAIN}"), "variables": {"n": n.to_string()}}))
        .collect();
    to.push(json!({"to": format!("{NOBODY}@{DOMAIN}"), "variables": {"n": "none"}}));
    let body = json!({"template": "mail", "to": to});
    let url = format!("{}/v1/messages", cluster.url(0));
    let answer: Value = cluster.admin.send(Method::POST, &url, &body).await?.expect_status(202)?.json()?;
    let stats = cluster.wait_drained().await?;
    let ended = |state: &str| stats.ended.get(state).copied().unwrap_or(0);
    let log = mta.log();
    let mut lines: Vec<_> = log.lines().rev().take(5).collect();
    lines.reverse();
    ensure(ended("delivered") == mails && ended("failed") == 1, || {
        format!("{:?} ended so; the server says: {}", stats.ended, lines.join("\n"))
    })?;
    let arrived = eventually("every mail is in the Maildir", PATIENCE, async || {
        let arrived = by_recipient(&mta.mails()?)?;
        ensure(arrived.len() as u64 == mails, || format!("{} of {mails} are", arrived.len()))?;
        Ok(arrived)
    })
    .await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let copies = mta.mails()?.len() - arrived.len();
    ensure(copies == 0, || format!("{copies} mails came twice"))?;
    let words = refusal(&cluster, &answer, mails).await?;
    let signed = dkim::run(&cluster, &mta, &account).await?;
    let mut report = Report::new("mail through a real server (exim4: STARTTLS, AUTH PLAIN, Maildir)");
    report.line("mails in the Maildir", arrived.len());
    report.line("copies", copies);
    report.line("the refused one ended as", words);
    report.line("of signed ones, another implementation of DKIM (Python dkimpy) says", signed);
    Ok(report)
}

/// How many mails each recipient has, read from the header the server added.
fn by_recipient(mails: &[String]) -> Proof<BTreeMap<String, usize>> {
    let mut all = BTreeMap::new();
    for mail in mails {
        let to = mail.lines().find_map(|line| line.strip_prefix("Envelope-to: ")).when("reading Envelope-to")?;
        let n = to.strip_prefix("customer-").and_then(|rest| rest.split('@').next()).when("reading a recipient")?;
        ensure(mail.contains(&format!("Order {n} was sent.")), || format!("the mail to {to} has another text"))?;
        *all.entry(to.to_owned()).or_default() += 1;
    }
    Ok(all)
}

/// The last delivery's state and the server's words about it.
async fn refusal(cluster: &Cluster, answer: &Value, index: u64) -> Proof<String> {
    let deliveries = answer["deliveries"].as_array().when("reading deliveries")?;
    let refused = deliveries.iter().find(|one| one["index"] == index).when("finding the refused delivery")?;
    let id = refused["id"].as_str().when("reading its id")?;
    let delivery: Value = cluster.ask(&format!("/v1/deliveries/{id}")).await?;
    let words = delivery["reason"]["words"].as_str().unwrap_or_default();
    ensure(words.contains("no such mailbox"), || format!("the server's words are missing: {delivery}"))?;
    Ok(format!("{}: {words}", delivery["state"].as_str().unwrap_or_default()))
}
