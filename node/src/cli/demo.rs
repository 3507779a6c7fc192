//! `tidings demo`: one node, one message, what became of it; then it keeps running.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::client::{Api, Ask};
use super::dev::{facts, flag};
use super::failure::Failure;
use super::serving::{Alone, Started, until_told};
use super::signals::Signals;
use super::{Context, life, waiting};

/// The name of the demo's account.
const ACCOUNT: &str = "sandbox";
/// The name of the demo's template.
const TEMPLATE: &str = "hello";
/// To whom it is sent.
const RECIPIENT: &str = "+8613800138000";
/// How long the one message may take.
const WITHIN: Duration = Duration::from_secs(30);

/// The arguments of `tidings demo`.
#[derive(Args)]
#[command(after_help = "\
It sends with a sandbox, so nothing leaves the machine. The same directory can be used again and again, also by `tidings dev`.
Stops at ctrl-c or SIGTERM.")]
pub(super) struct Demo {
    #[command(flatten)]
    alone: Alone,
}

impl Demo {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let started = self.alone.start().await?;
        let out = &context.out;
        out.line(facts(out, &started))?;
        prepare(&started.api).await?;
        let delivery = send(&started.api).await?;
        out.line(format!(
            "One message was sent. This is its life (times are UTC):\n\n{}\n",
            life::draw(out, &delivery)
        ))?;
        out.line(next(&started))?;
        until_told(started.running, Signals::new()?, None).await
    }
}

/// Writes the account and the template, unless they are there from an earlier run.
async fn prepare(api: &Api) -> Result<(), Failure> {
    let account = ["v1", "accounts", ACCOUNT];
    if api.find(Ask::get(&account)).await?.is_none() {
        api.ask(Ask::put(&account, json!({"provider": "sandbox", "settings": {}}))).await?;
    }
    let template = ["v1", "templates", TEMPLATE];
    if api.find(Ask::get(&template)).await?.is_none() {
        let content = json!({"text": "Hello {{ name }}, your first tidings."});
        let spec =
            json!({"channel": "sms", "account": ACCOUNT, "content": content, "description": "Made by tidings demo"});
        api.ask(Ask::put(&template, spec)).await?;
    }
    Ok(())
}

/// Sends one message, waits for its end and gives its delivery with all events.
async fn send(api: &Api) -> Result<Value, Failure> {
    let sent = api.ask(Ask::post(&["v1", "messages"], message("Ada"))).await?;
    let missing = |what: &str| Failure::Failed(format!("the answer has no {what}: {}", sent.value));
    let message = sent.value["message_id"].as_str().ok_or_else(|| missing("message_id"))?;
    let delivery = sent.value.pointer("/deliveries/0/id").and_then(Value::as_str).ok_or_else(|| missing("delivery"))?;
    waiting::until_ended(api, message, WITHIN).await?;
    Ok(api.ask(Ask::get(&["v1", "deliveries", delivery])).await?.value)
}

fn message(name: &str) -> Value {
    json!({"template": TEMPLATE, "to": [RECIPIENT], "variables": {"name": name}})
}

fn next(started: &Started) -> String {
    let (url, key, flag) = (&started.url, started.key.expose(), flag(&started.url));
    format!(
        "Send another:\n\ncurl -X POST {url}/v1/messages -H 'Authorization: Bearer {key}' \
         -H 'Content-Type: application/json' \\\n  -d '{}'\n\n\
         What was sent:       tidings sandbox --follow{flag}\n\
         What became of it:   tidings trace --template {TEMPLATE}{flag}\n\
         It runs until ctrl-c.",
        message("Grace")
    )
}
