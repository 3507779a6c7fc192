//! `tidings send`: one message to one or many recipients.

use std::io::BufRead;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::client::{Api, Ask, Reply};
use super::failure::Failure;
use super::output::{Column, Out, rows};
use super::{Context, pairs, times, waiting};

/// What a kept delivery looks like in the answer.
const KEPT: &[Column] = &[("DELIVERY", "/id"), ("TO", "/to"), ("STATE", "/state")];
/// What a dry run says, a rule a line.
const JUDGED: &[Column] = &[
    ("TO", "/delivery/to"),
    ("STATE", "/delivery/state"),
    ("DUE (UTC)", "/delivery/due"),
    ("RULE", "/rule/rule"),
    ("RULING", "/rule/ruling"),
    ("DETAIL", "/rule/detail"),
];
/// What a rejected recipient looks like.
const REJECTED: &[Column] = &[("INDEX", "/index"), ("REJECTED", "/to"), ("CODE", "/code"), ("DETAIL", "/detail")];
/// What a delivery looks like after waiting.
const ENDED: &[Column] = &[
    ("DELIVERY", "/id"),
    ("TO", "/to"),
    ("STATE", "/state"),
    ("ATTEMPTS", "/attempts"),
    ("PROVIDER ID", "/provider_id"),
    ("REASON", "/reason/code"),
    ("WORDS", "/reason/words"),
];

/// The arguments of `tidings send`.
#[derive(Args)]
#[command(after_help = "\
tidings send otp --to +8613800138000 --var code=123456 --wait
tidings send news --to - --vars '{\"month\": \"May\"}' < addresses.txt

Ends with 1 when a recipient was rejected or, with --wait, when a delivery did not end as delivered.")]
pub(super) struct Send {
    /// The template's name
    template: String,
    /// A recipient; give it again for more, or - to read one a line from standard input
    #[arg(long, required = true, value_name = "ADDRESS", allow_hyphen_values = true)]
    to: Vec<String>,
    /// A variable, as a text; give it again for more
    #[arg(long, value_name = "NAME=VALUE", value_parser = pairs::argument)]
    var: Vec<(String, String)>,
    /// Variables as a JSON object; --var wins over it
    #[arg(long, value_name = "JSON")]
    vars: Option<String>,
    /// Your own id of the business case, to find the message by
    #[arg(long)]
    biz_id: Option<String>,
    /// Not before this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = times::argument)]
    send_at: Option<String>,
    /// Not after this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = times::argument)]
    expires_at: Option<String>,
    /// The lane to wait in, instead of the one of the template's message type
    #[arg(long, value_enum)]
    priority: Option<Priority>,
    /// Makes the command safe to repeat: the same key never sends twice
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// A tag, which policies select by; give it again for more
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// The recipients' IANA time zone, for quiet hours
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// Only tell what each rule would do with each recipient; nothing is sent
    #[arg(long, conflicts_with_all = ["wait", "idempotency_key"])]
    dry_run: bool,
    /// Wait until every delivery has ended
    #[arg(long)]
    wait: bool,
    /// How long to wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "wait")]
    timeout: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Priority {
    High,
    Normal,
    Low,
}

impl Send {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let api = context.api()?;
        let body = self.body()?;
        if self.dry_run {
            let reply = api.ask(Ask::post(&["v1", "messages"], body).query("dry_run", Some(true))).await?;
            let rejected = rows(&reply.value, "rejected").len();
            context.out.answer(&reply, |value| rehearsed(&context.out, value))?;
            return finish(rejected, 0);
        }
        let key = self.idempotency_key.clone().unwrap_or_else(|| format!("cli-{:032x}", rand::random::<u128>()));
        let reply = api.ask(Ask::post(&["v1", "messages"], body).idempotent(&key)).await.map_err(|f| hint(f, &key))?;
        let rejected = rows(&reply.value, "rejected").len();
        match reply.value["message_id"].as_str() {
            Some(id) if self.wait => {
                let left = self.wait(context, &api, &reply, id).await?;
                finish(rejected, left)
            }
            _ => {
                context.out.answer(&reply, |value| kept(&context.out, value, reply.replayed))?;
                finish(rejected, 0)
            }
        }
    }

    fn body(&self) -> Result<Value, Failure> {
        let mut body = Map::new();
        body.insert("template".to_owned(), json!(self.template));
        body.insert("to".to_owned(), json!(recipients(&self.to, std::io::stdin().lock())?));
        if let Some(variables) = pairs::variables(self.vars.as_deref(), &self.var)? {
            body.insert("variables".to_owned(), Value::Object(variables));
        }
        let priority = self.priority.and_then(|p| p.to_possible_value()).map(|p| p.get_name().to_owned());
        let texts = [
            ("biz_id", self.biz_id.clone()),
            ("send_at", self.send_at.clone()),
            ("expires_at", self.expires_at.clone()),
            ("priority", priority),
            ("time_zone", self.time_zone.clone()),
        ];
        if !self.tag.is_empty() {
            body.insert("tags".to_owned(), json!(self.tag));
        }
        body.extend(texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), json!(text?)))));
        Ok(Value::Object(body))
    }

    /// Waits, prints how it ended, and gives how many deliveries did not end as delivered.
    async fn wait(&self, context: &Context, api: &Api, sent: &Reply, id: &str) -> Result<u64, Failure> {
        if !context.out.json {
            context.out.line(headline(&context.out, &sent.value, sent.replayed))?;
        }
        let ended = waiting::until_ended(api, id, Duration::from_secs(self.timeout)).await?;
        context.out.answer(&ended, |value| {
            let mut text = context.out.table(rows(value, "deliveries"), ENDED, "No deliveries.");
            if !value["next"].is_null() {
                text += &format!("\nThere are more: tidings trace --message {id}");
            }
            text + &refused(&context.out, &sent.value)
        })?;
        let states = ended.value["states"].as_object();
        Ok(states
            .into_iter()
            .flatten()
            .filter(|(state, _)| *state != "delivered")
            .filter_map(|(_, n)| n.as_u64())
            .sum())
    }
}

/// The recipients that were typed, with `-` replaced by the lines of `input`.
fn recipients(typed: &[String], input: impl BufRead) -> Result<Vec<String>, Failure> {
    let mut all: Vec<String> = typed.iter().filter(|to| *to != "-").cloned().collect();
    if all.len() < typed.len() {
        for line in input.lines() {
            let line = line.map_err(|error| Failure::Usage(format!("standard input: {error}")))?;
            all.extend(Some(line.trim()).filter(|line| !line.is_empty()).map(str::to_owned));
        }
    }
    Ok(all)
}

/// After a broken call nobody knows whether the message was kept; the same key makes asking again safe.
fn hint(failure: Failure, key: &str) -> Failure {
    match failure {
        Failure::Unreachable(words) => {
            Failure::Unreachable(format!("{words}\nTo be sure not to send twice, repeat with --idempotency-key {key}"))
        }
        other => other,
    }
}

fn kept(out: &Out, value: &Value, replayed: bool) -> String {
    let table = out.table(rows(value, "deliveries"), KEPT, "No deliveries.");
    format!("{}\n{table}{}", headline(out, value, replayed), refused(out, value))
}

/// What each rule would do, a rule a line.
fn rehearsed(out: &Out, value: &Value) -> String {
    let mut lines = Vec::new();
    for delivery in rows(value, "deliveries") {
        let rules = rows(delivery, "rules");
        let none = [Value::Null];
        for rule in if rules.is_empty() { &none[..] } else { rules } {
            lines.push(json!({"delivery": delivery, "rule": rule}));
        }
        for leg in rows(delivery, "legs") {
            let state = format!("if by {}", leg["channel"].as_str().unwrap_or_default());
            let there = json!({"to": leg["to"], "state": state});
            lines.extend(rows(leg, "rules").iter().map(|rule| json!({"delivery": there, "rule": rule})));
        }
    }
    let table = out.table(&lines, JUDGED, "No deliveries.");
    format!("nothing was sent\n{table}{}", refused(out, value))
}

fn headline(out: &Out, value: &Value, replayed: bool) -> String {
    let id = value["message_id"].as_str().unwrap_or_default();
    let note = if replayed { " (this key was used before: nothing new was sent)" } else { "" };
    format!("message {} is kept{note}", out.bold(id))
}

fn refused(out: &Out, value: &Value) -> String {
    match rows(value, "rejected") {
        [] => String::new(),
        rejected => format!("\n\n{}", out.table(rejected, REJECTED, "")),
    }
}

fn finish(rejected: usize, undelivered: u64) -> Result<(), Failure> {
    match (rejected, undelivered) {
        (0, 0) => Ok(()),
        (0, n) => Err(Failure::Failed(format!("not delivered: {n}"))),
        (n, 0) => Err(Failure::Failed(format!("recipients rejected: {n}; the others were kept"))),
        (n, m) => Err(Failure::Failed(format!("recipients rejected: {n}; not delivered: {m}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dash_stands_for_the_lines_of_standard_input() {
        let typed = ["a".to_owned(), "-".to_owned(), "b".to_owned()];
        assert_eq!(recipients(&typed, " c \n\nd\n".as_bytes()).expect("lines"), ["a", "b", "c", "d"]);
        assert_eq!(recipients(&typed[..1], "c\n".as_bytes()).expect("nothing is read"), ["a"]);
    }
}
