//! Whether a template that is written says what the newest version says already.

use tidings_machine::control::TemplateSpec;
use tidings_machine::partition::{RetryPolicy, RetryWishes};

/// `written`, or `current` where the two say the same.
///
/// What is read shows all of `retry`, also what only the configuration says. Written back unchanged that is no wish and no
/// new version, as long as it is what holds anyway.
pub(super) fn or_current(written: TemplateSpec, current: Option<&TemplateSpec>, defaults: RetryPolicy) -> TemplateSpec {
    let Some(current) = current else { return written };
    let (wishes, before) = (written.wishes.unwrap_or_default().retry, current.wishes.unwrap_or_default().retry);
    let mut same = written.clone();
    same.retry = current.retry;
    same.wishes = written.wishes.map(|mut wishes| {
        wishes.retry = before;
        wishes
    });
    if same == *current && says_the_same(wishes, before, before.over(defaults)) { same } else { written }
}

/// Field by field: what was wished before, or what holds now for lack of a wish.
fn says_the_same(wishes: RetryWishes, before: RetryWishes, holds: RetryPolicy) -> bool {
    fn one<T: PartialEq>(wish: Option<T>, before: Option<T>, holds: T) -> bool {
        wish == before || (before.is_none() && wish == Some(holds))
    }
    one(wishes.max_attempts, before.max_attempts, holds.max_attempts)
        && one(wishes.first_ms, before.first_ms, holds.first_ms)
        && one(wishes.longest_ms, before.longest_ms, holds.longest_ms)
        && one(wishes.give_up_after_ms, before.give_up_after_ms, holds.give_up_after_ms)
}
