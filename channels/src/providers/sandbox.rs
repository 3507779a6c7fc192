//! `sandbox`: takes every channel's messages, keeps them in an inbox one can look at, and fails on request.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tidings_contract::{Blame, Call, Channel, FieldError, Outcome, Provider, ProviderInfo, Setting, Settings, Target};

use crate::inbox::{DEFAULT_CAPACITY, InboxEntry, MOST_CAPACITY, SandboxInbox};
use crate::reading::Reading;
use crate::show;

static INFO: ProviderInfo = ProviderInfo {
    name: "sandbox",
    channel: "*",
    doc: "Sends nothing: keeps what it was given in an inbox in memory, and can be told to fail.",
    source: "Tidings itself",
    settings: &[
        Setting {
            name: "capacity",
            required: false,
            secret: false,
            doc: "How many contents the inbox keeps, 1 to 100,000; default 1,000. All accounts of a process share one \
                  inbox, which keeps as many as the largest wish.",
        },
        Setting {
            name: "delay_ms",
            required: false,
            secret: false,
            doc: "How long each call takes, in milliseconds, 0 to 60,000; default 0.",
        },
        Setting {
            name: "fail",
            required: false,
            secret: false,
            doc: "What every attempt comes back with instead of success: never, later or unknown.",
        },
        Setting {
            name: "fail_first",
            required: false,
            secret: false,
            doc: "How many attempts at each delivery come back as later before one is taken; default 0.",
        },
    ],
    example: r#"{"fail_first": 1, "delay_ms": 20}"#,
    max_recipients: 100,
    deadline: Duration::from_secs(10),
};

pub(super) fn provider(inbox: &Arc<SandboxInbox>) -> Arc<dyn Provider> {
    Arc::new(Sandbox { inbox: Arc::clone(inbox) })
}

#[derive(Debug)]
struct Sandbox {
    inbox: Arc<SandboxInbox>,
}

#[derive(Clone, Copy, Debug)]
enum Fail {
    Never,
    Later,
    Unknown,
}

#[derive(Debug)]
struct Account {
    name: String,
    inbox: Arc<SandboxInbox>,
    delay: Duration,
    fail: Option<Fail>,
    fail_first: u64,
}

impl Provider for Sandbox {
    fn info(&self) -> &'static ProviderInfo {
        &INFO
    }

    fn open(&self, account: &str, settings: &Settings) -> Result<Arc<dyn Channel>, Vec<FieldError>> {
        let mut reading = Reading::new(settings);
        let capacity = reading.number("capacity", DEFAULT_CAPACITY as u64, 1, MOST_CAPACITY as u64);
        let delay = Duration::from_millis(reading.number("delay_ms", 0, 0, 60_000));
        let fail_first = reading.number("fail_first", 0, 0, 1_000);
        let fail = match reading.text("fail") {
            None => None,
            Some("never") => Some(Fail::Never),
            Some("later") => Some(Fail::Later),
            Some("unknown") => Some(Fail::Unknown),
            Some(_) => {
                reading.wrong("fail", "must be never, later or unknown");
                None
            }
        };
        reading.finish(Some(()))?;
        self.inbox.reserve(usize::try_from(capacity).unwrap_or(DEFAULT_CAPACITY));
        let inbox = Arc::clone(&self.inbox);
        Ok(Arc::new(Account { name: account.to_owned(), inbox, delay, fail, fail_first }))
    }
}

#[async_trait]
impl Channel for Account {
    async fn send(&self, call: &Call) -> Vec<Outcome> {
        if show::is_on() {
            return call.targets.iter().map(|target| self.show(target)).collect();
        }
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        call.targets.iter().map(|target| self.take(call, target)).collect()
    }
}

impl Account {
    fn show(&self, target: &Target) -> Outcome {
        let content = target.content.to_string();
        let shown = show::other("KEEP", format!("sandbox:{}", self.name), Vec::new(), content.as_bytes());
        shown.unwrap_or_else(|| Outcome::later("sandbox_later", "there is no preview"))
    }

    fn take(&self, call: &Call, target: &Target) -> Outcome {
        match self.fail {
            Some(Fail::Never) => return Outcome::never(Blame::Recipient, "sandbox_never", "the account says so"),
            Some(Fail::Later) => return Outcome::later("sandbox_later", "the account says so"),
            // What may have been taken is kept, as a supplier that breaks off after taking it would.
            Some(Fail::Unknown) => {
                self.keep(call, target);
                return Outcome::unknown("sandbox_unknown", "the account says so");
            }
            None => {}
        }
        if u64::from(target.attempt) <= self.fail_first {
            return Outcome::later("sandbox_later", "one of the first attempts");
        }
        Outcome::Delivered { provider_id: Some(format!("sandbox-{}", self.keep(call, target))) }
    }

    fn keep(&self, call: &Call, target: &Target) -> u64 {
        self.inbox.push(InboxEntry {
            seq: 0,
            at: call.at,
            account: self.name.clone(),
            channel: call.channel.clone(),
            message_type: call.message_type,
            delivery: target.delivery,
            attempt: target.attempt,
            to: target.to.clone(),
            content: Arc::clone(&target.content),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use crate::conformance::Subject;
    use crate::testing::{call, open};
    use crate::{InboxEntry, Registry};

    pub(in crate::providers) fn subject() -> Option<Subject> {
        None
    }

    #[tokio::test]
    async fn what_is_sent_can_be_looked_at() {
        let registry = Registry::new();
        let account = open(&registry, "sandbox", json!({})).expect("no setting is needed");
        let outcomes = account.send(&call(&["ann", "bob"], json!({"text": "hi"}))).await;
        assert_eq!(outcomes.iter().map(|o| o.class()).collect::<Vec<_>>(), ["delivered", "delivered"]);
        let seen = |e: &InboxEntry| (e.seq, e.account.clone(), e.to.clone(), e.content["text"].clone());
        assert_eq!(
            registry.inbox().list(0, 10).iter().map(seen).collect::<Vec<_>>(),
            [(1, "test".into(), "ann".into(), json!("hi")), (2, "test".into(), "bob".into(), json!("hi"))]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_scripted_failure_comes_back_as_asked() {
        let cases = [
            (json!({"fail": "never"}), 1, "never", 0),
            (json!({"fail": "later", "delay_ms": 60_000}), 9, "later", 0),
            (json!({"fail": "unknown"}), 1, "unknown", 1),
            (json!({"fail_first": 2}), 2, "later", 0),
            (json!({"fail_first": 2}), 3, "delivered", 1),
        ];
        for (settings, attempt, class, kept) in cases {
            let registry = Registry::new();
            let account = open(&registry, "sandbox", settings.clone()).expect("the settings are right");
            let mut call = call(&["ann"], json!({"text": "hi"}));
            call.targets[0].attempt = attempt;
            assert_eq!(account.send(&call).await[0].class(), class, "{settings}");
            assert_eq!(registry.inbox().count(), kept, "{settings}");
        }
    }

    #[test]
    fn wrong_settings_are_all_named() {
        let errors = open(&Registry::new(), "sandbox", json!({"fail": "maybe", "delay_ms": -1, "capacity": 0}))
            .expect_err("three are wrong");
        let fields: Vec<_> = errors.iter().map(|e| e.field.as_str()).collect();
        assert_eq!(fields, ["settings.capacity", "settings.delay_ms", "settings.fail"]);
    }
}
