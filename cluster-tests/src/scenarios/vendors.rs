//! One message of every type through every provider, over real HTTP to a local double of all vendors, while the leader of
//! most partitions is killed: each delivery's trace must show the id that its vendor gave.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cluster::{Cluster, PATIENCE, Shape, eventually};
use crate::failure::ensure;
use crate::report::Report;
use crate::vendors::table::{Entry, entries};
use crate::vendors::{Double, Given, MARK, Role, Seen};
use crate::{Failure, Proof, When};

/// Providers that no vendor stands behind, and why.
const EXCUSED: &[(&str, &str)] = &[("sandbox", "sends nothing: it is the inbox of those who try Tidings out")];

/// Most access tokens of an account: one for the cluster, and one more if the node that fetched it died before it told.
const MOST_TOKENS: u64 = 2;

/// Most uploads of a file to an account: one for the cluster, and one more if the node that uploaded died before it told.
const MOST_UPLOADS: u64 = 2;

/// What `GET /v1/providers` says.
#[derive(Debug, Deserialize)]
struct BuiltIn {
    providers: Vec<ProviderShape>,
    channels: Vec<ChannelShape>,
}

#[derive(Debug, Deserialize)]
struct ProviderShape {
    name: String,
    channel: String,
    settings: Vec<Named>,
    example: Value,
}

#[derive(Debug, Deserialize)]
struct ChannelShape {
    name: String,
    recipient: String,
    fields: Vec<Named>,
    open: bool,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

/// One delivery that was accepted.
#[derive(Clone, Debug)]
struct Sent {
    id: String,
    to: String,
    mark: String,
    account: String,
    provider: String,
}

/// A message to be sent: the entry, the template and the mark.
struct Letter<'a> {
    entry: &'a Entry,
    template: String,
    mark: String,
    /// The id of its own material, if it has one.
    file: Option<String>,
}

/// Runs it with three nodes.
///
/// # Errors
/// When a provider or a type of message is left out, something accepted does not end as delivered, or a trace shows
/// another id than the double gave.
pub async fn run() -> Proof<Report> {
    let began = Instant::now();
    let mut cluster = Cluster::start(&Shape::full(3, 8)).await?;
    let built_in: BuiltIn = cluster.ask("/v1/providers").await?;
    let double = Double::start(cluster.dir()).await?;
    let entries = entries(&double, &material(&cluster, "terms").await?)?;
    let types = covered(&cluster, &built_in, &entries).await?;
    teach(&cluster, &built_in, &entries, &double).await?;
    let letters = letters(&cluster, &entries).await?;
    let (first, second) = letters.split_at(letters.len() / 2);
    let mut sent = Vec::new();
    for letter in first {
        sent.extend(send(&cluster, letter).await?);
    }
    let index = cluster.leader_of_most().await?;
    let gone = cluster.nodes[index].id;
    let pending = cluster.stats().await?.pending;
    cluster.nodes[index].kill()?;
    ensure(pending > 0, || "nothing was under way when the leader was killed".to_owned())?;
    for letter in second {
        sent.extend(send(&cluster, letter).await?);
    }
    cluster.nodes[index].restart()?;
    cluster.wait_ready().await?;
    let traces = ended(&cluster, &sent).await?;
    let seen = double.seen().await?;
    let found = judge(&sent, &traces, &seen)?;
    ensure(found.copies <= pending, || format!("{} copies, and {pending} were under way", found.copies))?;
    let mut report = Report::new("every provider and type of message against a local double of all vendors");
    report.line("providers", entries.iter().map(|entry| &entry.provider).collect::<BTreeSet<_>>().len());
    report.line("accounts", entries.len());
    report.line("types of message (named by channels)", format!("{} ({types})", letters.len()));
    report.line("killed in the middle", format!("node {gone}, {pending} pending"));
    report.line("accepted", sent.len());
    report.line("lost", sent.len() as u64 - found.delivered);
    found.tell(&mut report, &seen);
    report.line("seconds", format!("{:.1}", began.elapsed().as_secs_f64()));
    Ok(report)
}

/// Whether every registered provider has an account in the table or an excuse, and every type of message that a channel
/// names stands in it for each of the channel's providers. Gives the number of those types.
async fn covered(cluster: &Cluster, built_in: &BuiltIn, entries: &[Entry]) -> Proof<usize> {
    let mut count = 0;
    for provider in &built_in.providers {
        let of: Vec<_> = entries.iter().filter(|entry| entry.provider == provider.name).collect();
        let excuse = EXCUSED.iter().any(|(name, _)| *name == provider.name);
        ensure(of.is_empty() == excuse, || format!("{}: cover it or excuse it, one of both", provider.name))?;
        if provider.channel == "*" {
            continue;
        }
        let sent: BTreeSet<_> = of.iter().flat_map(|entry| entry.messages.values()).filter_map(kind).collect();
        let channel = built_in.channels.iter().find(|channel| channel.name == provider.channel);
        let named = types(cluster, channel.when("finding a provider's channel")?).await?;
        let lacking: Vec<_> = named.iter().filter(|name| !sent.contains(name.as_str())).collect();
        ensure(lacking.is_empty(), || format!("{}: types of message without a content: {lacking:?}", provider.name))?;
        count += named.len();
    }
    let known = |name: &str| built_in.providers.iter().any(|provider| provider.name == name);
    let names = entries.iter().map(|entry| entry.provider.as_str());
    let names: Vec<_> = names.chain(EXCUSED.iter().map(|(name, _)| *name)).filter(|name| !known(name)).collect();
    ensure(names.is_empty(), || format!("there are no such providers: {names:?}"))?;
    Ok(count)
}

fn kind(content: &Value) -> Option<&str> {
    content["type"].as_str()
}

/// The types of message that a channel has, in the words of the refusal of one that it has not.
async fn types(cluster: &Cluster, channel: &ChannelShape) -> Proof<Vec<String>> {
    if channel.open || !channel.fields.iter().any(|field| field.name == "type") {
        return Ok(Vec::new());
    }
    let url = format!("{}/v1/templates/no-such-type", cluster.url(0));
    let body = json!({"channel": channel.name, "content": {"type": "no such type"}});
    let answer: Value = cluster.admin.send(Method::PUT, &url, &body).await?.expect_status(422)?.json()?;
    let errors = answer["errors"].as_array().when("reading a refusal")?;
    let detail = errors.iter().filter(|error| error["field"] == "content.type").find_map(|e| e["detail"].as_str());
    let names = detail.and_then(|detail| detail.strip_prefix("must be one of: "));
    let names = names.when(format!("reading the types of {} in {answer}", channel.name))?;
    Ok(names.split(", ").map(str::to_owned).collect())
}

/// Tells the double whom it plays, puts every account and every template, and waits until all nodes know all of them.
async fn teach(cluster: &Cluster, built_in: &BuiltIn, entries: &[Entry], double: &Double) -> Proof {
    let provider = |entry: &Entry| {
        let found = built_in.providers.iter().find(|provider| provider.name == entry.provider);
        found.when("finding a provider")
    };
    let mut roles: BTreeMap<String, Role> = BTreeMap::new();
    for entry in entries {
        let known: Vec<_> = provider(entry)?.settings.iter().map(|setting| setting.name.clone()).collect();
        roles.insert(entry.name.clone(), entry.role(&provider(entry)?.example, &known, double));
    }
    // An account's receipts are asked for as soon as it is put.
    Double::cast(cluster.dir(), &roles)?;
    for (name, Role { provider, settings }) in &roles {
        put(cluster, "accounts", name, &json!({"provider": provider, "settings": settings})).await?;
    }
    for entry in entries {
        let channel = entry.channel.as_ref().unwrap_or(&provider(entry)?.channel);
        let robot = built_in.channels.iter().any(|one| one.name == *channel && one.recipient == "account");
        for (kind, content) in &entry.messages {
            let mut template = json!({"channel": channel, "content": content,
                "retry": {"max_attempts": 50, "first_ms": 200, "longest_ms": 2_000, "give_up_after_ms": 600_000}});
            if !robot {
                template["account"] = json!(entry.name);
            }
            put(cluster, "templates", &entry.template(kind), &template).await?;
        }
    }
    for name in entries.iter().flat_map(|entry| entry.messages.keys().map(|kind| entry.template(kind))) {
        for url in cluster.urls() {
            let url = format!("{url}/v1/templates/{name}");
            eventually("a node knows the template", PATIENCE, async || cluster.admin.get::<Value>(&url).await).await?;
        }
    }
    Ok(())
}

/// Puts a file that says `what` and is called so, and gives its id.
async fn material(cluster: &Cluster, what: &str) -> Proof<String> {
    let url = format!("{}/v1/materials?name={what}.json", cluster.url(0));
    let answer = cluster.admin.send(Method::POST, &url, &json!({"says": what})).await?;
    let material: Value = answer.expect_status(201).when("putting a material")?.json()?;
    material["id"].as_str().map(str::to_owned).when("reading a material's id")
}

async fn put(cluster: &Cluster, what: &str, name: &str, body: &Value) -> Proof {
    let url = format!("{}/v1/{what}/{name}", cluster.url(0));
    let answer = cluster.admin.send(Method::PUT, &url, body).await?;
    answer.expect_status(200).when(format!("putting {what}/{name}")).map(|_| ())
}

async fn letters<'a>(cluster: &Cluster, entries: &'a [Entry]) -> Proof<Vec<Letter<'a>>> {
    let all = entries.iter().flat_map(|entry| entry.messages.keys().map(move |kind| (entry, kind)));
    let mut letters = Vec::new();
    for (n, (entry, kind)) in all.enumerate() {
        let mark = format!("{MARK}{n:04}");
        let file = if entry.has_file(kind) { Some(material(cluster, &mark).await?) } else { None };
        letters.push(Letter { entry, template: entry.template(kind), mark, file });
    }
    Ok(letters)
}

/// Sends one message, again with the same key until all of its recipients are accepted.
async fn send(cluster: &Cluster, letter: &Letter<'_>) -> Proof<Vec<Sent>> {
    let to: Vec<_> = letter.entry.recipients().iter().map(|to| json!({ "to": to })).collect();
    let count = to.len();
    let variables = json!({"n": letter.mark, "file": letter.file});
    let body = json!({"template": letter.template, "to": to, "variables": variables}).to_string();
    let mut turn = 0;
    let answer: Value = eventually("a message is accepted", PATIENCE, || {
        turn += 1;
        let running: Vec<_> = cluster.nodes.iter().filter(|node| node.answers()).collect();
        let url = format!("{}/v1/messages", running[turn % running.len()].url());
        let (body, key) = (body.clone().into(), letter.mark.clone());
        async move {
            let headers = [("idempotency-key", key.as_str())];
            let answer = cluster.admin.call(Method::POST, &url, &headers, body).await.when("sending")?;
            answer.expect_status(202)?.json()
        }
    })
    .await
    .when(&letter.template)?;
    let deliveries = answer["deliveries"].as_array().when("reading deliveries")?;
    ensure(deliveries.len() == count, || format!("{}: {count} were sent, {answer} came", letter.template))?;
    let sent = |delivery: &Value| {
        let text = |name: &str| delivery[name].as_str().map(str::to_owned).when(format!("reading {name}"));
        let (account, provider) = (letter.entry.name.clone(), letter.entry.provider.clone());
        Ok(Sent { id: text("id")?, to: text("to")?, mark: letter.mark.clone(), account, provider })
    };
    deliveries.iter().map(sent).collect()
}

/// The trace of every delivery, once it has ended.
async fn ended(cluster: &Cluster, sent: &[Sent]) -> Proof<Vec<Value>> {
    let mut traces = Vec::new();
    for one in sent {
        let trace = eventually("a delivery ends", PATIENCE, async || {
            let trace: Value = cluster.ask(&format!("/v1/deliveries/{}", one.id)).await?;
            ensure(!trace["ended_at"].is_null(), || format!("it has not: {trace}"))?;
            Ok(trace)
        });
        traces.push(trace.await.when(format!("{} to {}", one.account, one.to))?);
    }
    Ok(traces)
}

/// What the judge found.
#[derive(Debug, Default)]
struct Found {
    delivered: u64,
    without_id: BTreeMap<String, u64>,
    copies: u64,
}

impl Found {
    fn tell(&self, report: &mut Report, seen: &Seen) {
        let list = |counts: &BTreeMap<String, u64>| {
            let words: Vec<_> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
            if words.is_empty() { "none".to_owned() } else { words.join(", ") }
        };
        report.line("delivered, the double says so too", self.delivered);
        report.line("of them, by vendors that give no id", list(&self.without_id));
        report.line("copies", self.copies);
        report.line("calls at the double", seen.calls.values().sum::<u64>());
        report.line("access tokens given", list(&seen.tokens));
        report.line("materials uploaded, each once or twice", seen.uploads.len());
        for (name, why) in EXCUSED {
            report.line(format!("excused: {name}"), why);
        }
    }
}

/// Compares the traces with what the double says it gave.
fn judge(sent: &[Sent], traces: &[Value], seen: &Seen) -> Proof<Found> {
    ensure(seen.wrong.is_empty(), || format!("calls that no vendor would take: {:#?}", seen.wrong))?;
    let mut found = Found::default();
    let mut faults = Vec::new();
    for (one, trace) in sent.iter().zip(traces) {
        let given: Vec<_> = seen.given.iter().filter(|given| is_of(given, one)).collect();
        found.copies += given.len().saturating_sub(1) as u64;
        match of_one(one, trace, &given) {
            Ok(has_id) => {
                found.delivered += 1;
                if !has_id {
                    *found.without_id.entry(one.provider.clone()).or_default() += 1;
                }
            }
            Err(failure) => faults.push(failure.to_string()),
        }
    }
    let many = seen.tokens.iter().filter(|(_, count)| **count > MOST_TOKENS);
    faults.extend(many.map(|(account, count)| format!("{account} was given {count} access tokens")));
    let many = seen.uploads.iter().filter(|(_, count)| **count > MOST_UPLOADS);
    faults.extend(many.map(|(name, count)| format!("{name} was uploaded {count} times")));
    let strange = seen.given.iter().filter(|given| !sent.iter().any(|one| is_of(given, one)));
    faults.extend(strange.map(|given| format!("never sent, arrived: {given:?}")));
    if faults.is_empty() { Ok(found) } else { Err(Failure::new(faults.join("\n  "))) }
}

/// Whether a delivery was delivered with the vendor's id, or `false` where the vendor gives none.
fn of_one(one: &Sent, trace: &Value, given: &[&Given]) -> Proof<bool> {
    let (id, wrong) =
        (trace["provider_id"].as_str(), |words: &str| format!("{} {}: {words}: {trace}", one.account, one.mark));
    ensure(trace["state"] == "delivered", || wrong("it was not delivered"))?;
    ensure(!given.is_empty(), || wrong("the double knows nothing of it"))?;
    // A copy has an id of its own; the trace holds that of the one whose answer came.
    ensure(given.iter().any(|given| given.id.as_deref() == id), || wrong(&format!("the double gave {given:?}")))?;
    Ok(id.is_some())
}

/// Whether the double gave this to that delivery's recipient, as the vendor writes him.
fn is_of(given: &Given, one: &Sent) -> bool {
    let to = [one.to.as_str(), one.to.trim_start_matches("+86"), one.to.trim_start_matches('+'), ""];
    given.account == one.account && given.mark == one.mark && to.contains(&given.to.as_str())
}
