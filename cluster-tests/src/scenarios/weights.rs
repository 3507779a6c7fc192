//! The accounts of a route get their shares, counted at the provider.

use hyper::Method;
use serde_json::{Value, json};

use crate::cluster::{Cluster, PATIENCE, Shape, eventually};
use crate::failure::ensure;
use crate::load::{Load, Plan};
use crate::report::Report;
use crate::two_accounts::{TwoAccounts, USERS};
use crate::{Proof, When};

/// Sends `messages` by a route of 70 to 30 over three nodes.
///
/// # Errors
/// When a share is off by more than two in a hundred, or something is lost or wrong.
pub async fn run(messages: u64) -> Proof<Report> {
    let provider = TwoAccounts::start().await?;
    let cluster = Cluster::start(&Shape::full(3, 8)).await?;
    teach(&cluster, &provider, &json!({})).await?;
    let tally = Load::start(&cluster.admin, plan(&cluster, &provider, messages)).finish().await?;
    cluster.wait_drained().await?;
    let seen = provider.seen();
    ensure(seen.wrong == 0, || format!("{} calls were of nobody", seen.wrong))?;
    let lost = tally.accepted.values().filter(|id| !seen.distinct.contains(*id)).count();
    ensure(lost == 0, || format!("{lost} of {} were lost", tally.accepted.len()))?;
    let share = share(seen.taken);
    ensure((68.0..=72.0).contains(&share), || format!("the first account got {share:.2} %: {:?}", seen.taken))?;
    let mut report = Report::new("weights 70 to 30 by a route, three nodes");
    report.line("calls of each account", format!("{:?}", seen.taken));
    report.line("share of the first", format!("{share:.2} %"));
    Ok(report)
}

/// The first account's share of what was taken, in percent.
pub(super) fn share([first, second]: [u64; 2]) -> f64 {
    100.0 * first as f64 / (first + second).max(1) as f64
}

/// Two accounts, a route of 70 to 30 with these wishes for delivery, and the template `hook` that goes by it.
///
/// The supplier is one that a document describes: what a recipient's own server answers would speak against that server.
pub(super) async fn teach(cluster: &Cluster, provider: &TwoAccounts, delivery: &Value) -> Proof {
    for (name, user) in ["a", "b"].into_iter().zip(USERS) {
        let headers = json!({"x-user": "{{ user }}", "x-delivery": "{{ delivery }}"});
        let body = json!({"to": "{{ to }}", "n": "{{ content.n }}"});
        let definition = json!({"url": format!("{}/send", provider.base()), "headers": headers, "body": body});
        let account = json!({"provider": "custom_http", "settings": {"user": user, "definition": definition}});
        put(cluster, &format!("accounts/{name}"), &account).await?;
    }
    let accounts = json!([{"account": "a", "weight": 70}, {"account": "b", "weight": 30}]);
    let route = json!({"channel": "webhook", "accounts": accounts, "delivery": delivery});
    put(cluster, "routes/hooks", &route).await?;
    let retry = json!({"max_attempts": 20, "first_ms": 200, "longest_ms": 2_000, "give_up_after_ms": 600_000});
    let template = json!({"channel": "webhook", "route": "hooks", "content": {"n": "{{ n }}"}, "retry": retry});
    put(cluster, "templates/hook", &template).await?;
    for url in cluster.urls() {
        let url = format!("{url}/v1/templates/hook");
        eventually("a node knows the template", PATIENCE, async || cluster.admin.get::<Value>(&url).await).await?;
    }
    Ok(())
}

async fn put(cluster: &Cluster, path: &str, body: &Value) -> Proof {
    let url = format!("{}/v1/{path}", cluster.url(0));
    cluster.admin.send(Method::PUT, &url, body).await?.expect_status(200).when(format!("putting {path}"))?;
    Ok(())
}

/// A load over all nodes, one recipient a request.
pub(super) fn plan(cluster: &Cluster, provider: &TwoAccounts, most: u64) -> Plan {
    Plan {
        nodes: cluster.urls(),
        template: "hook".to_owned(),
        receiver: provider.base(),
        connections: 16,
        batch: 1,
        first: 0,
        most,
        keyed: true,
    }
}
