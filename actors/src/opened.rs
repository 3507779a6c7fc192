//! Accounts a pool has opened, kept until they change.

use std::collections::HashMap;
use std::sync::Arc;

use tidings_contract::{Reason, Time};
use tidings_machine::control::Account;

use crate::Opened;
use crate::media::lacking;
use crate::meters::CallMeters;
use crate::switchboard::Switchboard;
use crate::token_cache::Good;
use crate::work::Letter;

/// An opened account with the figures of its provider.
#[derive(Clone, Debug)]
pub(crate) struct Ready {
    pub(crate) opened: Opened,
    /// The revision of the account that was opened: the tokens it takes are those of this one.
    pub(crate) revision: u64,
    pub(crate) meters: CallMeters,
}

impl Ready {
    fn new(opened: Opened, revision: u64) -> Self {
        Self { meters: CallMeters::new(opened.info.name), opened, revision }
    }
}

/// What a letter's call is made with: an account, and the access token that belongs to it.
#[derive(Clone, Debug)]
pub(crate) struct Means {
    pub(crate) ready: Ready,
    /// The token, if the account wants one.
    pub(crate) token: Option<Good>,
}

/// An account that was opened, and when it was looked at last.
#[derive(Debug)]
struct Kept {
    /// The version of control it was compared with.
    looked_at: u64,
    ready: Ready,
}

/// The accounts a pool has opened.
#[derive(Debug, Default)]
pub(crate) struct OpenAccounts(HashMap<Arc<str>, Kept>);

impl OpenAccounts {
    /// The account of a letter, opened as it is now: a letter may have waited long for its turn, and what was changed
    /// meanwhile holds for it too. An account that is gone is opened as it was when the letter was written.
    pub(crate) fn get(&mut self, board: &Switchboard, letter: &Letter) -> Result<Ready, Reason> {
        // Taken before control is looked at, so that a change in between is looked at again.
        let version = board.control_version();
        let (name, written) = (&letter.account_name, &letter.account);
        if let Some(kept) = self.0.get(name)
            && kept.looked_at == version
            && kept.ready.revision >= written.revision
        {
            return Ok(kept.ready.clone());
        }
        let account = board.account(name).unwrap_or_else(|| Arc::clone(written));
        self.named_at(board, name, &account, version)
    }

    /// What the call of a letter is made with; `None` while its account wants an access token, or the supplier's id of a file,
    /// and none is known here. One look at the account decides all, so that no call goes out with what belongs to another
    /// revision.
    pub(crate) fn means(&mut self, board: &Switchboard, letter: &Letter, now: Time) -> Result<Option<Means>, Reason> {
        let ready = self.get(board, letter)?;
        if lacking(board, &ready, letter, now).is_some() {
            return Ok(None);
        }
        if !ready.opened.features.wants_token {
            return Ok(Some(Means { ready, token: None }));
        }
        let token = board.tokens.get(&letter.account_name, ready.revision, now);
        Ok(token.map(|token| Means { ready, token: Some(token) }))
    }

    /// An account, opened as it is.
    pub(crate) fn named(
        &mut self,
        board: &Switchboard,
        name: &Arc<str>,
        account: &Arc<Account>,
    ) -> Result<Ready, Reason> {
        self.named_at(board, name, account, board.control_version())
    }

    fn named_at(
        &mut self,
        board: &Switchboard,
        name: &Arc<str>,
        account: &Arc<Account>,
        version: u64,
    ) -> Result<Ready, Reason> {
        if let Some(kept) = self.0.get_mut(name)
            && kept.ready.revision == account.revision
        {
            kept.looked_at = version;
            return Ok(kept.ready.clone());
        }
        let opened = board.parts.accounts.open(name, account)?;
        if self.0.len() >= board.parts.settings.accounts {
            self.0.clear();
        }
        board.carries(name, opened.info.max_recipients);
        let ready = Ready::new(opened, account.revision);
        let kept = Kept { looked_at: version, ready: ready.clone() };
        self.0.insert(Arc::clone(name), kept);
        Ok(ready)
    }
}
