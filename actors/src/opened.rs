//! Accounts a pool has opened, kept until they change.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures::FutureExt;
use tidings_contract::{Reason, Time, Unsupported};
use tidings_machine::control::Account;

use crate::Opened;
use crate::meters::CallMeters;
use crate::switchboard::Switchboard;
use crate::work::Letter;

/// An opened account with the figures of its provider.
#[derive(Clone, Debug)]
pub(crate) struct Ready {
    pub(crate) opened: Opened,
    pub(crate) meters: CallMeters,
    /// Whether the supplier wants an access token.
    pub(crate) wants_token: bool,
    /// Whether the supplier reports later what became of what it took.
    pub(crate) reports: bool,
}

impl Ready {
    /// What can be found out about an account that was opened just now: nothing was sent with it yet, so it has no
    /// connection that a question could go out on before it is withdrawn.
    fn new(opened: Opened) -> Self {
        let channel = &opened.channel;
        let asked = || {
            let token = channel.fetch_token_at(Time(0)).now_or_never();
            let called = channel.read_callback(&[], &[], Time(0));
            let pulled = channel.pull_receipts_at(None, Time(0)).now_or_never();
            (!matches!(token, Some(None)), called.is_ok() || !matches!(pulled, Some(Err(Unsupported(_)))))
        };
        // A provider that panics costs its own calls only, which come later.
        let (wants_token, reports) = catch_unwind(AssertUnwindSafe(asked)).unwrap_or_default();
        Self { meters: CallMeters::new(opened.info.name), opened, wants_token, reports }
    }
}

/// The accounts a pool has opened.
#[derive(Debug, Default)]
pub(crate) struct OpenAccounts(HashMap<Arc<str>, (u64, Ready)>);

impl OpenAccounts {
    /// The account of a letter, opened as it was when the letter was written.
    pub(crate) fn get(&mut self, board: &Switchboard, letter: &Letter) -> Result<Ready, Reason> {
        self.named(board, &letter.account_name, &letter.account)
    }

    /// Whether the account of a letter wants an access token. One that cannot be opened wants nothing.
    pub(crate) fn wants_token(&mut self, board: &Switchboard, letter: &Letter) -> bool {
        match self.0.get(&letter.account_name) {
            Some((revision, ready)) if *revision == letter.account.revision => ready.wants_token,
            _ => self.get(board, letter).is_ok_and(|ready| ready.wants_token),
        }
    }

    /// An account, opened as it is.
    pub(crate) fn named(
        &mut self,
        board: &Switchboard,
        name: &Arc<str>,
        account: &Arc<Account>,
    ) -> Result<Ready, Reason> {
        if let Some((revision, ready)) = self.0.get(name)
            && *revision == account.revision
        {
            return Ok(ready.clone());
        }
        let opened = board.parts.accounts.open(name, account)?;
        if self.0.len() >= board.parts.settings.accounts {
            self.0.clear();
        }
        board.carries(name, opened.info.max_recipients);
        let ready = Ready::new(opened);
        self.0.insert(Arc::clone(name), (account.revision, ready.clone()));
        Ok(ready)
    }
}
