//! How fast things go out and how large pools are. The actors follow these rules; here they are only checked.

use std::sync::Arc;

use tidings_actors::{LaneRule, LimitRule};

use super::{Kind, Rule};

/// Windows for accounts, recipients, templates, keys, or all together.
pub(super) const LIMITS: Kind = Kind {
    name: "limits",
    doc: "Bounds how many of the selected messages go out in any sliding window: for each account, recipient, template or \
          API key, or all together. What is too much waits.",
    example: LimitRule::EXAMPLE,
    in_templates: false,
    read: |spec| LimitRule::read(spec).map(|rule| Rule::Limits(Arc::new(rule))),
};

/// Sizes of pools.
pub(super) const LANES: Kind = Kind {
    name: "lanes",
    doc: "Sets how many calls of the selected pools (channel and message type) are under way at a time on each node, and how \
          many of their deliveries are in motion.",
    example: LaneRule::EXAMPLE,
    in_templates: false,
    read: |spec| LaneRule::read(spec).map(|_| Rule::Lanes),
};
