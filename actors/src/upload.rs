//! Having a supplier take a material, under the lease of the home that keeps the id: like fetching an access token, but it
//! may take longer than a lease, and needs an access token itself.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use tidings_contract::{Blame, Material, Outcome, PartitionId, Reason, Secret, Token, Uploaded};
use tidings_machine::partition::{HeldToken, TokenAnswer};
use tokio::time::{Instant, sleep, timeout};

use crate::media::{Media, is_there};
use crate::meters;
use crate::switchboard::Switchboard;
use crate::token_fetch::{Lease, NoToken, Refused, Wanting, ask, claim, obtain, put};

/// Longest time of one upload, with everything that it needs.
const UPLOAD: Duration = Duration::from_secs(90);
/// How long nobody is asked again for a material whose holders did not answer, in milliseconds.
const UNASKED_MS: u64 = 1_000;
/// How often the lease is taken anew meanwhile: well before it ends.
const KEEP_EVERY: Duration = Duration::from_secs(6);

/// Uploads under `lease` and has the home keep the id that came. Gives what is kept, if the home says so.
pub(crate) async fn upload(
    board: &Switchboard,
    home: PartitionId,
    wanting: &Wanting,
    media: &Media,
    mut lease: Lease,
) -> Result<Option<HeldToken>, NoToken> {
    let uploading = timeout(UPLOAD, AssertUnwindSafe(give(board, wanting, media)).catch_unwind());
    tokio::pin!(uploading);
    let done = loop {
        tokio::select! {
            done = &mut uploading => break done,
            () = sleep(KEEP_EVERY) => {
                if let Some(TokenAnswer::Fetch { lease: newer, .. }) = ask(board, home, claim(board, wanting)).await {
                    lease = Lease { number: newer, since: Instant::now() };
                }
            }
        }
    };
    let given = match done {
        Ok(Ok(given)) => given,
        Ok(Err(_)) => Err(Refused::later(Reason::new("upload_panic", "the provider panicked"))),
        Err(_) => Err(Refused::later(Reason::new("upload_timeout", "the supplier did not take the file in time"))),
    };
    meters::uploaded(wanting.provider, given.is_ok());
    let given = given.map(|Uploaded { id, good_for }| Token { secret: Secret::new(id), expires_in: good_for });
    put(board, home, wanting, lease, given).await
}

/// Whether the material is there, as the whole cluster knows it: said of one whose id the supplier may still have.
pub(crate) async fn present(board: &Switchboard, media: &Media) -> Result<(), NoToken> {
    if is_there(board, &media.material) {
        return Ok(());
    }
    let found = match board.parts.accounts.materials() {
        Some(materials) => materials.get(&media.material).await.map(drop),
        None => Ok(()),
    };
    found.map_err(|outcome| {
        let Refused { reason, blame, after_ms } = Refused::of(outcome);
        // It may be put again at any moment.
        let after_ms = if blame.is_some() { 0 } else { after_ms.max(UNASKED_MS) };
        NoToken::Failing { reason, again: board.now().after_ms(after_ms), blame }
    })
}

/// The supplier's id of the material. A token that turns out to be no good any more is had anew, once.
async fn give(board: &Switchboard, wanting: &Wanting, media: &Media) -> Result<Uploaded, Refused> {
    let materials = board.parts.accounts.materials();
    let materials =
        materials.ok_or_else(|| Refused::later(Reason::new("material", "there are no materials on this node")))?;
    let material = materials.get(&media.material).await.map_err(Refused::of)?;
    match once(board, wanting, media, &material).await {
        Err(refused) if refused.reason.code == Token::INVALID && media.wants_token => {
            once(board, wanting, media, &material).await.map_err(named)
        }
        other => other.map_err(named),
    }
}

/// The code says at which step it failed; the words are the supplier's.
fn named(refused: Refused) -> Refused {
    let Reason { code, words } = refused.reason;
    Refused { reason: Reason::new(format!("upload_{code}"), words), ..refused }
}

async fn once(board: &Switchboard, wanting: &Wanting, media: &Media, material: &Material) -> Result<Uploaded, Refused> {
    let token = match media.wants_token {
        true => {
            let of_account = Wanting { name: media.account.clone(), media: None, ..wanting.clone() };
            Some(obtain(board, &of_account).await.map_err(|why| match why {
                NoToken::Failing { reason, .. } => Refused::later(reason),
                NoToken::NotYet => Refused::later(Reason::new("token_not_yet", "no access token could be had")),
            })?)
        }
        false => None,
    };
    let uploaded = wanting.channel.upload(material, media.kind, token.as_ref().map(|good| &good.secret)).await;
    let lacks = |_| Outcome::never(Blame::Content, "unsupported", "the provider takes no files");
    let uploaded = uploaded.map_err(lacks).and_then(|given| given).map_err(Refused::of);
    if let (Err(refused), Some(good)) = (&uploaded, &token)
        && refused.reason.code == Token::INVALID
    {
        board.tokens.forget(&media.account, good.number);
    }
    uploaded
}
