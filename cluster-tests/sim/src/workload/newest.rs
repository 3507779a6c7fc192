//! A template that was just put at one node is looked for, listed and sent with at another.

use rand::Rng;
use serde_json::{Value, json};

use super::Caller;
use crate::clock::elapsed;
use crate::http::{Got, call};
use crate::world::{Letter, Verdict};

pub(super) async fn newest(caller: &mut Caller) {
    let (number, at) = (caller.fresh(), caller.node());
    let name = format!("new-{number}");
    let bearer = caller.world.book.borrow().key.clone();
    let path = format!("/v1/templates/{name}");
    let body = json!({"channel": "sms", "account": "good", "content": {"text": "number {{ n }}"}});
    if !matches!(call(at, &bearer, "PUT", &path, None, Some(&body)).await, Got::Answer(200, _)) {
        return;
    }
    let node = caller.node();
    let mut denied = Vec::new();
    if let Got::Answer(200, list) = call(node, &bearer, "GET", "/v1/templates", None, None).await
        && !names(&list).any(|listed| listed == name)
    {
        denied.push(format!("is not listed by n{node}"));
    }
    if matches!(call(node, &bearer, "GET", &path, None, None).await, Got::Answer(404, _)) {
        denied.push(format!("is not there for n{node}"));
    }
    let to = format!("+86138003{:05}", caller.chance.random_range(0..99));
    let mut letter = Letter::new("plain", caller.fresh(), vec![to]);
    letter.body["template"] = name.clone().into();
    let (node, began) = (caller.node(), elapsed());
    let verdict = caller.ask(node, "/v1/messages", None, &letter.body).await;
    if matches!(&verdict, Verdict::Refused(_, code) if code == "unknown_template") {
        denied.push(format!("is unknown to n{node}, which was to send by it"));
    }
    caller.keep(began, None, &letter, verdict);
    let denied = denied.into_iter().map(|what| format!("{name} was put at n{at} and {what}"));
    caller.world.book.borrow_mut().denied.extend(denied);
}

fn names(list: &Value) -> impl Iterator<Item = &str> {
    list["templates"].as_array().into_iter().flatten().filter_map(|template| template["name"].as_str())
}
