//! A testbed of its own for one fault: unlike the one a person starts, it takes free addresses and folders that can be
//! broken, and it is gone when this is dropped.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::bent::{self, Bent};
use super::compose::Compose;
use super::container::Container;
use super::disk::{SmallDisk, open_to_all};
use super::provider::Provider;
use crate::cluster::{Cluster, Shape};
use crate::process::{Node, free_host};
use crate::receiver::SECRET;
use crate::{Proof, When};

/// The secret in the nodes' config files.
pub const CLUSTER_SECRET: &str = "the secret of a testbed on one machine";
/// Nodes that the compose file has, the spare one included.
const NODES: u64 = 4;

/// What is special about a testbed.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Every node runs under the library that bends clocks and syncs.
    pub bent: bool,
    /// This node has a small disk of so many bytes.
    pub small_disk: Option<(u64, u64)>,
    /// Lines added to every node's config file: whole TOML sections.
    pub extra: String,
}

/// A testbed. Fields are dropped in this order: first the containers, then what they used.
#[derive(Debug)]
pub struct Stand {
    /// The project in docker.
    pub compose: Compose,
    /// The nodes that form the cluster.
    pub cluster: Cluster,
    /// The provider double.
    pub provider: Provider,
    /// Bends nodes, if the setup asked for it.
    pub bent: Option<Bent>,
    /// The small disk, if the setup asked for it.
    pub small_disk: Option<SmallDisk>,
    published: BTreeMap<u64, String>,
    folder: TempDir,
}

impl Stand {
    /// Starts the containers, founds the cluster and teaches it to call the provider double.
    ///
    /// # Errors
    /// When it does not come up; everything is taken away again.
    pub async fn start(setup: &Setup) -> Proof<Self> {
        let folder = TempDir::with_prefix("tidings-testbed-").when("making a temporary folder")?;
        let mut env = BTreeMap::new();
        let mut published = BTreeMap::new();
        for id in 1..=NODES {
            let data = data_folder(folder.path(), id);
            fs::create_dir_all(&data).when("making a node's folder")?;
            open_to_all(&data)?;
            published.insert(id, format!("{}:7400", free_host()?));
            env.insert(format!("TIDINGS_DATA_{id}"), data.display().to_string());
            env.insert(format!("TIDINGS_API_{id}"), published[&id].clone());
        }
        let receiver = format!("{}:7400", free_host()?);
        env.insert("TIDINGS_RECEIVER".to_owned(), receiver.clone());
        env.insert("TIDINGS_CONFIG".to_owned(), copy_config(folder.path(), &setup.extra)?);
        let bent = setup.bent.then(|| bend(folder.path(), &mut env)).transpose()?;
        let small = setup.small_disk.map(|(id, bytes)| SmallDisk::mount(&data_folder(folder.path(), id), bytes));
        let small_disk = small.transpose()?;
        let name = folder.path().file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let compose = Compose::new(name, env);
        let provider = Provider::at(&receiver);
        let mut stand =
            Self { compose, cluster: Cluster::over(Vec::new())?, provider, bent, small_disk, published, folder };
        stand.compose.up(&["node-1", "node-2", "node-3", "receiver"])?;
        for id in 1..=3 {
            let node = stand.node(id)?;
            stand.cluster.nodes.push(node);
        }
        stand.cluster.form(CLUSTER_SECRET, &Shape::full(3, 8)).await?;
        stand.cluster.teach_webhook(SECRET).await?;
        Ok(stand)
    }

    /// Starts the spare node, which is of no cluster yet.
    ///
    /// # Errors
    /// When docker cannot.
    pub fn start_spare(&self) -> Proof<Node> {
        self.compose.up(&["node-4"])?;
        self.node(4)
    }

    /// The folder that node `id` keeps its data in.
    pub fn data(&self, id: u64) -> PathBuf {
        data_folder(self.folder.path(), id)
    }

    /// The config file of node `id`, which is read when it starts.
    pub fn config(&self, id: u64) -> PathBuf {
        self.folder.path().join(format!("config/node-{id}.toml"))
    }

    /// The container of the node at `index` of the cluster's nodes.
    ///
    /// # Errors
    /// When there is none.
    pub fn container(&self, index: usize) -> Proof<&Container> {
        self.cluster.nodes.get(index).and_then(Node::container).when("looking for a node's container")
    }

    /// The indexes of all nodes but one.
    pub fn others(&self, index: usize) -> Vec<usize> {
        (0..self.cluster.nodes.len()).filter(|other| *other != index).collect()
    }

    fn node(&self, id: u64) -> Proof<Node> {
        let service = format!("node-{id}");
        let published = self.published.get(&id).cloned().when("finding a node's address")?;
        let container = self.compose.container(&service)?;
        Node::contained(id, Container { id: container, service, published, up: true })
    }
}

fn data_folder(folder: &Path, id: u64) -> PathBuf {
    folder.join(format!("data/node-{id}"))
}

/// Copies the nodes' config files, so that a fault may change them.
fn copy_config(folder: &Path, extra: &str) -> Proof<String> {
    let own = folder.join("config");
    fs::create_dir_all(&own).when("making a folder")?;
    for id in 1..=NODES {
        let name = format!("node-{id}.toml");
        let text = fs::read_to_string(Compose::folder().join("config").join(&name)).when("reading a node's config")?;
        fs::write(own.join(&name), format!("{text}{extra}")).when("copying a node's config")?;
    }
    Ok(own.display().to_string())
}

fn bend(folder: &Path, env: &mut BTreeMap<String, String>) -> Proof<Bent> {
    let own = folder.join("bent");
    fs::create_dir_all(&own).when("making a folder")?;
    let bent = Bent::build(&own)?;
    env.insert("TIDINGS_BENT".to_owned(), own.display().to_string());
    for id in 1..=3 {
        env.insert(format!("TIDINGS_PRELOAD_{id}"), bent::PRELOAD.to_owned());
    }
    Ok(bent)
}
