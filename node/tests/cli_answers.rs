//! What the command line makes of a node's answers: tables, lives, exit codes. The node is a scripted HTTP server.

#![allow(clippy::expect_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};

/// One request as the scripted node saw it.
#[derive(Debug)]
struct Request {
    /// `GET /v1/templates?x=y`
    line: String,
    head: String,
    body: Value,
}

/// A node that answers from a script, in order, and then stops listening.
struct Node {
    addr: SocketAddr,
    seen: Receiver<Request>,
}

impl Node {
    fn answering(script: Vec<(u16, Value)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("an address");
        let (report, seen) = channel();
        std::thread::spawn(move || {
            for (status, body) in script {
                let (mut stream, _) = listener.accept().expect("a connection");
                let request = read(&stream);
                let text = body.to_string();
                let kind = if status < 400 { "application/json" } else { "application/problem+json" };
                let head = format!("HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n", text.len());
                write!(stream, "{head}Connection: close\r\n\r\n{text}").expect("the answer is taken");
                report.send(request).expect("the test listens");
            }
        });
        Self { addr, seen }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
        command.args(words).env("TIDINGS_URL", format!("http://{}", self.addr)).env("TIDINGS_KEY", "tdk_test");
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("the binary runs")
    }

    fn next(&self) -> Request {
        self.seen.recv().expect("a request came")
    }
}

fn read(stream: &TcpStream) -> Request {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).expect("a request line");
    let mut head = String::new();
    while reader.read_line(&mut head).expect("a header") > 2 {}
    let head = head.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.trim().parse().expect("a length"))];
    reader.read_exact(&mut body).expect("the body");
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Request { line: line.trim_end().trim_end_matches(" HTTP/1.1").to_owned(), head, body }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// A delivery with everything that can happen to one.
fn life() -> Value {
    json!({
        "id": "dlv_1", "message_id": "msg_1", "to": "+8613800138000", "template": "otp", "version": 3, "channel": "sms",
        "message_type": "auth_code", "state": "delivered", "attempts": 2, "provider_id": "sandbox-7", "biz_id": "order-9",
        "account": "primary", "accepted_at": "2026-11-23T18:00:00.000Z", "ended_at": "2026-11-23T18:00:01.062Z",
        "events": [
            {"at": "2026-11-23T18:00:00.000Z", "what": "accepted"},
            {"at": "2026-11-23T18:00:00.000Z", "what": "redrive_of", "delivery": "dlv_0", "by": "key_a"},
            {"at": "2026-11-23T18:00:00.020Z", "what": "attempted", "attempt": 1, "account": "primary", "node": 2,
             "began": "2026-11-23T18:00:00.008Z",
             "outcome": {"class": "later", "code": "http_503", "words": "busy\u{1b}[2J", "after_ms": 1000}},
            {"at": "2026-11-23T18:00:00.020Z", "what": "retry", "due": "2026-11-23T18:00:01.050Z"},
            {"at": "2026-11-23T18:00:01.062Z", "what": "attempted", "attempt": 2, "account": "primary", "node": 2,
             "began": "2026-11-23T18:00:01.050Z", "outcome": {"class": "delivered", "provider_id": "sandbox-7"}},
            {"at": "2026-11-23T18:00:01.062Z", "what": "ended", "state": "delivered"},
            {"at": "2026-11-24T18:00:00.000Z", "what": "admired", "by": "key_b"},
        ],
    })
}

const DRAWN: &str = "\
dlv_1  delivered after 1.06 s
  to           +8613800138000
  template     otp v3 (sms, auth_code)
  message      msg_1
  account      primary
  biz id       order-9
  provider id  sandbox-7

  2026-11-23 18:00:00.000    +0 ms  accepted: kept on the disks of a majority
  2026-11-23 18:00:00.000    +0 ms  made by redriving dlv_0, asked by key_a
  2026-11-23 18:00:00.020   +20 ms  attempt 1 by node 2 with primary, 12 ms: not now: http_503: busy [2J (not before 1.00 s have passed)
  2026-11-23 18:00:00.020   +20 ms  tries again in 1.03 s, at 2026-11-23 18:00:01.050
  2026-11-23 18:00:01.062  +1.06 s  attempt 2 by node 2 with primary, 12 ms: the provider took it as sandbox-7
  2026-11-23 18:00:01.062  +1.06 s  delivered
  2026-11-24 18:00:00.000     +1 d  admired by=key_b
";

#[test]
fn a_life_is_drawn_with_times_reasons_and_the_providers_words() {
    let node = Node::answering(vec![(200, life())]);
    let output = node.run(&["trace", "dlv_1"]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), DRAWN), "{}", stderr(&output));
    let request = node.next();
    assert_eq!(request.line, "GET /v1/deliveries/dlv_1");
    assert!(request.head.contains("authorization: bearer tdk_test"), "{}", request.head);
}

#[test]
fn one_match_of_a_filter_is_drawn_and_several_are_listed() {
    let node = Node::answering(vec![(200, json!({"deliveries": [{"id": "dlv_1"}], "next": null})), (200, life())]);
    let output = node.run(&["trace", "--recipient", "+8613800138000", "--since", "2026-11-23T17:00:00+08:00"]);
    assert_eq!(stdout(&output), DRAWN);
    let expected = "GET /v1/deliveries?recipient=%2B8613800138000&since=2026-11-23T09%3A00%3A00.000Z&limit=50";
    assert_eq!(node.next().line, expected);

    let node = Node::answering(vec![(200, json!({"deliveries": [life(), life()], "next": "abc"}))]);
    let text = stdout(&node.run(&["trace", "--message", "msg_1", "--state", "delivered"]));
    assert!(text.starts_with("DELIVERY   TO "), "{text}");
    assert!(text.ends_with("There are more: add --cursor abc\n") && text.lines().count() == 4, "{text}");
    assert_eq!(node.next().line, "GET /v1/deliveries?message=msg_1&state=delivered&limit=50");
}

#[test]
fn json_is_the_answer_as_it_is() {
    let answer = json!({"deliveries": [{"id": "dlv_1", "zzz": 1, "aaa": "\u{1b}"}], "next": null});
    let node = Node::answering(vec![(200, answer.clone())]);
    let output = node.run(&["trace", "--template", "otp", "--json"]);
    assert_eq!(stdout(&output), format!("{answer}\n"));
}

#[test]
fn a_refusal_ends_with_1_and_says_what_to_do() {
    let problem = json!({"type": "/docs/problems#unknown_template", "title": "There is no such template", "status": 404,
        "code": "unknown_template", "detail": "there is no template opt"});
    let node = Node::answering(vec![(404, problem.clone()), (404, problem.clone())]);
    let output = node.run(&["template", "get", "opt"]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""));
    assert_eq!(
        stderr(&output),
        "error: There is no such template (unknown_template, 404)\n  there is no template opt\n\
         What to do: see `tidings template list`, or write it with `tidings template put -f FILE`.\n"
    );
    let output = node.run(&["--json", "template", "get", "opt"]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(1), format!("{problem}\n")));
}

#[test]
fn a_node_that_cannot_be_reached_ends_with_3() {
    // Its port was free a moment ago and nobody listens on it now.
    let addr = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    let output = command.args(["--url", &format!("http://{addr}"), "key", "list"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(stderr(&output).contains("tidings dev"), "{output:?}");
}

#[test]
fn a_broken_answer_ends_with_3_and_names_the_key_to_repeat_with() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("an address");
    let node = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a connection");
        read(&stream)
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    let output =
        command.args(["--url", &format!("http://{addr}"), "send", "otp", "--to", "a"]).output().expect("it runs");
    let request = node.join().expect("a request came");
    let key = request.head.lines().find_map(|line| line.strip_prefix("idempotency-key: ")).expect("a key was sent");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(stderr(&output).contains(&format!("--idempotency-key {key}")), "{output:?}");
}

#[test]
fn sending_says_everything_that_was_typed() {
    let kept = json!({"message_id": "msg_1", "deliveries": [{"id": "dlv_1", "to": "a", "state": "pending", "index": 0}], "rejected": []});
    let node = Node::answering(vec![(202, kept)]);
    let words =
        ["send", "otp", "--to", "a", "--to", "b", "--vars", r#"{"n":1,"x":"y"}"#, "--var", "x=z", "--biz-id", "o-9"];
    let more = ["--send-at", "2026-11-23T09:00:00Z", "--priority", "high", "--idempotency-key", "k1"];
    let output = node.run(&[&words[..], &more[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(stdout(&output), "message msg_1 is kept\nDELIVERY   TO   STATE\ndlv_1      a    pending\n");
    let request = node.next();
    assert_eq!(request.line, "POST /v1/messages");
    assert!(request.head.contains("idempotency-key: k1"), "{}", request.head);
    let expected = json!({"template": "otp", "to": ["a", "b"], "variables": {"n": 1, "x": "z"}, "biz_id": "o-9",
        "send_at": "2026-11-23T09:00:00.000Z", "priority": "high"});
    assert_eq!(request.body, expected);
}

#[test]
fn a_rejected_recipient_is_told_and_ends_with_1() {
    let rejected =
        json!([{"index": 1, "to": "x", "code": "invalid_recipient", "detail": "is no number", "retryable": false}]);
    let kept = json!({"message_id": "msg_1", "deliveries": [{"id": "dlv_1", "to": "a", "state": "pending"}], "rejected": rejected});
    let node = Node::answering(vec![(202, kept)]);
    let output = node.run(&["send", "otp", "--to", "a", "--to", "x"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stdout(&output).contains("1       x          invalid_recipient   is no number"), "{}", stdout(&output));
    assert_eq!(stderr(&output), "error: recipients rejected: 1; the others were kept\n");
}

#[test]
fn waiting_ends_when_nothing_is_pending_and_well_only_when_all_was_delivered() {
    let sent = json!({"message_id": "msg_1", "deliveries": [], "rejected": []});
    let about = |states: Value| json!({"id": "msg_1", "states": states, "deliveries": [life()], "next": null});
    for (states, code) in [(json!({"delivered": 2}), 0), (json!({"delivered": 1, "failed": 1}), 1)] {
        let not_found = json!({"title": "There is no such thing", "code": "not_found", "status": 404});
        let pending = about(json!({"pending": 2}));
        let node = Node::answering(vec![(202, sent.clone()), (404, not_found), (200, pending), (200, about(states))]);
        let output = node.run(&["send", "otp", "--to", "a", "--wait"]);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(stdout(&output).contains("sandbox-7"), "{}", stdout(&output));
    }
}

#[test]
fn providers_are_listed_declared_shown_as_put_takes_them_and_removed() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("acme.json").display().to_string();
    let definition = json!({"url": "/send", "body": {"to": "{{ to }}"}});
    let written = json!({"name": "declared/acme", "channel": "sms", "description": "Acme", "definition": definition});
    let mut told = json!({"version": 2, "created_at": "2026-11-23T18:00:00.000Z", "created_by": "key_a", "doc": "Acme",
        "source": "", "settings": [], "example": {"endpoint": "https://acme.example"}, "max_recipients": 1, "deadline_ms": 1});
    told.as_object_mut().expect("an object").extend(written.as_object().expect("an object").clone());
    let list = json!({"providers": [told, {"name": "sandbox", "channel": "*", "doc": "Keeps."}], "channels": []});
    let script = [list.clone(), list.clone(), list, told.clone(), told].map(|body| (200, body));
    let node = Node::answering(script.into_iter().chain([(200, json!({}))]).collect());

    let plain = stdout(&node.run(&["providers"]));
    assert!(plain.contains("declared/acme   sms       2          Acme") && plain.contains("sandbox"), "{plain}");
    assert_eq!(stdout(&node.run(&["providers", "list"])), plain);
    let one = stdout(&node.run(&["providers", "declared/acme"]));
    assert!(one.contains("\"provider\": \"declared/acme\"") && one.contains("https://acme.example"), "{one}");
    assert!(one.contains("A call: at most 1 recipients, 1ms."), "{one}");
    (0..3).for_each(|_| assert_eq!(node.next().line, "GET /v1/providers"));

    let shown = stdout(&node.run(&["providers", "get", "declared/acme", "--at", "2"]));
    assert_eq!(node.next().line, "GET /v1/providers/declared%2Facme?version=2");
    std::fs::write(&file, &shown).expect("a file");
    let put = node.run(&["providers", "put", "-f", &file]);
    assert_eq!(stdout(&put), "provider declared/acme is at version 2\n", "{put:?}");
    let request = node.next();
    assert_eq!(request.line, "PUT /v1/providers/declared%2Facme");
    let mut expected = written;
    expected.as_object_mut().expect("an object").remove("name");
    assert_eq!(request.body, expected, "what get shows is what put takes: {shown}");
    let removed = node.run(&["providers", "delete", "declared/acme"]);
    assert_eq!(stdout(&removed), "provider declared/acme is removed\n", "{removed:?}");
    assert_eq!(node.next().line, "DELETE /v1/providers/declared%2Facme");
}

#[test]
fn files_in_toml_are_written_under_their_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("otp.toml");
    std::fs::write(&file, "name = \"otp\"\nchannel = \"sms\"\n[content]\ntext = \"{{ code }}\"\n").expect("a file");
    let node = Node::answering(vec![(200, json!({"name": "otp", "version": 4})), (200, json!({}))]);
    let path = file.display().to_string();
    assert_eq!(stdout(&node.run(&["template", "put", "-f", &path])), "template otp is at version 4\n");
    let request = node.next();
    assert_eq!(
        (request.line.as_str(), request.body),
        ("PUT /v1/templates/otp", json!({"channel": "sms", "content": {"text": "{{ code }}"}}))
    );
    assert_eq!(stdout(&node.run(&["account", "apply", "a/b", "-f", &path])), "account a/b is written\n");
    assert_eq!(node.next().line, "PUT /v1/accounts/a%2Fb");
}

#[test]
fn redriving_says_which_and_how_changed() {
    let answer = json!({"redriven": 1, "skipped": 0, "deliveries": [{"from": "dlv_1", "id": "dlv_2"}]});
    let node = Node::answering(vec![(202, answer)]);
    let output = node.run(&[
        "dlq",
        "redrive",
        "--code",
        "timeout",
        "--id",
        "dlv_1",
        "--account",
        "b",
        "--latest",
        "--var",
        "x=y",
    ]);
    assert_eq!(stdout(&output), "1 redriven, 0 skipped\nDEAD LETTER   SENT AGAIN AS\ndlv_1         dlv_2\n");
    let expected = json!({"filter": {"code": "timeout", "ids": ["dlv_1"]}, "limit": 10_000,
        "edit": {"variables": {"x": "y"}, "account": "b", "template_version": "latest"}});
    assert_eq!(node.next().body, expected);
}

#[test]
fn founding_takes_secret_and_address_from_the_configuration_and_joining_all_the_rest() {
    let node = Node::answering(vec![(201, json!({"cluster": "c1", "key": "tdk_first"})), (202, json!({}))]);
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("node.toml");
    let text = format!(
        "[node]\nid = 2\napi_listen = \"{}\"\nlabels = {{ zone = \"b\" }}\n[cluster]\nsecret = \"0123456789abcdef\"\n",
        node.addr
    );
    std::fs::write(&file, text).expect("a file");
    let path = file.display().to_string();
    let mut init = node.command(&["cluster", "init", "--config", &path, "--partitions", "4"]);
    let output = init.env_remove("TIDINGS_URL").output().expect("it runs");
    assert!(stdout(&output).ends_with("\ntdk_first\n"), "{output:?}");
    let request = node.next();
    assert!(request.head.contains("authorization: bearer 0123456789abcdef"), "{}", request.head);
    assert_eq!(request.body, json!({"partitions": 4}));

    let output = node.run(&["cluster", "join", "--no-wait", "--config", &path, "--peer-addr", "b:7500"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let expected = json!({"id": 2, "peer_addr": "b:7500", "api_addr": node.addr.to_string(), "labels": {"zone": "b"}});
    assert_eq!(node.next().body, expected);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let many: Vec<_> = (0..500).map(|_| life()).collect();
    let node = Node::answering(vec![(200, json!({"deliveries": many, "next": null}))]);
    let mut command = node.command(&["trace", "--template", "otp"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""), "{output:?}");
}

#[test]
fn a_key_kept_by_dev_is_found_for_this_machine() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(dir.path().join("data")).expect("a directory");
    std::fs::write(dir.path().join("data/admin.key"), "tdk_kept\n").expect("a file");
    let node = Node::answering(vec![(200, json!({"keys": []}))]);
    let mut list = node.command(&["key", "list"]);
    let output = list.env_remove("TIDINGS_KEY").current_dir(dir.path()).output().expect("it runs");
    assert_eq!(stdout(&output), "There are no keys.\n");
    assert!(node.next().head.contains("authorization: bearer tdk_kept"));
}

#[test]
fn the_configuration_is_checked_and_the_defaults_are_printed() {
    let dir = tempfile::tempdir().expect("a directory");
    let (right, wrong) = (dir.path().join("right.toml"), dir.path().join("wrong.toml"));
    std::fs::write(&right, "[cluster]\nsecret = \"0123456789abcdef\"\n").expect("a file");
    std::fs::write(&wrong, "[raft]\nheartbeat_ms = 900\n").expect("a file");
    let run = |words: &[&str]| Command::new(env!("CARGO_BIN_EXE_tidings")).args(words).output().expect("it runs");
    let check = |path: &std::path::Path| run(&["config", "check", &path.display().to_string()]);
    let output = check(&right);
    assert!(stdout(&output).contains("is right: node 1, API 127.0.0.1:7400"), "{output:?}");
    let output = check(&wrong);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("raft.heartbeat_ms = 900") && stderr(&output).contains("cluster.secret"),
        "{output:?}"
    );
    assert_eq!(stdout(&run(&["config", "default"])), tidings_config::DEFAULT_TOML);
}

#[test]
fn a_dry_run_shows_what_each_rule_would_do_and_sends_nothing_else() {
    let rule = |name: &str, ruling: &str, detail: &str| json!({"rule": name, "ruling": ruling, "detail": detail});
    let rules =
        [rule("suppression_list", "pass", "not listed"), rule("frequency/f@1", "suppress", "3 of 3 within 1000 ms")];
    let answer = json!({"dry_run": true, "version": 1, "rejected": [],
        "deliveries": [{"index": 0, "to": "+8613800138000", "state": "suppressed", "rules": rules}]});
    let node = Node::answering(vec![(200, answer)]);
    let output =
        node.run(&["send", "otp", "--to", "+8613800138000", "--tag", "a", "--time-zone", "Asia/Tokyo", "--dry-run"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let (request, shown) = (node.next(), stdout(&output));
    assert_eq!(request.line, "POST /v1/messages?dry_run=true");
    assert_eq!((&request.body["tags"], &request.body["time_zone"]), (&json!(["a"]), &json!("Asia/Tokyo")));
    assert!(!request.head.contains("idempotency-key"));
    assert!(shown.contains("nothing was sent") && shown.contains("frequency/f@1"), "{shown}");
    assert!(shown.contains("3 of 3 within 1000 ms"), "{shown}");
}

#[test]
fn policies_and_suppressions_are_asked_for_by_their_names() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("cap.toml");
    let text =
        "name = \"cap\"\nkind = \"frequency\"\nversion = 3\n[spec]\nwindows = [{ window_ms = 1000, most = 1 }]\n";
    std::fs::write(&file, text).expect("a file");
    let file = file.to_str().expect("a path");
    let entry = json!({"channel": "*", "address": "+8613800138000", "reason": "manual"});
    let node = Node::answering(vec![
        (200, json!({"name": "cap", "version": 4})),
        (409, json!({"code": "needs_confirmation", "title": "t", "detail": "it discards every message"})),
        (200, entry),
        (204, Value::Null),
    ]);
    let put = node.run(&["policy", "put", "-f", file]);
    assert_eq!(stdout(&put).trim(), "policy cap is at version 4");
    let request = node.next();
    assert_eq!(request.line, "PUT /v1/policies/cap");
    assert_eq!(request.body, json!({"kind": "frequency", "spec": {"windows": [{"window_ms": 1000, "most": 1}]}}));
    let refused = node.run(&["policy", "put", "-f", file, "--confirm"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("it discards every message"));
    assert_eq!(node.next().line, "PUT /v1/policies/cap?confirm=true");
    let added = node.run(&["suppression", "add", "+8613800138000"]);
    assert!(added.status.success(), "{}", stderr(&added));
    assert_eq!(node.next().body, json!({"channel": "*", "address": "+8613800138000", "reason": "manual"}));
    let removed = node.run(&["suppression", "remove", "+8613800138000", "--channel", "sms"]);
    assert!(removed.status.success(), "{}", stderr(&removed));
    assert_eq!(node.next().line, "DELETE /v1/suppressions?channel=sms&address=%2B8613800138000");
}
