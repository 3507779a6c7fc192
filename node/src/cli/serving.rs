//! Running a node inside this process: starting one for `dev` and `demo`, and stopping when told.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use tidings_config::Config;
use tidings_contract::Secret;
use tidings_node::Running;
use tokio::time::{Instant, sleep};

use super::client::{Api, Ask};
use super::failure::Failure;
use super::signals::{Signals, Told};
use super::{DEFAULT_DATA, KEY_FILE, config, logging, stored_key};

/// The file in a data directory that holds the cluster's secret.
const SECRET_FILE: &str = "cluster.secret";
/// How long a fresh node may take until it takes messages.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Settings that suit one node alone and give way to the environment: nobody else stands for election, so it need not
/// wait long before it leads.
const ALONE: &[(&str, &str)] = &[
    ("TIDINGS_RAFT_HEARTBEAT_MS", "50"),
    ("TIDINGS_RAFT_ELECTION_MIN_MS", "150"),
    ("TIDINGS_RAFT_ELECTION_MAX_MS", "300"),
    ("TIDINGS_CLUSTER_REPLICATION", "1"),
    // Nobody connects to it; a free port keeps two of them apart.
    ("TIDINGS_NODE_PEER_LISTEN", "127.0.0.1:0"),
    // The consensus library reports as errors what its caller takes care of.
    ("TIDINGS_LOG_LEVEL", "warn,openraft=off"),
];

/// Where a node for trying out lives.
#[derive(Args, Clone, Debug)]
pub(super) struct Alone {
    /// The directory of its data, its key and its secret; made if it is not there
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA)]
    data: PathBuf,
    /// Where the API listens; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7400")]
    listen: SocketAddr,
    /// Partitions, when the data directory is new
    #[arg(long, default_value_t = 2)]
    partitions: u16,
}

/// A node for trying out that takes messages.
pub(super) struct Started {
    /// The node.
    pub(super) running: Running,
    /// The API with the admin key.
    pub(super) api: Api,
    /// Where the API is.
    pub(super) url: String,
    /// The admin key.
    pub(super) key: Secret,
    /// Where the key is kept.
    pub(super) key_file: PathBuf,
}

impl Alone {
    /// Starts the node, founds its cluster if the directory is new, and waits until it takes messages.
    pub(super) async fn start(&self) -> Result<Started, Failure> {
        let config = self.config()?;
        // Its keys come from the environment alone, which does not change.
        drop(logging::start(&config.log)?);
        let running = serve(config).await?;
        let key_file = self.data.join(KEY_FILE);
        let key = match stored_key(&self.data) {
            Some(key) => key,
            None => {
                let key = self.first_key(&running).await?;
                write_private(&key_file, key.expose())?;
                key
            }
        };
        let mut at = running.api_addr;
        if at.ip().is_unspecified() {
            at.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        let url = format!("http://{at}");
        let api = Api::new(&url, Some(key.clone()))?;
        ready(&api).await?;
        Ok(Started { running, api, url, key, key_file })
    }

    /// The first key of a new directory. In one whose key file is gone whoever runs the node has the secret, and gets a
    /// new key.
    async fn first_key(&self, running: &Running) -> Result<Secret, Failure> {
        let unfounded = match tidings_node::found_dev(running).await {
            Ok(key) => return Ok(key),
            Err(error) => error,
        };
        let key = tidings_node::recover_dev(running).await.map_err(|error| self.unfounded(&unfounded, &error))?;
        tracing::warn!("{KEY_FILE} was missing: a new admin key was made; lost ones work until they are revoked");
        Ok(key)
    }

    fn config(&self) -> Result<Config, Failure> {
        let given: Vec<_> = config::environment().collect();
        let secret_given = given.iter().any(|(name, _)| name.starts_with("TIDINGS_CLUSTER_SECRET"));
        let mut own = vec![
            ("TIDINGS_NODE_DATA_DIR", self.data.display().to_string()),
            ("TIDINGS_NODE_API_LISTEN", self.listen.to_string()),
            ("TIDINGS_CLUSTER_PARTITIONS", self.partitions.to_string()),
        ];
        if self.listen.ip().is_unspecified() {
            own.push(("TIDINGS_NODE_API_ADDR", format!("127.0.0.1:{}", self.listen.port())));
        }
        if !secret_given {
            let file = self.secret_file()?;
            own.push(("TIDINGS_CLUSTER_SECRET_FILE", file.display().to_string()));
        }
        let alone = ALONE.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
        Config::load(None, alone.chain(given).chain(own)).map_err(|mistakes| Failure::Usage(mistakes.to_string()))
    }

    /// The file with this directory's own secret; made of chance when the directory is new.
    fn secret_file(&self) -> Result<PathBuf, Failure> {
        let path = self.data.join(SECRET_FILE);
        if !path.exists() {
            if self.data.join("ledger").exists() {
                let data = self.data.display();
                return Err(Failure::Failed(format!(
                    "{data} holds data, but {SECRET_FILE} is missing, without which nothing sealed in it opens\nWhat to do: \
                     put {data}/{SECRET_FILE} back, give the secret by TIDINGS_CLUSTER_SECRET, or use another --data \
                     directory."
                )));
            }
            std::fs::create_dir_all(&self.data)
                .map_err(|error| Failure::Failed(format!("cannot make {}: {error}", self.data.display())))?;
            write_private(&path, &data_encoding::HEXLOWER.encode(&rand::random::<[u8; 32]>()))?;
        }
        Ok(path)
    }

    fn unfounded(&self, error: &dyn std::fmt::Display, recovering: &dyn std::fmt::Display) -> Failure {
        let data = self.data.display();
        Failure::Failed(format!(
            "no admin key for the data in {data}: {error}, and no new one could be made: {recovering}\nWhat to do: put the key back into {data}/{KEY_FILE}, or use \
             another --data directory."
        ))
    }
}

/// Starts a node.
pub(super) async fn serve(config: Config) -> Result<Running, Failure> {
    Box::pin(tidings_node::serve(config))
        .await
        .map_err(|error| Failure::Failed(format!("the node does not start: {error}")))
}

/// Waits until the node takes messages.
async fn ready(api: &Api) -> Result<(), Failure> {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        match api.ask(Ask::get(&["readyz"])).await {
            Ok(_) => return Ok(()),
            Err(Failure::Refused { .. }) if Instant::now() < deadline => sleep(Duration::from_millis(20)).await,
            Err(Failure::Refused { body, .. }) => {
                let reasons = String::from_utf8_lossy(&body).into_owned();
                return Err(Failure::Failed(format!(
                    "the node is not ready after {} s: {reasons}\nWhat to do: if the directory was emptied, remove its \
                     {KEY_FILE} too.",
                    READY_WITHIN.as_secs()
                )));
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// What is done when the process is told to read its configuration again.
pub(super) type Reread = Box<dyn FnMut(&mut Running) + Send>;

/// Keeps the node running until ctrl-c or SIGTERM, then stops it; a second signal ends the process at once. A node whose
/// storage failed, or of which a group or a task died, ends by itself, because only a new process can go on.
pub(super) async fn until_told(
    mut running: Running,
    mut signals: Signals,
    mut reread: Option<Reread>,
) -> Result<(), Failure> {
    loop {
        tokio::select! {
            told = signals.next() => match (told, &mut reread) {
                (Told::Reread, Some(reread)) => reread(&mut running),
                (Told::Reread, None) => {}
                (Told::End, _) => break,
            },
            why = running.failed() => {
                tracing::error!(why, "this process cannot go on; it ends, so that a new one can");
                return Err(Failure::Failed(format!(
                    "the node cannot go on: {why}\nWhat to do: start the node again, as a supervisor does by itself. If it \
                     fails again, look at the disk; a node that lost its disk starts again with an empty data directory, and the \
                     others take it in under its number."
                )));
            }
        }
    }
    let stop_within = running.stop_deadline();
    tracing::info!("stopping");
    tokio::select! {
        stopped = tokio::time::timeout(stop_within, running.stop()) => match stopped {
            Ok(()) => {
                tracing::info!("stopped");
                Ok(())
            }
            Err(_) => Err(Failure::Failed(format!("it did not stop within {} s", stop_within.as_secs()))),
        },
        () = signals.end() => Err(Failure::Failed("ended at once, as told a second time".to_owned())),
    }
}

/// Writes a file that only its owner may read; never over one that is there.
fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()
    });
    written.map_err(|error| Failure::Failed(format!("cannot write {}: {error}", path.display())))
}
