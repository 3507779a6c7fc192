//! Callbacks as they are sent: the content that tells what happened, and the account that signs it.

use std::sync::Arc;

use serde_json::{Value, json};
use tidings_contract::{LimitUnit, Time, stable_hash};
use tidings_machine::control::Account;
use tidings_machine::partition::{About, CALLBACK_TEMPLATE, CallbackSpec, Wishes};

use crate::work::{Letter, Work};

/// Whether a delivery is a callback.
pub(crate) fn is_one(work: &Work) -> bool {
    work.sheet.tells()
}

/// The callback, ready to be sent. It needs neither a template nor an account of control: the sheet has all of it.
pub(crate) fn letter(work: Work) -> Option<Letter> {
    let callback = work.sheet.callback.as_deref()?;
    let content = Arc::new(content(callback.about.as_ref()?));
    let (account_name, account) = account(&callback.spec);
    Some(Letter {
        work,
        content,
        further: Arc::default(),
        masked: Arc::default(),
        account_name,
        account: Arc::new(account),
        via: None,
        timeout: None,
        limits: Vec::new(),
        begun: false,
        slot: None,
        calling: None,
    })
}

/// The payload, in the form that Standard Webhooks 1.0.0 ("Payload structure") asks for: type, timestamp, data.
fn content(about: &About) -> Value {
    let About { delivery, happening, at, to, template, channel, biz_id, provider_id, reason } = about;
    json!({
        "type": format!("delivery.{}", happening.name()),
        "timestamp": at,
        "data": {
            "delivery_id": delivery,
            "message_id": delivery.message(),
            "to": to,
            "template": template,
            "channel": channel,
            "event": happening.name(),
            "biz_id": biz_id,
            "provider_id": provider_id,
            "reason": reason,
        },
    })
}

/// An account of the provider `webhook` that signs with the callback's secret. Its name says which secret, so that opened
/// accounts can be kept.
fn account(spec: &CallbackSpec) -> (Arc<str>, Account) {
    let settings = json!({ "allow_private": spec.allow_private }).to_string();
    let hash = stable_hash(&spec.sealed.0) ^ u64::from(spec.allow_private);
    let name = format!("{CALLBACK_TEMPLATE}/{hash:016x}");
    let account = Account {
        provider: "webhook".to_owned(),
        settings,
        secret_names: vec!["secret".to_owned()],
        sealed: spec.sealed.clone(),
        limit: None,
        revision: 1,
        updated_at: Time(0),
        further_limits: Vec::new(),
        limit_unit: LimitUnit::default(),
        wishes: Wishes::default(),
    };
    (name.into(), account)
}
