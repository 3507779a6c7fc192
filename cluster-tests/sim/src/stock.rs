//! What the operator puts into the cluster: accounts, routes, templates and policies, and what is changed about them later.

use serde_json::{Value, json};

use crate::invariants::frequency::{MOST, WINDOW_MS};
use crate::lists::{self, Edition};
use crate::operator::insist;
use crate::poison::APART;
use crate::world::World;

/// The account that a delivery goes on with when it leaves its first channel.
pub(crate) const LEG_ACCOUNT: &str = "second";
/// A word that is masked in `wordy`, and one for which nothing of `strict` is sent.
pub(crate) const MASKED: &str = "dreadful";
pub(crate) const REFUSED: &str = "forbidden";

/// Puts everything.
pub(crate) async fn fill(world: &World) -> Result<(), String> {
    accounts(world).await?;
    templates(world).await?;
    policies(world).await
}

async fn accounts(world: &World) -> Result<(), String> {
    let limit = json!([{"permits": 4, "window_ms": 1_500}, {"permits": 10, "window_ms": 6_000}]);
    // Short enough that what waits for an account that breaks all the time ends while somebody looks.
    let delivery = json!({"breaker": {"min_calls": 6, "open_ms": 200, "longest_open_ms": 500}});
    for account in ["good", "shaky", "bad", "left", "tardy", "picky", LEG_ACCOUNT, "capped"] {
        let limit = if account == "capped" { limit.clone() } else { Value::Null };
        let body = json!({"provider": "simulated", "limit": limit, "delivery": delivery});
        insist(world, "PUT", &format!("/v1/accounts/{account}"), Some(&body), 200).await?;
    }
    let route = json!({"channel": "sms", "accounts": [{"account": "left"}, {"account": "good"}]});
    insist(world, "PUT", "/v1/routes/both", Some(&route), 200).await.map(|_| ())
}

/// Every template says the number that it is sent with; those with words say more.
async fn templates(world: &World) -> Result<(), String> {
    let retry = json!({"max_attempts": 8, "first_ms": 200, "longest_ms": 1_000});
    let slow = json!({"max_attempts": 8, "first_ms": 600, "longest_ms": 1_000});
    let few = json!({"max_attempts": 2, "first_ms": 100, "longest_ms": 500});
    let mail = json!({"channel": "email", "content": {"subject": "a number", "text": "number {{ n }}"}});
    let heavy = json!({"content": {"text": format!("{APART}number {{{{ n }}}} {{{{ w }}}}")}});
    let words = json!({"content": {"text": "number {{ n }} {{ w }}"}});
    for (template, account, retry, more) in [
        ("plain", "good", &retry, json!({})),
        ("routed", "", &retry, json!({"route": "both"})),
        ("once", "shaky", &retry, json!({"on_unknown": "stop"})),
        ("unique", "good", &retry, json!({"dedup": {"window_ms": 3_600_000}})),
        ("capped", "capped", &retry, json!({})),
        ("bad", "bad", &few, json!({})),
        ("often", "tardy", &slow, json!({})),
        ("night", "good", &retry, json!({})),
        ("vip", "good", &retry, json!({})),
        ("heavy", "good", &retry, heavy),
        ("wordy", "good", &retry, words.clone()),
        ("strict", "good", &retry, words),
        // Before the one that falls back to it.
        ("mail", LEG_ACCOUNT, &retry, mail),
        ("fall", "picky", &few, json!({"fallback": {"template": "mail"}})),
    ] {
        let content = json!({"text": "number {{ n }}"});
        let mut body = json!({"channel": "sms", "account": account, "content": content, "retry": retry});
        if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
            body.extend(more.clone());
            body.retain(|field, value| field != "account" || value != "");
        }
        insist(world, "PUT", &format!("/v1/templates/{template}"), Some(&body), 200).await?;
    }
    Ok(())
}

/// The policies, each for one template, but for the discard list, which is for all.
async fn policies(world: &World) -> Result<(), String> {
    let often = json!({"windows": [{"window_ms": WINDOW_MS, "most": MOST}]});
    let windows = json!([{"from": "11:00", "to": "12:02"}]);
    let night = json!({"windows": windows, "time_zone": "UTC", "then": "defer"});
    for (name, kind, template, spec) in [
        ("often", "frequency", "often", often.clone()),
        ("further", "frequency", "mail", often),
        ("night", "quiet_hours", "night", night),
        ("guests", "allow", "vip", json!({"recipients": [lists::GUESTS]})),
        ("mild", "words", "wordy", json!({"mode": "mask", "words": [MASKED]})),
        ("hard", "words", "strict", json!({"mode": "reject", "words": [REFUSED]})),
    ] {
        let body = json!({"kind": kind, "spec": spec, "selector": {"templates": [template]}});
        insist(world, "PUT", &format!("/v1/policies/{name}"), Some(&body), 200).await?;
    }
    discard(world, Edition::First).await
}

/// Puts an edition of the discard list.
pub(crate) async fn discard(world: &World, edition: Edition) -> Result<(), String> {
    let body = json!({"kind": "discard", "spec": lists::spec(edition)});
    insist(world, "PUT", &format!("/v1/policies/{}", lists::DISCARD), Some(&body), 200).await.map(|_| ())
}
