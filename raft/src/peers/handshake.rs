//! Both ends prove that they know the cluster's secret, on this very connection, before either says who it is.
//!
//! In order: the connecting side sends a fresh nonce; the accepting side sends one; the connecting side proves that it
//! knows the secret; the accepting side does; the connecting side says who it is and whom it wants; the accepting side
//! says who it is, or why it refuses. Whoever cannot prove the secret learns nothing but a nonce. Each proof and each
//! greeting carries an HMAC-SHA256 (RFC 2104) over everything said before it and over the [`Binding`], under a key derived
//! from the secret (HKDF, RFC 5869). So a proof cannot be reflected, used twice, or carried to another connection by a relay.

use std::fmt;
use std::io;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tidings_contract::Secret;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::disks::DiskBook;
use super::refusals::{Reason, Turned};
use super::roll::Roll;
use crate::codec;

/// The protocol of peers. A change that old nodes do not understand makes it grow.
const PROTOCOL: u32 = 5;
/// What the connecting side says first. It changes when the proofs do.
const MAGIC: [u8; 4] = *b"tdg2";
/// Most bytes of one message of the handshake.
const MESSAGE: u16 = 4_096;
/// Bytes of an HMAC.
const TAG: usize = 32;

/// A value that only the two ends of one ciphered connection know (RFC 8446 §7.5). A relay that ends the cipher on both
/// sides has two of them.
pub(crate) type Binding = [u8; 32];

/// The key of the proofs, derived from the cluster's secret.
struct Key([u8; 32]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Who this node is, to its peers.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) node: u64,
    key: Key,
    /// The cluster this node belongs to, once it does.
    pub(crate) cluster: RwLock<Option<String>>,
    /// Where this node's peers reach it, once it was told.
    pub(crate) address: RwLock<Option<String>>,
    /// Who is no member any more.
    pub(crate) roll: Roll,
    /// Whose disks count.
    pub(crate) disks: DiskBook,
}

/// Who the other end is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Met {
    pub(crate) node: u64,
    /// Where it says it is reached; newer than what control says, if its address changed while there was no majority.
    pub(crate) address: Option<String>,
}

/// What each side says of itself, once the other has proven that it knows the secret.
#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    node: u64,
    cluster: Option<String>,
    address: Option<String>,
    /// Whom the connecting side means to reach, if it knows the number.
    wanted: Option<u64>,
}

/// How the accepting side answers a [`Hello`].
#[derive(Debug, Serialize, Deserialize)]
enum Reply {
    Welcome(Hello),
    Refused(String),
}

impl Identity {
    /// Node `node` of a cluster whose nodes share `secret`.
    pub(crate) fn new(
        node: u64,
        secret: &Secret,
        cluster: Option<String>,
        address: Option<String>,
        disks: DiskBook,
    ) -> Self {
        let mut key = [0; 32];
        // Expanding to 32 bytes cannot fail: RFC 5869 allows up to 255 hashes.
        let _ = Hkdf::<Sha256>::new(None, secret.expose().as_bytes()).expand(b"tidings peers v4", &mut key);
        let (cluster, address) = (RwLock::new(cluster), RwLock::new(address));
        Self { node, key: Key(key), cluster, address, roll: Roll::default(), disks }
    }

    fn hello(&self, wanted: Option<u64>) -> Hello {
        let (cluster, address) = (self.cluster.read().clone(), self.address.read().clone());
        Hello { node: self.node, cluster, address, wanted }
    }

    fn check(&self, theirs: &Hello) -> io::Result<()> {
        match (&*self.cluster.read(), &theirs.cluster) {
            (Some(ours), Some(its)) if ours != its => Err(refused("it belongs to another cluster")),
            _ if theirs.node == self.node => Err(refused(format!("it says that it is node {} too", self.node))),
            _ => Ok(()),
        }
    }

    fn welcome(&self, theirs: &Hello) -> io::Result<()> {
        self.check(theirs)?;
        match theirs.wanted {
            Some(wanted) if wanted != self.node => {
                Err(refused(format!("it wants node {wanted}; this is node {}", self.node)))
            }
            _ => Ok(()),
        }
    }
}

impl From<Hello> for Met {
    fn from(hello: Hello) -> Self {
        Self { node: hello.node, address: hello.address }
    }
}

/// Everything said so far, as a hash, and the key to prove it with.
struct Transcript<'a> {
    said: Sha256,
    key: &'a Key,
}

impl<'a> Transcript<'a> {
    fn new(key: &'a Key, binding: &Binding, nonces: [&[u8; 32]; 2]) -> Self {
        let mut said = Sha256::new();
        said.update(MAGIC);
        said.update(binding);
        nonces.iter().for_each(|nonce| said.update(nonce));
        Self { said, key }
    }

    /// The tag of `message`, which `role` sends now; both become part of what was said.
    fn tag(&mut self, role: &[u8], message: &[u8]) -> io::Result<[u8; TAG]> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key.0).map_err(io::Error::other)?;
        mac.update(&self.said.clone().finalize());
        mac.update(role);
        mac.update(message);
        let tag: [u8; TAG] = mac.finalize().into_bytes().into();
        // Of fixed length, and it covers role and message.
        self.said.update(tag);
        Ok(tag)
    }

    fn holds(&mut self, role: &[u8], message: &[u8], tag: &[u8]) -> io::Result<bool> {
        Ok(self.tag(role, message)?.ct_eq(tag).into())
    }
}

/// The connecting side. `wanted` is whom we mean to reach. The caller sets the time limit.
pub(crate) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    io: &mut S,
    me: &Identity,
    binding: &Binding,
    wanted: Option<u64>,
) -> io::Result<Met> {
    let mine: [u8; 32] = rand::random();
    io.write_all(&[&MAGIC[..], &mine].concat()).await?;
    io.flush().await?;
    let mut theirs = [0; 32];
    io.read_exact(&mut theirs).await.map_err(|e| closed(e, "it does not speak our protocol"))?;
    let mut said = Transcript::new(&me.key, binding, [&mine, &theirs]);
    send(io, &said.tag(b"connecting proves", &[])?).await?;
    let differs = "it does not accept our proof: its cluster secret is not ours";
    let proof = receive(io).await.map_err(|e| closed(e, differs))?;
    if proof.is_empty() {
        return Err(refused(differs));
    }
    if !said.holds(b"accepting proves", &[], &proof)? {
        return Err(refused("it does not know the cluster's secret, or somebody relays the connection"));
    }
    send_sealed(io, &mut said, b"connecting is", &me.hello(wanted)).await?;
    match receive_sealed(io, &mut said, b"accepting is").await? {
        Reply::Welcome(hello) => {
            me.check(&hello)?;
            if wanted.is_some_and(|wanted| wanted != hello.node) {
                return Err(refused(format!("it is node {}", hello.node)));
            }
            Ok(hello.into())
        }
        Reply::Refused(why) => Err(refused(format!("it refuses us: {why}"))),
    }
}

/// The accepting side; returns who connects. The caller sets the time limit.
pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    io: &mut S,
    me: &Identity,
    binding: &Binding,
) -> Result<Met, Turned> {
    let unproven = |error: io::Error| Turned::new(Reason::Unproven, error.to_string());
    let mut magic = [0; 4];
    io.read_exact(&mut magic).await.map_err(unproven)?;
    if magic != MAGIC {
        return Err(Turned::new(Reason::Protocol, "it speaks another version of our protocol, or another one"));
    }
    let (mut theirs, mine): (_, [u8; 32]) = ([0; 32], rand::random());
    io.read_exact(&mut theirs).await.map_err(unproven)?;
    io.write_all(&mine).await.map_err(unproven)?;
    io.flush().await.map_err(unproven)?;
    let mut said = Transcript::new(&me.key, binding, [&theirs, &mine]);
    let proof = receive(io).await.map_err(unproven)?;
    if !said.holds(b"connecting proves", &[], &proof).map_err(unproven)? {
        // It is told so, and nothing else.
        let _ = send(io, &[]).await;
        let why = "it does not know the cluster's secret, or somebody relays the connection";
        return Err(Turned::new(Reason::Secret, why));
    }
    let identity = |error: io::Error| Turned::new(Reason::Identity, error.to_string());
    send(io, &said.tag(b"accepting proves", &[]).map_err(identity)?).await.map_err(identity)?;
    let hello: Hello = receive_sealed(io, &mut said, b"connecting is").await.map_err(identity)?;
    let reply = match me.welcome(&hello) {
        Ok(()) => Reply::Welcome(me.hello(None)),
        Err(why) => {
            let told = Reply::Refused(why.to_string());
            let _ = send_sealed(io, &mut said, b"accepting is", &told).await;
            return Err(identity(why).of(hello.node));
        }
    };
    send_sealed(io, &mut said, b"accepting is", &reply).await.map_err(identity)?;
    Ok(hello.into())
}

pub(super) async fn send<S: AsyncWrite + Unpin>(io: &mut S, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    io.write_all(&[&length.to_be_bytes(), message].concat()).await?;
    io.flush().await
}

pub(super) async fn receive<S: AsyncRead + Unpin>(io: &mut S) -> io::Result<Vec<u8>> {
    let length = io.read_u16().await?;
    if length > MESSAGE {
        return Err(refused("it talks too much"));
    }
    let mut bytes = vec![0; usize::from(length)];
    io.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// Sends the protocol's number, `message` and their tag.
async fn send_sealed<S: AsyncWrite + Unpin, T: Serialize>(
    io: &mut S,
    said: &mut Transcript<'_>,
    role: &[u8],
    message: &T,
) -> io::Result<()> {
    let mut bytes = PROTOCOL.to_be_bytes().to_vec();
    bytes.extend(codec::encode(message).map_err(io::Error::other)?);
    let tag = said.tag(role, &bytes)?;
    bytes.extend(tag);
    send(io, &bytes).await
}

/// The protocol's number is looked at before the message, whose shape may be another in another protocol.
async fn receive_sealed<S: AsyncRead + Unpin, T: serde::de::DeserializeOwned>(
    io: &mut S,
    said: &mut Transcript<'_>,
    role: &[u8],
) -> io::Result<T> {
    let bytes = receive(io).await?;
    let (message, tag) = bytes.split_at_checked(bytes.len().saturating_sub(TAG)).unwrap_or_default();
    if !said.holds(role, message, tag)? {
        return Err(refused("its greeting was changed under way"));
    }
    let (protocol, message) = message.split_first_chunk().ok_or_else(|| refused("its greeting is too short"))?;
    match u32::from_be_bytes(*protocol) {
        PROTOCOL => codec::decode(message).map_err(io::Error::other),
        other => Err(refused(format!("it speaks protocol {other}, we speak {PROTOCOL}"))),
    }
}

/// What an end of the connection in this place means; other errors stay what they are.
fn closed(error: io::Error, meaning: &str) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof { refused(meaning) } else { error }
}

fn refused(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why.into())
}
