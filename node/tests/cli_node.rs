//! `tidings node` as a supervisor meets it: what it does at SIGHUP and SIGTERM, and when its storage fails.

#![allow(clippy::expect_used)]
#![cfg(unix)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// Longest wait for something that must come true.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node with its directory, its file and its log. Ended when dropped.
struct Node {
    child: Child,
    dir: TempDir,
    url: String,
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn file(dir: &Path) -> PathBuf {
    dir.join("node.toml")
}

fn write(dir: &Path, more: &str) {
    let head = "[node]\ndata_dir = \"data\"\napi_listen = \"127.0.0.1:0\"\npeer_listen = \"127.0.0.1:0\"\n\
                [cluster]\nsecret = \"a secret of at least sixteen bytes\"\n";
    fs::write(file(dir), format!("{head}{more}")).expect("a file");
}

impl Node {
    /// Starts a node by this command, to which its words are added, and waits until it runs.
    fn start(mut command: Command, dir: TempDir) -> Self {
        let mut log = fs::File::create(dir.path().join("log")).expect("a log");
        command.current_dir(dir.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        let mut said = child.stderr.take().expect("what it says");
        // A pipe has no size that a limit on files could stop. The copy ends with the node.
        std::thread::spawn(move || std::io::copy(&mut said, &mut log));
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let line = lines.next().expect("it says that it runs").expect("text");
        let url = line.split(" API ").nth(1).and_then(|rest| rest.split(',').next());
        let url = url.expect("it says where its API is").to_owned();
        Self { child, dir, url }
    }

    fn plain(more: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        write(dir.path(), more);
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
        command.args(["node", "--config", "node.toml"]);
        Self::start(command, dir)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).expect("a log")
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        kill(pid, signal).expect("it runs");
    }

    /// Waits until the log has `words` behind the first `from` bytes.
    async fn until_logged(&self, from: usize, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log()[from..].contains(words) {
            assert!(Instant::now() < deadline, "never logged: {words}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                return status;
            }
            assert!(Instant::now() < deadline, "it did not end\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn a_hang_up_rereads_the_file_and_takes_over_what_may_change_and_nothing_of_a_broken_one() {
    let mut node = Node::plain("");
    write(node.dir.path(), "[dispatch]\npool_size = 7\n[raft]\nqueue = 9999\n[log]\nlevel = \"debug,openraft=off\"\n");
    node.signal(Signal::SIGHUP);
    node.until_logged(0, "the configuration was read again").await;
    let log = node.log();
    assert!(log.contains("taken over: dispatch.pool_size: 64 is now 7"), "{log}");
    assert!(log.contains("needs a restart: raft.queue: 4096 is now 9999"), "{log}");
    assert!(log.contains("taken over: log.level"), "{log}");

    let from = node.log().len();
    write(node.dir.path(), "[dispatch]\npool_size = 0\nmax_outstanding = 5\n");
    node.signal(Signal::SIGHUP);
    node.until_logged(from, "nothing of it is taken over").await;
    let log = node.log().split_off(from);
    assert!(log.contains("dispatch.pool_size = 0: must be between 1 and"), "{log}");

    let from = node.log().len();
    write(node.dir.path(), "[dispatch]\npool_size = 7\n[log]\nlevel = \"info,openraft=off\"\n");
    node.signal(Signal::SIGHUP);
    node.until_logged(from, "the configuration was read again").await;
    let log = node.log().split_off(from);
    assert!(!log.contains("max_outstanding") && !log.contains("pool_size"), "neither had changed: {log}");

    node.signal(Signal::SIGTERM);
    assert!(node.ended().await.success(), "{}", node.log());
    assert!(node.log().contains("stopped"), "{}", node.log());
}

#[tokio::test]
async fn a_node_whose_storage_fails_ends_by_itself_and_says_why() {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), "");
    let mut command = Command::new("/bin/sh");
    // No file may grow beyond 4 KiB (8 blocks), which founding needs, and the signal that tells so is ignored: writes fail.
    let words = format!("trap '' XFSZ; ulimit -f 8; exec {} node --config node.toml", env!("CARGO_BIN_EXE_tidings"));
    command.args(["-c", &words]);
    let mut node = Node::start(command, dir);
    let founded = found(&node);
    let status = node.ended().await;
    assert_eq!(status.code(), Some(1), "{founded}\n{}", node.log());
    node.until_logged(0, "error: the node cannot go on: ").await;
    node.until_logged(0, "What to do: start the node again").await;
}

/// Founds the cluster, which writes; whether that succeeds does not matter.
fn found(node: &Node) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    command.current_dir(node.dir.path()).args(["--url", &node.url, "cluster", "init", "--config", "node.toml"]);
    let output = command.stdin(Stdio::null()).output().expect("the binary runs");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The files and directories below `path` that others may do anything with.
fn open_to_others(path: &Path) -> Vec<PathBuf> {
    let mode = fs::metadata(path).expect("it is there").permissions().mode();
    let mut found: Vec<PathBuf> = (mode & 0o077 != 0).then(|| path.to_owned()).into_iter().collect();
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("it can be read") {
            found.extend(open_to_others(&entry.expect("it can be read").path()));
        }
    }
    found
}

/// The first line that a command of the binary prints, run under a mask that lets everybody read.
fn under_umask_022(dir: &Path, words: &str) -> std::process::Output {
    let mut command = Command::new("/bin/sh");
    command.current_dir(dir).args(["-c", &format!("umask 022; exec {} {words}", env!("CARGO_BIN_EXE_tidings"))]);
    command.stdin(Stdio::null()).output().expect("the binary runs")
}

#[tokio::test]
async fn what_a_node_and_its_tools_write_is_for_their_owner_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), "[raft]\nheartbeat_ms = 50\nelection_min_ms = 150\nelection_max_ms = 300\n");
    let mut command = Command::new("/bin/sh");
    let words = format!("umask 022; exec {} node --config node.toml", env!("CARGO_BIN_EXE_tidings"));
    command.args(["-c", &words]);
    let node = Node::start(command, dir);
    let at = node.dir.path();
    let init = under_umask_022(at, &format!("--json --url {} cluster init --config node.toml", node.url));
    let key: serde_json::Value = serde_json::from_slice(&init.stdout).expect("JSON");
    let key = key["key"].as_str().expect("a key").to_owned();
    let backup = format!("--url {} --key {key} backup --to a.backup", node.url);
    let deadline = Instant::now() + PATIENCE;
    while !under_umask_022(at, &backup).status.success() {
        assert!(Instant::now() < deadline, "no backup was taken\n{}", node.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(open_to_others(&at.join("data")), Vec::<PathBuf>::new());
    assert_eq!(open_to_others(&at.join("a.backup")), Vec::<PathBuf>::new());

    // A directory that an older program left open is closed at the next start, and the log says so.
    let mut node = node;
    node.signal(Signal::SIGTERM);
    assert!(node.ended().await.success(), "{}", node.log());
    let data = node.dir.path().join("data");
    for open in [data.clone(), data.join("ledger")] {
        fs::set_permissions(open, fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
    fs::set_permissions(data.join("ledger/db"), fs::Permissions::from_mode(0o644)).expect("it is ours");
    let kept = tempfile::tempdir().expect("a directory");
    let dir = std::mem::replace(&mut node.dir, kept);
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    command.args(["node", "--config", "node.toml"]);
    let again = Node::start(command, dir);
    again.until_logged(0, "others could read the data").await;
    assert_eq!(open_to_others(&again.dir.path().join("data")), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_lost_admin_key_is_replaced_with_the_configuration_and_a_wrong_secret_does_not_start() {
    let mut node = Node::plain("");
    let init = found(&node);
    assert!(init.is_empty(), "{init}");
    let recover = ["--json", "--url", &node.url, "key", "recover", "--config", "node.toml"].join(" ");
    let output = under_umask_022(node.dir.path(), &recover);
    let made: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let key = made["key"].as_str().expect("a key").to_owned();
    let list = under_umask_022(node.dir.path(), &format!("--url {} --key {key} key list", node.url));
    assert!(
        String::from_utf8_lossy(&list.stdout).contains("recovered with the cluster's secret on node 1"),
        "{list:?}"
    );

    node.signal(Signal::SIGTERM);
    assert!(node.ended().await.success(), "{}", node.log());
    let text = fs::read_to_string(file(node.dir.path())).expect("a file");
    fs::write(file(node.dir.path()), text.replace("a secret of", "some other secret of")).expect("written");
    let output = under_umask_022(node.dir.path(), "node --config node.toml");
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("belongs to a cluster with another secret") && words.contains("What to do:"), "{words}");
}
