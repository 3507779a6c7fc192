//! Has the parts of a message kept: proposes each until it is known to be kept, known not to be, or the time is up.

use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use tidings_contract::PartitionId;
use tidings_machine::partition::{Accept, Answer, Command, Recipient, Refusal, Verdict};
use tokio::time::Instant;

use crate::app::App;
use crate::ledger::Setback;
use crate::problem::{Code, Problem};

/// Parts of one request that are under way at once.
const AT_ONCE: usize = 16;
/// Wait before a part is proposed again; each later wait is twice the one before.
const FIRST_WAIT: Duration = Duration::from_millis(20);
/// Longest wait before a part is proposed again.
const LONGEST_WAIT: Duration = Duration::from_millis(400);

/// How a part, or a claim, ended.
#[derive(Debug)]
pub(crate) enum End<T> {
    /// It is kept.
    Kept(T),
    /// It is certainly not kept: nobody leads the partition.
    NoLeader(String),
    /// It is certainly not kept: there is no room.
    Full(String),
    /// It is certainly not kept, and the problem says whether and when to come back.
    Refused(Problem),
    /// Nobody can tell.
    Unknown(String),
    /// It is certainly not kept: the node is ending.
    Stopping,
}

/// Proposes `command` again and again, which must be idempotent, until the answer is known or `deadline` is there.
pub(crate) async fn insist(app: &App, partition: PartitionId, command: &Command, deadline: Instant) -> End<Answer> {
    let mut wait = FIRST_WAIT;
    // Once an attempt had an unknown end, only an answer of the machine's makes it known again.
    let mut doubt: Option<String> = None;
    loop {
        let within = deadline.saturating_duration_since(Instant::now());
        let end = match app.ledger.propose_within(partition, vec![command.clone()], within).await {
            Ok(answers) => match answers.into_iter().next() {
                Some(answer) if settles(&answer) => return End::Kept(answer),
                Some(answer) => return doubt.map_or(End::Kept(answer), End::Unknown),
                None => End::Unknown("the partition gave no answer".to_owned()),
            },
            Err(Setback::NotKept(why)) => End::NoLeader(why),
            Err(Setback::Full(why)) if doubt.is_none() => return End::Full(why),
            Err(setback @ (Setback::DiskFull(_) | Setback::TooLarge(_))) if doubt.is_none() => {
                return End::Refused(setback.into());
            }
            Err(Setback::Full(why) | Setback::DiskFull(why) | Setback::TooLarge(why) | Setback::Unknown(why)) => {
                End::Unknown(why)
            }
            Err(Setback::Closed) => return doubt.map_or(End::Stopping, End::Unknown),
        };
        if let End::Unknown(why) = &end {
            doubt = Some(why.clone());
        }
        if Instant::now() + wait >= deadline {
            return doubt.map_or(end, End::Unknown);
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// Whether an answer also tells what became of an earlier proposal of the same command. One that came too late does not:
/// the earlier one may have been kept, and forgotten since, because time went on meanwhile.
fn settles(answer: &Answer) -> bool {
    *answer != Answer::Refused(Refusal::TooLate)
}

impl<T> End<T> {
    /// What a caller is told about something that is not known to be kept.
    pub(super) fn problem(self) -> Problem {
        match self {
            Self::NoLeader(why) => Problem::new(Code::NoLeader, why),
            Self::Full(why) => Problem::new(Code::Full, why),
            Self::Refused(problem) => problem,
            Self::Unknown(why) => Problem::new(Code::Timeout, why),
            Self::Stopping => Problem::new(Code::Stopping, "the node is stopping"),
            Self::Kept(_) => Problem::new(Code::Internal, "it was kept, but the answer cannot be read"),
        }
    }
}

/// What a caller is told whose part found no room, and how long the room takes at the pace of the last seconds.
fn crowded(app: &App, command: &Command, refusal: Refusal) -> Problem {
    let Command::Accept(accept) = command else {
        return Problem::new(Code::Full, "there is no room");
    };
    let (partition, wanted, key) = (accept.partition, accept.recipients.len() as u64, &accept.sheet.key_id);
    let held = app.ledger.partition(partition, |p| (p.limits(), p.pending_count(), p.pending_of_key(key)));
    let (limits, pending, of_key) = held.unwrap_or_default();
    let most = if refusal == Refusal::KeyFull { limits.pending_per_key } else { limits.pending };
    if never_fits(wanted, most) {
        let words = format!("{wanted} recipients of one partition are more than it may ever hold, which is {most}");
        return Problem::new(Code::TooLarge, words);
    }
    let (code, missing, share, words) = match refusal {
        Refusal::KeyFull => {
            let missing = (of_key + wanted).saturating_sub(limits.pending_per_key);
            (Code::KeyFull, missing, of_key, "holds as many pending deliveries of this API key as it may")
        }
        _ => {
            let missing = (pending + wanted).saturating_sub(limits.pending);
            (Code::Full, missing, pending, "holds as many pending deliveries as it may")
        }
    };
    let ms = app.guard.room_in(partition, missing.max(1), (share, pending));
    Problem::new(code, format!("{partition} {words}")).come_back_in(ms)
}

/// Whether `wanted` are more than there will ever be room for. Where nothing is known of the limit (0) there may be.
fn never_fits(wanted: u64, most: u64) -> bool {
    most > 0 && wanted > most
}

/// Has one part kept.
async fn keep_part(app: &App, accept: Accept, deadline: Instant) -> (Vec<Recipient>, End<Vec<Verdict>>) {
    let partition = accept.partition;
    let command = Command::Accept(Box::new(accept));
    let end = match insist(app, partition, &command, deadline).await {
        End::Kept(Answer::Accepted(verdicts)) => End::Kept(verdicts),
        End::Kept(Answer::Refused(refusal @ (Refusal::Full | Refusal::KeyFull))) => {
            End::Refused(crowded(app, &command, refusal))
        }
        End::Kept(Answer::Refused(Refusal::TooLate)) => {
            End::NoLeader("the part came too late; the clocks of the nodes may differ".to_owned())
        }
        End::Kept(other) => End::Unknown(format!("the partition answered {other:?}")),
        End::NoLeader(why) => End::NoLeader(why),
        End::Full(why) => End::Full(why),
        End::Refused(problem) => End::Refused(problem),
        End::Unknown(why) => End::Unknown(why),
        End::Stopping => End::Stopping,
    };
    let recipients = if let Command::Accept(accept) = command { accept.recipients } else { Vec::new() };
    (recipients, end)
}

/// Has all parts kept, some at once. The order of the answers is not the order of the parts.
pub(crate) async fn keep(
    app: &App,
    mut parts: Vec<Accept>,
    deadline: Instant,
) -> Vec<(Vec<Recipient>, End<Vec<Verdict>>)> {
    if parts.len() == 1
        && let Some(only) = parts.pop()
    {
        return vec![keep_part(app, only, deadline).await];
    }
    stream::iter(parts).map(|part| keep_part(app, part, deadline)).buffer_unordered(AT_ONCE).collect().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_comes_too_late_says_nothing_about_the_same_part_before_it() {
        assert!(!settles(&Answer::Refused(Refusal::TooLate)));
        for answer in [Answer::Refused(Refusal::Full), Answer::Refused(Refusal::NotDead), Answer::Accepted(Vec::new())]
        {
            assert!(settles(&answer), "{answer:?}");
        }
    }
}
