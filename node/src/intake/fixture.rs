//! A message for tests of the intake: one text to some number, and nothing that is asked beside it.

use tidings_contract::{Lane, MessageType};
use tidings_machine::partition::{OnUnknown, Policy, RetryPolicy, Rules, Sheet};

pub(super) fn sheet() -> Sheet {
    Sheet {
        template: "t".to_owned(),
        version: 1,
        channel: "sms".to_owned(),
        account: None,
        message_type: MessageType::Notice,
        lane: Lane::Normal,
        variables: "{}".to_owned(),
        biz_id: None,
        send_at: None,
        expires_at: None,
        key_id: "key_1".to_owned(),
        policy: Policy { retry: RetryPolicy::default(), on_unknown: OnUnknown::Retry, dedup_window_ms: None },
        tags: Vec::new(),
        rules: Rules::default(),
        way: None,
        legs: Vec::new(),
        failover_on_unknown: false,
        callback: None,
    }
}
