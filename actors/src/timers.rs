//! The timers of a partition: wake its dispatcher when something is due, and tell an idle partition that time passes.
//!
//! Waiting is tokio's; the wall time comes from the clock and is read again at least every second, because wall clocks jump.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tidings_machine::partition::Command;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::desk::Desk;
use crate::dispatcher::DispatcherMsg;
use crate::switchboard::Switchboard;

/// The longest wait without looking at the wall clock.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Timers are told nothing: they watch the alarm of the desk.
#[derive(Debug)]
pub(crate) enum TimersMsg {}

/// The actor.
#[derive(Debug)]
pub(crate) struct Timers;

#[async_trait::async_trait]
impl Actor for Timers {
    type Msg = TimersMsg;
    /// Aborted when the actor dies.
    type State = JoinSet<()>;
    type Arguments = (Arc<Switchboard>, Arc<Desk>);

    async fn pre_start(
        &self,
        myself: ActorRef<TimersMsg>,
        (board, desk): Self::Arguments,
    ) -> Result<JoinSet<()>, ActorProcessingErr> {
        let mut running = JoinSet::new();
        running.spawn(async move {
            // Only a panic ends it; the supervisor starts the timers again.
            if AssertUnwindSafe(watch(&board, &desk)).catch_unwind().await.is_err() {
                myself.kill();
            }
        });
        Ok(running)
    }
}

async fn watch(board: &Switchboard, desk: &Desk) {
    let mut second = Instant::now();
    let mut ticked = Instant::now();
    loop {
        let now = board.now();
        let next = desk.alarm.next();
        if next <= now {
            desk.alarm.set(None);
            desk.dispatcher.ring(DispatcherMsg::Wake);
        }
        if second.elapsed() >= LOOK_EVERY {
            second = Instant::now();
            desk.dispatcher.send(DispatcherMsg::Second);
        }
        if ticked.elapsed() >= board.parts.settings.tick_every {
            ticked = Instant::now();
            tick(board, desk).await;
        }
        let wait = if next > now { next.since(now).min(LOOK_EVERY) } else { LOOK_EVERY };
        tokio::select! {
            () = sleep(wait) => {}
            () = desk.alarm.earlier() => {}
        }
    }
}

/// Tells a partition that heard nothing for a while what time it is, so that it forgets what ran out.
async fn tick(board: &Switchboard, desk: &Desk) {
    let mut idle = false;
    board.parts.ledger.with_partition(desk.partition, &mut |partition| {
        idle = board.now().since(partition.now()) >= board.parts.settings.tick_every;
    });
    if idle && let Err(error) = board.parts.ledger.propose(desk.partition, vec![Command::Tick]).await {
        tracing::debug!(partition = %desk.partition, %error, "the passing of time was not kept; the next tick will be");
    }
}
