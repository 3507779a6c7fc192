//! Both ends prove that they know the cluster's secret, and that they are who the other expects.
//!
//! Each sends a fresh nonce; each answers the other's with an HMAC-SHA256 (RFC 2104) over both nonces, both node
//! numbers and its own role, so that an answer cannot be reflected or used twice. What follows is not encrypted.

use std::io;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use parking_lot::RwLock;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use tidings_contract::{Secret, stable_hash};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::roll::Roll;
use crate::codec;

/// The protocol of peers. A change that old nodes do not understand makes it grow.
const PROTOCOL: u32 = 3;
const MAGIC: [u8; 4] = *b"tdg1";
const LIMIT: Duration = Duration::from_secs(5);
/// Most bytes of one message of the handshake.
const MESSAGE: u16 = 1_024;

/// Who this node is, to its peers.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) node: u64,
    pub(crate) secret: Secret,
    /// The cluster this node belongs to, once it does.
    pub(crate) cluster: RwLock<Option<String>>,
    /// Where this node's peers reach it, once it was told.
    pub(crate) address: RwLock<Option<String>>,
    /// Who is no member any more.
    pub(crate) roll: Roll,
}

/// Who the other end is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Met {
    pub(crate) node: u64,
    /// Where it says it is reached; newer than what control says, if its address changed while there was no majority.
    pub(crate) address: Option<String>,
}

/// What each side says first.
#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    protocol: u32,
    node: u64,
    cluster: Option<String>,
    address: Option<String>,
    nonce: [u8; 32],
}

impl Identity {
    fn hello(&self) -> Hello {
        let (cluster, address) = (self.cluster.read().clone(), self.address.read().clone());
        Hello { protocol: PROTOCOL, node: self.node, cluster, address, nonce: rand::random() }
    }

    fn proof(&self, role: &[u8], mine: &Hello, theirs: &Hello) -> io::Result<[u8; 32]> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.expose().as_bytes()).map_err(io::Error::other)?;
        mac.update(role);
        for side in [mine, theirs] {
            mac.update(&side.nonce);
            mac.update(&side.node.to_be_bytes());
            let address = side.address.as_deref().unwrap_or_default();
            mac.update(&stable_hash(address.as_bytes()).to_be_bytes());
        }
        Ok(mac.finalize().into_bytes().into())
    }

    fn check(&self, theirs: &Hello) -> io::Result<()> {
        if theirs.protocol != PROTOCOL {
            return Err(refused(format!("it speaks protocol {}, we speak {PROTOCOL}", theirs.protocol)));
        }
        match (&*self.cluster.read(), &theirs.cluster) {
            (Some(ours), Some(its)) if ours != its => Err(refused("it belongs to another cluster")),
            _ if theirs.node == self.node => Err(refused(format!("it says that it is node {} too", self.node))),
            _ => Ok(()),
        }
    }
}

/// The connecting side. `wanted` is whom we mean to reach.
pub(crate) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    io: &mut S,
    me: &Identity,
    wanted: Option<u64>,
) -> io::Result<Met> {
    limited(async {
        let mine = me.hello();
        io.write_all(&MAGIC).await?;
        send(io, &mine).await?;
        let theirs: Hello = receive(io).await?;
        let proof: [u8; 32] = receive(io).await?;
        if !bool::from(proof.ct_eq(&me.proof(b"accepting", &theirs, &mine)?)) {
            return Err(refused("it does not know the cluster's secret"));
        }
        me.check(&theirs)?;
        if wanted.is_some_and(|wanted| wanted != theirs.node) {
            return Err(refused(format!("it is node {}", theirs.node)));
        }
        send(io, &me.proof(b"connecting", &mine, &theirs)?).await?;
        Ok(Met { node: theirs.node, address: theirs.address })
    })
    .await
}

/// The accepting side; returns who connects.
pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(io: &mut S, me: &Identity) -> io::Result<Met> {
    limited(async {
        let mut magic = [0; 4];
        io.read_exact(&mut magic).await?;
        if magic != MAGIC {
            return Err(refused("it does not speak our protocol"));
        }
        let theirs: Hello = receive(io).await?;
        let mine = me.hello();
        send(io, &mine).await?;
        send(io, &me.proof(b"accepting", &mine, &theirs)?).await?;
        let proof: [u8; 32] = receive(io).await?;
        if !bool::from(proof.ct_eq(&me.proof(b"connecting", &theirs, &mine)?)) {
            return Err(refused("it does not know the cluster's secret"));
        }
        me.check(&theirs)?;
        Ok(Met { node: theirs.node, address: theirs.address })
    })
    .await
}

async fn limited<T>(talk: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(LIMIT, talk).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

async fn send<S: AsyncWrite + Unpin, T: Serialize>(io: &mut S, message: &T) -> io::Result<()> {
    let bytes = codec::encode(message).map_err(io::Error::other)?;
    io.write_u16(u16::try_from(bytes.len()).map_err(io::Error::other)?).await?;
    io.write_all(&bytes).await?;
    io.flush().await
}

async fn receive<S: AsyncRead + Unpin, T: DeserializeOwned>(io: &mut S) -> io::Result<T> {
    let length = io.read_u16().await?;
    if length > MESSAGE {
        return Err(refused("it talks too much"));
    }
    let mut bytes = vec![0; usize::from(length)];
    io.read_exact(&mut bytes).await?;
    codec::decode(&bytes).map_err(io::Error::other)
}

fn refused(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(node: u64, secret: &str, cluster: Option<&str>) -> Identity {
        let (cluster, address) = (RwLock::new(cluster.map(str::to_owned)), RwLock::new(Some(format!("host-{node}:1"))));
        Identity { node, secret: Secret::new(secret), cluster, address, roll: Roll::default() }
    }

    async fn meet(near: Identity, far: Identity, wanted: Option<u64>) -> (io::Result<Met>, io::Result<Met>) {
        let (mut a, mut b) = tokio::io::duplex(1_024);
        let connecting = async move {
            // The stream is dropped at the end, as a refusal closes the connection.
            connect(&mut a, &near, wanted).await
        };
        tokio::join!(connecting, async move { accept(&mut b, &far).await })
    }

    #[tokio::test]
    async fn two_nodes_of_one_cluster_learn_who_the_other_is() {
        let (near, far) = meet(identity(1, "s", Some("c")), identity(2, "s", Some("c")), Some(2)).await;
        let met = |node| Met { node, address: Some(format!("host-{node}:1")) };
        assert_eq!((near.expect("fits"), far.expect("fits")), (met(2), met(1)));
        let (near, far) = meet(identity(1, "s", None), identity(2, "s", Some("c")), None).await;
        assert_eq!((near.expect("a new node may ask"), far.expect("and is answered")), (met(2), met(1)));
    }

    #[tokio::test]
    async fn a_stranger_is_refused_by_both_ends() {
        let cases = [
            ("another secret", identity(1, "s", Some("c")), identity(2, "t", Some("c")), None),
            ("another cluster", identity(1, "s", Some("c")), identity(2, "s", Some("d")), None),
            ("the same number", identity(1, "s", Some("c")), identity(1, "s", Some("c")), None),
            ("not whom we meant", identity(1, "s", Some("c")), identity(2, "s", Some("c")), Some(3)),
        ];
        for (what, near, far, wanted) in cases {
            let (near, far) = meet(near, far, wanted).await;
            assert!(near.is_err() && far.is_err(), "{what}: {near:?} {far:?}");
        }
    }
}
