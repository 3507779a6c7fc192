//! Asks an account's supplier for the templates that it has approved. Any node may: nothing of it is kept.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tidings_contract::{Reason, Token, Unsupported, VendorTemplate};
use tokio::time::timeout;

use crate::switchboard::Switchboard;
use crate::token_fetch::{NoToken, Wanting, obtain};

/// Longest time of one question, the token included.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why there is no list of a supplier's templates.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplatesError {
    /// There is no such account.
    #[error("there is no such account")]
    NoAccount,
    /// Its supplier has no templates, or does not tell them.
    #[error("{0} lists no templates")]
    Unsupported(&'static str),
    /// The account cannot be opened, or the supplier refused.
    #[error("{0}")]
    Refused(Reason),
    /// Nobody answered in time.
    #[error("the supplier did not answer in time")]
    Timeout,
}

/// The templates that the supplier of an account has approved.
pub(crate) async fn vendor_templates(board: &Switchboard, name: &str) -> Result<Vec<VendorTemplate>, TemplatesError> {
    let name: Arc<str> = name.into();
    let account = board.account(&name).ok_or(TemplatesError::NoAccount)?;
    let ready = board.called_back.lock().named(board, &name, &account).map_err(TemplatesError::Refused)?;
    let (channel, provider) = (Arc::clone(&ready.opened.channel), ready.opened.info.name);
    let asking = async {
        let mut token = None;
        if ready.opened.features.wants_token {
            match obtain(board, &Wanting::of(&name, &ready)).await {
                Ok(good) => token = Some(good),
                Err(NoToken::Failing { reason, .. }) => return Err(TemplatesError::Refused(reason)),
                Err(NoToken::NotYet) => return Err(TemplatesError::Timeout),
            }
        }
        let listing = channel.list_templates(board.now(), token.as_ref().map(|token| &token.secret));
        match AssertUnwindSafe(listing).catch_unwind().await {
            Ok(Ok(Ok(templates))) => Ok(templates),
            Ok(Ok(Err(reason))) => {
                if let Some(token) = token.filter(|_| reason.code == Token::INVALID) {
                    board.tokens.forget(&name, token.number);
                }
                Err(TemplatesError::Refused(reason))
            }
            Ok(Err(Unsupported(_))) => Err(TemplatesError::Unsupported(provider)),
            Err(_) => Err(TemplatesError::Refused(Reason::new("panic", "the provider panicked"))),
        }
    };
    timeout(PATIENCE, asking).await.unwrap_or(Err(TemplatesError::Timeout))
}
