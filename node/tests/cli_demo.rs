//! `demo` and `dev` as somebody meets them who types them for the first time: the real binary, a real port, what it prints.

#![allow(clippy::expect_used)]
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

/// A running `demo` or `dev`; ended when dropped, so that a failed test leaves nothing behind.
struct Running {
    child: Child,
    /// Everything it printed until it said that it runs.
    printed: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Running {
    fn start(command: &str, data: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidings"))
            .args([command, "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let mut running = Self { child, printed: String::new() };
        while !running.printed.ends_with("It runs until ctrl-c.\n") {
            let line = lines.next().expect("it keeps running").expect("it prints text");
            running.printed += &format!("{line}\n");
        }
        running
    }

    /// The word after `name` in what it printed.
    fn fact(&self, name: &str) -> String {
        let mut words = self.printed.split_whitespace().skip_while(|word| *word != name).skip(1);
        words.next().expect("it is printed").to_owned()
    }

    /// Every curl that it printed: method, URL, key, body.
    fn curls(&self) -> Vec<(String, String, String, Value)> {
        let between = |text: &str, start: &str, end: &str| {
            let rest = text.split(start).nth(1).expect("the start stands there");
            rest.split(end).next().expect("the end stands there").to_owned()
        };
        let curl = |text: &str| {
            let mut words = text.split_whitespace();
            let (method, url) = (words.next().expect("a method"), words.next().expect("a URL"));
            let body = serde_json::from_str(&between(text, "-d '", "'\n")).expect("the body is JSON");
            (method.to_owned(), url.to_owned(), between(text, "Authorization: Bearer ", "'"), body)
        };
        self.printed.split("curl -X ").skip(1).map(curl).collect()
    }

    /// Ends it as a supervisor does and gives its exit code.
    fn stop(mut self) -> Option<i32> {
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().expect("kill runs");
        assert!(told.success());
        self.child.wait().expect("it ends").code()
    }

    fn tidings(&self, words: &[&str]) -> Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
        command.args(words).args(["--json", "--url", &self.fact("API"), "--key", &self.fact("Key")]);
        let output = command.output().expect("the binary runs");
        assert!(output.status.success(), "{words:?}: {output:?}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }
}

/// Does what curl would do: status and body.
fn ask(method: &str, url: &str, key: &str, body: &Value) -> (u16, Value) {
    let (host, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("a URL");
    let body = body.to_string();
    let mut stream = TcpStream::connect(host).expect("it listens");
    let head =
        format!("{method} /{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n");
    write!(stream, "{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| serde_json::from_str(body).expect("JSON"));
    (status, body.expect("a body"))
}

#[test]
fn the_demo_shows_a_life_prints_a_curl_that_works_and_can_be_run_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    let mut keys = Vec::new();
    for _ in 0..2 {
        let demo = Running::start("demo", &data);
        for expected in [
            "delivered after",
            "accepted: kept",
            "attempt 1 by node 1 with sandbox",
            "the provider took it as sandbox-1",
        ] {
            assert!(demo.printed.contains(expected), "no {expected:?} in:\n{}", demo.printed);
        }
        let [(method, url, key, body)] = demo.curls().try_into().expect("one curl");
        let (status, answer) = ask(&method, &url, &key, &body);
        assert_eq!((status, &answer["rejected"]), (202, &json!([])), "{answer}");
        let sent = demo.tidings(&["send", "hello", "--to", "+8613800138001", "--var", "name=Bo", "--wait"]);
        assert_eq!(sent["states"]["delivered"], 1, "{sent}");
        keys.push(demo.fact("Key"));
        assert_eq!(demo.stop(), Some(0));
    }
    assert_eq!(keys[0], keys[1]);
    for file in ["admin.key", "cluster.secret"] {
        let mode = std::fs::metadata(data.join(file)).expect("the file is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[test]
fn what_dev_prints_works_when_it_is_pasted() {
    let dir = tempfile::tempdir().expect("a directory");
    let dev = Running::start("dev", dir.path());
    let statuses: Vec<_> = dev.curls().iter().map(|(method, url, key, body)| ask(method, url, key, body).0).collect();
    assert_eq!(statuses, [200, 200, 202]);
    // What `get` shows is what `put` takes, also with what only `get` tells.
    for kind in ["template", "account"] {
        let name = if kind == "template" { "hello" } else { "sandbox" };
        let file = dir.path().join("kept.json");
        std::fs::write(&file, dev.tidings(&[kind, "get", name]).to_string()).expect("a file");
        assert_eq!(dev.tidings(&[kind, "put", "-f", &file.display().to_string()])["name"], name);
    }
    let versions = dev.tidings(&["template", "versions", "hello"]);
    assert_eq!(versions["templates"][0]["name"], "hello");
    assert_eq!(
        versions["templates"].as_array().map(Vec::len),
        Some(1),
        "what was not changed is no new version: {versions}"
    );
    assert_eq!(dev.tidings(&["cluster", "status"])["partitions"], 2);
    assert_eq!(dev.stop(), Some(0));
}
