//! Asks the homes of further legs' addresses whether deliveries may go on there, and tells them when deliveries left.
//!
//! The delivery's ticket goes with the question: if the answer is lost, the delivery is looked at again and asks again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidings_contract::{PartitionId, partition_of};
use tidings_machine::partition::{Answer, Command, LegCommand, Passage};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::outbox::Entry;
use crate::switchboard::Switchboard;
use crate::work::Work;

/// How long a delivery waits before the home of its leg is asked again that could not be reached, in milliseconds.
const ASK_AGAIN_MS: u64 = 200;
/// Most questions in one proposal.
const BATCH: usize = 256;
/// How often a home is told that deliveries left, and how long between: what it never hears lapses within an hour or so.
const TELLS: usize = 5;
const TELL_AGAIN: Duration = Duration::from_secs(1);

/// A delivery that left a further leg, and whether it was taken there.
pub(crate) type Left = (Box<Passage>, bool);

/// Parts what may be attempted now from what has to be asked for at home first.
pub(crate) fn sort(board: &Switchboard, works: Vec<Work>) -> (Vec<Work>, Vec<(Work, Passage)>) {
    let mut open = Vec::with_capacity(works.len());
    let mut asking = Vec::new();
    for work in works {
        // Nearly all are on their first leg.
        let passage = work.delivery.course.as_ref().and_then(|_| work.delivery.to_ask(&work.sheet, board.now()));
        match passage {
            Some(passage) => asking.push((work, passage)),
            None => open.push(work),
        }
    }
    (open, asking)
}

/// Asks, each home once for many. What comes back is recorded where the delivery lives.
pub(crate) fn ask(board: &Arc<Switchboard>, running: &mut JoinSet<()>, asking: Vec<(Work, Passage)>) {
    let partitions = board.partitions();
    let mut homes: BTreeMap<PartitionId, Vec<(Work, Passage)>> = BTreeMap::new();
    for one in asking {
        homes.entry(partition_of(&one.1.to, partitions)).or_default().push(one);
    }
    for (home, mut all) in homes {
        while !all.is_empty() {
            let rest = all.split_off(all.len().min(BATCH));
            let these = std::mem::replace(&mut all, rest);
            running.spawn(ask_home(Arc::clone(board), home, these));
        }
    }
}

async fn ask_home(board: Arc<Switchboard>, home: PartitionId, these: Vec<(Work, Passage)>) {
    let (works, commands): (Vec<Work>, Vec<Command>) =
        these.into_iter().map(|(work, passage)| (work, Command::Leg(LegCommand::Ask(Box::new(passage))))).unzip();
    let answers = board.parts.ledger.propose(home, commands).await.unwrap_or_else(|error| {
        tracing::debug!(%home, %error, "the home of a further leg could not be asked");
        Vec::new()
    });
    let mut answers = answers.into_iter();
    for work in works {
        match answers.next() {
            Some(Answer::Leg(word)) => {
                let desk = Arc::clone(work.ticket.desk());
                let leg = work.delivery.leg();
                board.record(&desk, [Entry::Enter { ticket: work.ticket, leg, word }]);
            }
            _ => work.ticket.not_before(board.now().after_ms(ASK_AGAIN_MS)),
        }
    }
}

/// Tells the homes that deliveries left.
pub(crate) fn tell(board: &Arc<Switchboard>, running: &mut JoinSet<()>, left: Vec<Left>) {
    let partitions = board.partitions();
    let mut homes: BTreeMap<PartitionId, Vec<Command>> = BTreeMap::new();
    for (passage, taken) in left {
        let home = partition_of(&passage.to, partitions);
        homes.entry(home).or_default().push(Command::Leg(LegCommand::Leave { passage, taken }));
    }
    for (home, commands) in homes {
        let board = Arc::clone(board);
        running.spawn(async move {
            for _ in 0..TELLS {
                // Told twice is told once.
                if board.parts.ledger.propose(home, commands.clone()).await.is_ok() {
                    return;
                }
                sleep(TELL_AGAIN).await;
            }
        });
    }
}
