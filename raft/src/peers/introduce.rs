//! After the handshake both ends say how far their disks are and what they heard of the other's; only if each disk counts
//! for the other, and knows the moment that the other heard of, do frames pass.

use std::io;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};

use super::disks::{Doubt, Party};
use super::handshake::{Identity, receive, send};
use crate::codec;
use crate::store::Position;

/// How long that may take; a new start of the other's disk is written down meanwhile.
const LIMIT: Duration = Duration::from_secs(5);

/// What each end says first.
#[derive(Debug, Serialize, Deserialize)]
struct Presence {
    /// Its own disk.
    mine: Position,
    /// The newest moment that it heard of the other's.
    yours: Option<Position>,
}

/// What each end makes of it.
#[derive(Debug, Serialize, Deserialize)]
struct Verdict {
    /// Why the other's disk does not count.
    yours: Option<Doubt>,
    /// Why its own does not.
    mine: Option<Doubt>,
}

/// Meets `node`, who was proven to be of the cluster; an error if either disk does not count for the other.
pub(super) async fn introduce<S: AsyncRead + AsyncWrite + Unpin>(
    io: &mut S,
    me: &Identity,
    node: u64,
) -> io::Result<Party> {
    let talk = async {
        let disks = &me.disks;
        let mine = disks.position();
        let asked = disks.moment_of(node);
        say(io, &Presence { mine, yours: asked }).await?;
        let theirs: Presence = listen(io).await?;
        // One that was removed is let in, to be told so and nothing else.
        let removed = me.roll.dismissal(node).is_some();
        let doubt = if removed { None } else { disks.judge(node, &theirs.mine).err() };
        // Another connection may have found meanwhile that our disk is behind. It is another one then, which nobody asks
        // about; but here it speaks as the one that it was.
        let of_mine = theirs.yours.and_then(|moment| disks.was_ours(&moment).err()).or(disks.is_still(mine.disk).err());
        say(io, &Verdict { yours: doubt.clone(), mine: of_mine.clone() }).await?;
        let verdict: Verdict = listen(io).await?;
        let against_me = of_mine.or(verdict.yours);
        disks.told(node, against_me.as_ref().map(|doubt| doubt.why.clone()));
        if let Some(doubt) = &against_me {
            if doubt.renew {
                disks.renew(mine.disk, &doubt.why).await?;
            }
            return Err(refused(&doubt.why));
        }
        if let Some(doubt) = doubt.or(verdict.mine) {
            disks.say(node, &doubt.why);
            return Err(refused(&doubt.why));
        }
        disks.accept(node, theirs.mine, mine.disk, asked).await
    };
    tokio::time::timeout(LIMIT, talk).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

async fn say<S: AsyncWrite + Unpin, T: Serialize>(io: &mut S, message: &T) -> io::Result<()> {
    send(io, &codec::encode(message).map_err(io::Error::other)?).await
}

async fn listen<S: AsyncRead + Unpin, T: DeserializeOwned>(io: &mut S) -> io::Result<T> {
    codec::decode(&receive(io).await?).map_err(io::Error::other)
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, format!("the disk is refused: {why}"))
}
