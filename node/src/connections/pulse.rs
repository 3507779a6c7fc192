//! What one connection is doing, and when that has lasted too long.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::Version;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// How long the parts of a connection's life may last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// The head of a request, from the connection or from its first byte on.
    pub head: Duration,
    /// The time between two requests.
    pub idle: Duration,
    /// The time in which an answer makes no progress.
    pub write: Duration,
    /// The whole of the connection, if that is bounded.
    pub life: Option<Duration>,
}

/// Why a connection was ended from this side. The words are a label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// No request came.
    Silent,
    /// Nothing more came after a request.
    Idle,
    /// The other side does not read its answer.
    Unread,
    /// Another connection needed the place.
    Crowded,
    /// It had only a short time from the beginning.
    Short,
}

impl End {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Idle => "idle",
            Self::Unread => "unread",
            Self::Crowded => "crowded",
            Self::Short => "short",
        }
    }
}

/// The pulse of a connection. The connection, its requests and its answers report to it; [`Pulse::stops`] watches it.
#[derive(Debug)]
pub(crate) struct Pulse {
    patience: Patience,
    began: Instant,
    doing: Mutex<Doing>,
    crowded: Notify,
}

#[derive(Debug)]
struct Doing {
    /// Since when no request is under way, if none is.
    rests: Instant,
    /// When the first byte of a head came that is not complete.
    head: Option<Instant>,
    /// Whether there was a request.
    spoke: bool,
    /// Whether requests come as streams: then bytes between requests are no head that began.
    streams: bool,
    requests: u64,
    /// Answers of which a piece was handed over and no further one was asked for, and since when.
    unread: BTreeMap<u64, Instant>,
    next: u64,
    /// Since when the socket takes no bytes.
    blocked: Option<Instant>,
}

impl Pulse {
    pub(crate) fn new(patience: Patience) -> Self {
        let began = Instant::now();
        let doing = Doing {
            rests: began,
            head: None,
            spoke: false,
            streams: false,
            requests: 0,
            unread: BTreeMap::new(),
            next: 0,
            blocked: None,
        };
        Self { patience, began, doing: Mutex::new(doing), crowded: Notify::new() }
    }

    /// Bytes came.
    pub(crate) fn read(&self) {
        let mut doing = self.doing.lock();
        if doing.requests == 0 && doing.spoke && !doing.streams && doing.head.is_none() {
            doing.head = Some(Instant::now());
        }
    }

    /// The socket takes no bytes (`true`), or took what there was (`false`).
    pub(crate) fn blocked(&self, blocked: bool) {
        self.doing.lock().blocked = blocked.then(Instant::now);
    }

    /// A request came whole, but for its body. Gives the number of its turn.
    pub(crate) fn begin(&self, version: Version) -> u64 {
        let mut doing = self.doing.lock();
        (doing.spoke, doing.head) = (true, None);
        doing.streams = version == Version::HTTP_2;
        doing.requests += 1;
        doing.next += 1;
        doing.next
    }

    /// A piece of the answer was handed over.
    pub(crate) fn handed(&self, turn: u64) {
        self.doing.lock().unread.insert(turn, Instant::now());
    }

    /// A further piece of the answer was asked for: what was handed over before is on its way.
    pub(crate) fn taken(&self, turn: u64) {
        self.doing.lock().unread.remove(&turn);
    }

    /// The turn is over.
    pub(crate) fn finish(&self, turn: u64) {
        let mut doing = self.doing.lock();
        doing.unread.remove(&turn);
        doing.requests = doing.requests.saturating_sub(1);
        doing.rests = Instant::now();
    }

    /// Ends the connection because its place is needed.
    pub(crate) fn make_room(&self) {
        self.crowded.notify_one();
    }

    /// Waits until the connection has to be ended, and says why.
    pub(crate) async fn stops(&self) -> End {
        let Patience { head, idle, write, .. } = self.patience;
        // No deadline is nearer than this to what begins it, so looking that often misses none.
        let often = head.min(idle).min(write);
        loop {
            let now = Instant::now();
            let due = self.due();
            if let Some((_, end)) = due.filter(|(at, _)| *at <= now) {
                return end;
            }
            let next = due.map_or(now + often, |(at, _)| at.min(now + often));
            if timeout_at(next, self.crowded.notified()).await.is_ok() {
                return End::Crowded;
            }
        }
    }

    /// The first deadline, and what it is of.
    fn due(&self) -> Option<(Instant, End)> {
        let Patience { head, idle, write, life } = self.patience;
        let doing = self.doing.lock();
        let rest = match (doing.requests, doing.spoke, doing.head) {
            (0, false, _) => Some((self.began + head, End::Silent)),
            (0, true, Some(since)) => Some((since + head, End::Silent)),
            (0, true, None) => Some((doing.rests + idle, End::Idle)),
            _ => None,
        };
        let unread = doing.unread.values().chain(&doing.blocked).min().map(|since| (*since + write, End::Unread));
        let life = life.map(|life| (self.began + life, End::Short));
        rest.into_iter().chain(unread).chain(life).min_by_key(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn pulse() -> Pulse {
        Pulse::new(Patience { head: 10 * S, idle: 60 * S, write: 30 * S, life: None })
    }

    #[test]
    fn who_says_nothing_or_drips_has_the_time_of_a_head_from_the_connection_on() {
        let pulse = pulse();
        assert_eq!(pulse.due(), Some((pulse.began + 10 * S, End::Silent)));
        pulse.read();
        assert_eq!(pulse.due(), Some((pulse.began + 10 * S, End::Silent)), "a byte gains no time");
    }

    #[test]
    fn between_requests_a_connection_may_idle_but_a_head_that_began_must_end() {
        let pulse = pulse();
        let turn = pulse.begin(Version::HTTP_11);
        assert_eq!(pulse.due(), None, "a request that works is not ended");
        pulse.finish(turn);
        let rests = pulse.doing.lock().rests;
        assert_eq!(pulse.due(), Some((rests + 60 * S, End::Idle)));
        pulse.read();
        let first = pulse.doing.lock().head.expect("a head began");
        pulse.read();
        assert_eq!(pulse.due(), Some((first + 10 * S, End::Silent)));
        pulse.begin(Version::HTTP_11);
        assert_eq!(pulse.due(), None, "the head is complete");
    }

    #[test]
    fn bytes_between_streams_are_pings_and_windows() {
        let pulse = pulse();
        let turn = pulse.begin(Version::HTTP_2);
        pulse.finish(turn);
        pulse.read();
        assert_eq!(pulse.due().map(|(_, end)| end), Some(End::Idle));
    }

    #[test]
    fn an_answer_that_nobody_reads_ends_the_connection_whatever_else_moves_on_it() {
        let pulse = pulse();
        let (moving, stuck) = (pulse.begin(Version::HTTP_2), pulse.begin(Version::HTTP_2));
        pulse.handed(stuck);
        let since = pulse.doing.lock().unread[&stuck];
        for _ in 0..3 {
            pulse.handed(moving);
            pulse.taken(moving);
        }
        assert_eq!(pulse.due(), Some((since + 30 * S, End::Unread)));
        pulse.taken(stuck);
        assert_eq!(pulse.due(), None, "waiting for more of an answer is no fault of the reader");
        pulse.handed(stuck);
        pulse.finish(stuck);
        assert_eq!(pulse.due(), None);
    }

    #[test]
    fn what_the_socket_does_not_take_is_not_read() {
        let pulse = pulse();
        let turn = pulse.begin(Version::HTTP_11);
        pulse.blocked(true);
        pulse.finish(turn);
        let since = pulse.doing.lock().blocked.expect("it is blocked");
        assert_eq!(pulse.due(), Some((since + 30 * S, End::Unread)));
        pulse.blocked(false);
        assert_eq!(pulse.due().map(|(_, end)| end), Some(End::Idle));
    }

    #[tokio::test]
    async fn a_place_that_is_needed_is_given_up_at_once_and_a_short_life_is_short() {
        let crowded = pulse();
        crowded.begin(Version::HTTP_11);
        assert_eq!(crowded.stops().now_or_never(), None);
        crowded.make_room();
        assert_eq!(crowded.stops().now_or_never(), Some(End::Crowded));

        let short = Pulse::new(Patience { life: Some(5 * S), ..crowded.patience });
        short.begin(Version::HTTP_11);
        assert_eq!(short.due(), Some((short.began + 5 * S, End::Short)));
    }
}
