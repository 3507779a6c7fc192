//! Looks at the node while it is attacked: its health on connections of their own, messages on one that stays, and its memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::Method;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::attacks::Target;
use crate::client::Client;
use crate::cluster::Cluster;
use crate::health;
use crate::process::resident;
use crate::{Proof, When};

/// How often its health and its memory are looked at, and how often a message is sent.
const EVERY: Duration = Duration::from_millis(100);

/// What was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// How often its health was asked.
    pub(super) asked: u64,
    /// The longest time it took.
    pub(super) slowest: Duration,
    /// Messages that were taken.
    pub(super) taken: u64,
    /// The most memory it occupied, in bytes.
    pub(super) memory: u64,
    /// What went wrong, the first few.
    pub(super) failed: Vec<String>,
}

/// Somebody who looks.
pub(super) struct Watch {
    stop: Arc<AtomicBool>,
    looking: JoinHandle<Seen>,
}

impl Watch {
    /// Begins to look.
    pub(super) fn start(cluster: &Cluster, target: &Target) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, pid, target) = (Arc::clone(&stop), cluster.nodes[0].pid(), target.clone());
        let looking = tokio::spawn(async move {
            let mut seen = Seen::default();
            let caller = Client::new(&target.key);
            while !stopped.load(Ordering::SeqCst) {
                seen.health(&target).await;
                seen.message(&caller, &target).await;
                if let Ok(memory) = pid.as_ref().map_or(Ok(0), |pid| resident(*pid)) {
                    seen.memory = seen.memory.max(memory);
                }
                sleep(EVERY).await;
            }
            seen
        });
        Self { stop, looking }
    }

    /// Ends looking, and gives what was seen.
    pub(super) async fn end(self) -> Proof<Seen> {
        self.stop.store(true, Ordering::SeqCst);
        self.looking.await.when("looking at the node")
    }
}

impl Seen {
    fn fail(&mut self, why: String) {
        if self.failed.len() < 5 {
            self.failed.push(why);
        }
    }

    async fn health(&mut self, target: &Target) {
        let asked = health::ask(&target.address).await;
        self.asked += 1;
        self.slowest = self.slowest.max(asked.took);
        if let Some(why) = asked.failure {
            self.fail(why);
        }
    }

    async fn message(&mut self, caller: &Client, target: &Target) {
        let url = format!("http://{}/v1/messages", target.address);
        let body = json!({"template": "hello", "to": ["+8613800138000"], "variables": {"name": "Ada"}});
        match caller.send(Method::POST, &url, &body).await {
            Ok(answer) if answer.status == 202 => self.taken += 1,
            Ok(answer) => self.fail(format!("a message: {} {:?}", answer.status, answer.code())),
            Err(failure) => self.fail(format!("a message: {failure}")),
        }
    }
}
