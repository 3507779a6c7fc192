//! Whether the configured secret is the cluster's, where an older program wrote the directory and kept no check value: what
//! is sealed in control tells it.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tidings_machine::control::Control;
use tidings_machine::partition::CALLBACK_TEMPLATE;

use crate::app::App;
use crate::seal::Sealer;

/// What is said of a secret that opens nothing.
pub(crate) const OTHER_SECRET: &str = "nothing sealed in this data directory opens with the configured secret: it is that \
     of another cluster. What to do: give the secret that the node ran with before, by cluster.secret or \
     cluster.secret_file; a cluster's secret cannot be changed";

/// What is sealed in control says about a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    /// Something opens.
    Fits,
    /// Nothing opens of what there is.
    Other,
    /// Nothing is sealed.
    Nothing,
}

/// Whether it is settled, and how badly.
#[derive(Debug, Default)]
pub(crate) struct SecretCheck {
    settled: AtomicBool,
    refused: Mutex<Option<&'static str>>,
}

impl SecretCheck {
    /// Why the process has to end.
    pub(crate) fn refused(&self) -> Option<String> {
        (*self.refused.lock()).map(str::to_owned)
    }
}

/// Tries to open what is sealed in `control`.
pub(crate) fn judge(control: &Control, sealer: &Sealer) -> Judged {
    let accounts = control.accounts.iter().map(|(name, account)| (name.as_str(), &account.sealed));
    let callbacks = control.callbacks.values().map(|callback| (CALLBACK_TEMPLATE, &callback.sealed));
    let mut sealed = accounts.chain(callbacks).filter(|(_, sealed)| !sealed.0.is_empty()).peekable();
    if sealed.peek().is_none() {
        return Judged::Nothing;
    }
    if sealed.any(|(name, sealed)| sealer.unseal(name, sealed).is_ok()) { Judged::Fits } else { Judged::Other }
}

impl App {
    /// Settles it once control is certainly complete here. Where nothing is sealed, the peers' handshake or the lone node's
    /// own word is all there is, and the secret is taken for the cluster's.
    pub(crate) async fn settle_secret(&self) {
        if self.secret_check.settled.load(Ordering::SeqCst) {
            return;
        }
        if !self.ledger.secret_is_known() {
            if self.ledger.control(|control| judge(control, &self.sealer)) == Judged::Other {
                *self.secret_check.refused.lock() = Some(OTHER_SECRET);
                return;
            }
            if let Err(error) = self.ledger.keep_secret_check().await {
                tracing::warn!(%error, "the disk does not keep a check value of the cluster's secret; it is tried again");
                return;
            }
        }
        self.secret_check.settled.store(true, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use tidings_contract::{LimitUnit, Secret, Time};
    use tidings_machine::control::{Account, Sealed};

    use super::*;

    fn account(sealed: Sealed) -> Arc<Account> {
        Arc::new(Account {
            provider: "email/smtp".to_owned(),
            settings: "{}".to_owned(),
            secret_names: vec!["password".to_owned()],
            sealed,
            limit: None,
            revision: 1,
            updated_at: Time(1),
            further_limits: Vec::new(),
            limit_unit: LimitUnit::default(),
            wishes: Default::default(),
        })
    }

    #[test]
    fn what_is_sealed_tells_whose_secret_it_is() {
        let (ours, other) = (Sealer::new(&Secret::new("our own secret")), Sealer::new(&Secret::new("another secret")));
        let secrets = BTreeMap::from([("password".to_owned(), Secret::new("hunter2"))]);
        let mut control = Control::default();
        assert_eq!(judge(&control, &ours), Judged::Nothing);
        control.accounts.insert("mail".to_owned(), account(ours.seal("mail", &secrets).expect("small")));
        assert_eq!(judge(&control, &ours), Judged::Fits);
        assert_eq!(judge(&control, &other), Judged::Other);
        control.accounts.insert("late".to_owned(), account(other.seal("late", &secrets).expect("small")));
        assert_eq!(judge(&control, &ours), Judged::Fits, "one that opens is enough");
    }
}
