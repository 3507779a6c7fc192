//! One real `tidings node`: its own loopback address, its config file, its log, and the signals it can be sent. It is a
//! process, or stands for one in a container of the testbed.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::failure::ensure;
use crate::testbed::container::Container;
use crate::{Proof, When};

/// The ports of the documentation. Every node has an address of its own, so they never meet.
const API_PORT: u16 = 7400;
const PEER_PORT: u16 = 7500;

/// What a node's config file says beyond its addresses.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The node's id, from 1.
    pub id: u64,
    /// The secret of the cluster.
    pub secret: String,
    /// Lines added to the file: whole TOML sections.
    pub extra: String,
}

/// A node's process. It is ended when this is dropped.
#[derive(Debug)]
pub struct Node {
    /// The node's id, from 1.
    pub id: u64,
    host: Ipv4Addr,
    binary: PathBuf,
    dir: PathBuf,
    child: Option<Child>,
    container: Option<Container>,
    paused: bool,
}

impl Node {
    /// Writes the config file below `dir` and starts the node.
    ///
    /// # Errors
    /// When no address is free or the process cannot be started.
    pub fn start(binary: &Path, dir: &Path, plan: &Plan) -> Proof<Self> {
        let host = free_host()?;
        let dir = dir.join(format!("node-{}", plan.id));
        fs::create_dir_all(&dir).when("making the node's folder")?;
        let binary = binary.to_path_buf();
        let mut node = Self { id: plan.id, host, binary, dir, child: None, container: None, paused: false };
        fs::write(node.config_path(), node.config(plan)?).when("writing the node's config")?;
        node.restart()?;
        Ok(node)
    }

    /// The node in a running container, which brings its own binary, config and data.
    ///
    /// # Errors
    /// None at present; a container that does not run is found when it is asked.
    pub fn contained(id: u64, container: Container) -> Proof<Self> {
        let (binary, dir) = (PathBuf::new(), PathBuf::new());
        let host = Ipv4Addr::LOCALHOST;
        Ok(Self { id, host, binary, dir, child: None, container: Some(container), paused: false })
    }

    /// The container it is in, if it is.
    pub fn container(&self) -> Option<&Container> {
        self.container.as_ref()
    }

    /// Where callers reach it: `http://host:port`.
    pub fn url(&self) -> String {
        match &self.container {
            Some(container) => format!("http://{}", container.published),
            None => format!("http://{}", self.api_addr()),
        }
    }

    /// Its API address, as it tells it to others.
    pub fn api_addr(&self) -> String {
        format!("{}:{API_PORT}", self.name())
    }

    /// Where the other nodes reach it.
    pub fn peer_addr(&self) -> String {
        format!("{}:{PEER_PORT}", self.name())
    }

    fn name(&self) -> String {
        self.container.as_ref().map_or_else(|| self.host.to_string(), |container| container.service.clone())
    }

    /// What is told of it when it is to join.
    pub fn shape(&self) -> serde_json::Value {
        serde_json::json!({"id": self.id, "peer_addr": self.peer_addr(), "api_addr": self.api_addr()})
    }

    /// The folder it keeps everything in.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The file it logs to.
    pub fn log_path(&self) -> PathBuf {
        self.dir.join("node.log")
    }

    /// The end of its log, for a person who reads a failure.
    pub fn log_tail(&self) -> String {
        if let Some(container) = &self.container {
            return container.log_tail();
        }
        let text = fs::read(self.log_path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// Starts the process again with the same config and data.
    ///
    /// # Errors
    /// When it still runs or cannot be started.
    pub fn restart(&mut self) -> Proof {
        if let Some(container) = &mut self.container {
            return container.start();
        }
        ensure(self.child.is_none(), || format!("node {} already runs", self.id))?;
        let log = File::options().create(true).append(true).open(self.log_path()).when("opening the node's log")?;
        let same = log.try_clone().when("opening the node's log")?;
        let child = Command::new(&self.binary)
            .args(["node", "--config"])
            .arg(self.config_path())
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(same)
            .spawn()
            .when("starting tidings node")?;
        self.child = Some(child);
        Ok(())
    }

    /// Whether it can be asked: it was started, and neither killed nor frozen since.
    pub fn answers(&self) -> bool {
        let started = self.container.as_ref().map_or(self.child.is_some(), |container| container.up);
        started && !self.paused
    }

    /// Whether the process is there. One that ended by itself counts as gone.
    pub fn runs(&mut self) -> bool {
        if let Some(container) = &self.container {
            return container.runs();
        }
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Ends it as a power cut would: SIGKILL, no farewell.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self) -> Proof {
        self.hit()?;
        self.reap()
    }

    /// Sends SIGKILL and does not wait, so that several can be hit at the same moment. [`Node::reap`] must follow.
    ///
    /// # Errors
    /// When it does not run.
    pub fn hit(&self) -> Proof {
        self.container.as_ref().map_or_else(|| self.signal(Signal::SIGKILL), Container::kill)
    }

    /// Waits for a process that was hit.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn reap(&mut self) -> Proof {
        if let Some(container) = &mut self.container {
            return container.reap();
        }
        if let Some(mut child) = self.child.take() {
            child.wait().when("waiting for a killed node")?;
        }
        Ok(())
    }

    /// Freezes it: it keeps its connections and says nothing.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&mut self) -> Proof {
        self.paused = true;
        self.container.as_ref().map_or_else(|| self.signal(Signal::SIGSTOP), Container::pause)
    }

    /// Lets a frozen one go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&mut self) -> Proof {
        self.paused = false;
        self.container.as_ref().map_or_else(|| self.signal(Signal::SIGCONT), Container::unpause)
    }

    /// Asks it to stop (SIGTERM) and waits for its end.
    ///
    /// # Errors
    /// When it has not ended within `patience`; it is killed then.
    pub async fn stop(&mut self, patience: Duration) -> Proof<ExitStatus> {
        if let Some(container) = &mut self.container {
            // The status of wait(2) carries an exit code in its second byte.
            return Ok(ExitStatus::from_raw(container.stop(patience)? << 8));
        }
        self.signal(Signal::SIGTERM)?;
        let mut child = self.child.take().when("stopping a node")?;
        let began = Instant::now();
        while began.elapsed() < patience {
            if let Some(status) = child.try_wait().when("waiting for a stopped node")? {
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        child.kill().when("killing a node that would not stop")?;
        child.wait().when("waiting for a killed node")?;
        Err(crate::Failure::new(format!("node {} did not stop within {patience:?}", self.id)))
    }

    /// Its process id.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pid(&self) -> Proof<u32> {
        if let Some(container) = &self.container {
            return container.pid();
        }
        Ok(self.child.as_ref().when(format!("looking for the process of node {}", self.id))?.id())
    }

    /// The memory it occupies (VmRSS), in bytes.
    ///
    /// # Errors
    /// When it does not run.
    pub fn rss(&self) -> Proof<u64> {
        resident(self.pid()?)
    }

    fn signal(&self, signal: Signal) -> Proof {
        let pid = Pid::from_raw(i32::try_from(self.pid()?).when("reading a process id")?);
        kill(pid, signal).when(format!("sending {signal} to node {}", self.id))
    }

    /// Its config file.
    pub fn config_path(&self) -> PathBuf {
        self.dir.join("node.toml")
    }

    fn config(&self, plan: &Plan) -> Proof<String> {
        let mut text = String::new();
        let data = toml::Value::String(self.data_dir().display().to_string());
        let secret = toml::Value::String(plan.secret.clone());
        let (api, peer) = (self.api_addr(), self.peer_addr());
        write!(
            text,
            "[node]\nid = {}\ndata_dir = {data}\napi_listen = \"{api}\"\npeer_listen = \"{peer}\"\napi_addr = \"{api}\"\n\
             peer_addr = \"{peer}\"\n\n[cluster]\nsecret = {secret}\n\n{}",
            plan.id, plan.extra
        )
        .when("writing a config")?;
        Ok(text)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // A frozen process dies of SIGKILL too; an error only says that it is gone already.
            let _gone = child.kill();
            let _reaped = child.wait();
        }
    }
}

/// The memory a process occupies (VmRSS of proc(5)), in bytes.
///
/// # Errors
/// When there is no such process.
pub fn resident(pid: u32) -> Proof<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).when("reading a process's memory")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).when("finding VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse().when("reading VmRSS")?;
    Ok(kib * 1_024)
}

/// The processor time a process has used so far, its own and the kernel's for it (utime and stime of proc(5)).
///
/// # Errors
/// When there is no such process.
pub fn processor_time(pid: u32) -> Proof<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).when("reading a process's times")?;
    // The name, in parentheses, may hold anything; utime is the twelfth field behind it, in ticks of 10 ms.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks =
        |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).when("reading a process's times");
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
}

/// A loopback address nobody else uses: it is made of this process's id, and both ports are tried.
///
/// An address of its own spares each node the race for a free port, which it must keep over restarts.
///
/// # Errors
/// When all are taken.
pub fn free_host() -> Proof<Ipv4Addr> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    for _ in 0..250 {
        let turn = NEXT.fetch_add(1, Ordering::Relaxed);
        let last = 2 + u8::try_from(turn % 250).when("choosing an address")?;
        let host = Ipv4Addr::new(127, 64 | (high & 63), low, last);
        if [API_PORT, PEER_PORT].into_iter().all(|port| TcpListener::bind((host, port)).is_ok()) {
            return Ok(host);
        }
    }
    Err(crate::Failure::new("no loopback address is free"))
}
