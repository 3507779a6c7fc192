//! Accounts a pool has opened, kept until they change.

use std::collections::HashMap;
use std::sync::Arc;

use tidings_contract::Reason;

use crate::Opened;
use crate::meters::CallMeters;
use crate::switchboard::Switchboard;
use crate::work::Letter;

/// An opened account with the figures of its provider.
#[derive(Clone, Debug)]
pub(crate) struct Ready {
    pub(crate) opened: Opened,
    pub(crate) meters: CallMeters,
}

/// The accounts a pool has opened.
#[derive(Debug, Default)]
pub(crate) struct OpenAccounts(HashMap<Arc<str>, (u64, Ready)>);

impl OpenAccounts {
    /// The account of a letter, opened as it was when the letter was written.
    pub(crate) fn get(&mut self, board: &Switchboard, letter: &Letter) -> Result<Ready, Reason> {
        let (name, account) = (&letter.account_name, &letter.account);
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
        let ready = Ready { meters: CallMeters::new(opened.info.name), opened };
        self.0.insert(Arc::clone(name), (account.revision, ready.clone()));
        Ok(ready)
    }
}
