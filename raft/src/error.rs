//! What can go wrong, classed by what the caller should do about it.

use serde::{Deserialize, Serialize};

use crate::base::sled;

/// Why a proposal was not answered.
///
/// `Unknown` is never "failed": the commands may take effect later, so ask again only with something idempotent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ProposeError {
    /// Certainly not kept here; that node may know better.
    #[error("this node does not lead the group (leader: {leader:?})")]
    NotLeader {
        /// The leader's number and API address, if one is known.
        leader: Option<(u64, String)>,
    },
    /// Certainly not kept: no leader within the deadline, no way to it. Ask again, a little later.
    #[error("not kept: {0}")]
    Refused(String),
    /// Nobody can tell: the leader changed or the deadline passed while it was under way.
    #[error("may have been kept: {0}")]
    Unknown(String),
    /// Certainly not kept, and never will be: the commands are larger than an entry may be.
    #[error("the commands take {bytes} bytes; an entry holds at most {limit}")]
    TooLarge {
        /// What they take.
        bytes: usize,
        /// What fits.
        limit: usize,
    },
    /// Certainly not kept: a queue is full. Ask again when there is room.
    #[error("not kept, no room: {0}")]
    Full(String),
    /// The process is ending. Certainly not kept.
    #[error("the ledger is closed")]
    Shutdown,
    /// Certainly not kept: the disk of the leader takes no writes. Ask again when somebody has made room.
    #[error("not kept, the leader's disk takes no writes: {0}")]
    DiskFull(String),
}

/// Why a node's data could not be opened. None of these goes away by asking again.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory or a file in it cannot be used.
    #[error("cannot use {path}: {source}")]
    Io {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The database reports damage or another process holds it.
    #[error("cannot open the database: {0}")]
    Database(#[from] sled::Error),
    /// The data was written by a version this one does not know.
    #[error(
        "the data has disk version {found}; this program reads {known}. Use the program that wrote it, or a newer one"
    )]
    Version {
        /// What is on the disk.
        found: String,
        /// What this program knows.
        known: u32,
    },
    /// The data was written by a version so old that this one does not know how to bring it up.
    #[error(
        "the data has disk version {found}; this program brings up versions from {oldest}. Start a version between first"
    )]
    TooOld {
        /// What is on the disk.
        found: u32,
        /// The oldest version this program brings up.
        oldest: u32,
    },
    /// A restore into this directory did not finish.
    #[error("a restore into this data directory did not finish; empty the directory and restore again")]
    Unfinished,
    /// The data belongs to another node.
    #[error("the data belongs to node {found}, not to node {wanted}")]
    OtherNode {
        /// Whose it is.
        found: u64,
        /// Who asks.
        wanted: u64,
    },
    /// The data belongs to a cluster with another secret.
    #[error(
        "the data directory belongs to a cluster with another secret than the configured one. What to do: give the secret \
         that the node ran with before, by cluster.secret or cluster.secret_file (`tidings dev` keeps its own in \
         cluster.secret beside the data); a cluster's secret cannot be changed. A new cluster needs an empty directory"
    )]
    OtherSecret,
    /// The data cannot be read.
    #[error("damaged data in {what}: {why}")]
    Damaged {
        /// Where.
        what: String,
        /// How.
        why: String,
    },
    /// The address for peers cannot be bound.
    #[error("cannot listen for peers on {addr}: {source}")]
    Listen {
        /// The address.
        addr: String,
        /// Why.
        source: std::io::Error,
    },
    /// An option makes no sense.
    #[error("{0}")]
    Option(String),
    /// A group could not be started.
    #[error("cannot start group {group}: {why}")]
    Group {
        /// Which.
        group: String,
        /// Why.
        why: String,
    },
}

/// Why another node did not answer a question.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// It was not asked: no address, no connection, wrong secret.
    #[error("not asked: {0}")]
    NotSent(String),
    /// It was asked; no answer came before the connection broke or the time ran out.
    #[error("no answer: {0}")]
    NoAnswer(String),
    /// It answered that it could not.
    #[error("the node says: {0}")]
    Failed(String),
}
