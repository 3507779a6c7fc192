//! Bounds what is logged: one place in the program writes so many lines a minute and no more, whoever causes them.
//!
//! A peer that is away, a caller with a wrong key or a provider that fails can come thousands of times a second. What is left
//! out is counted, and a line says once a minute where and how much.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::callsite::Identifier;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// The window in which lines are counted.
const MINUTE: Duration = Duration::from_secs(60);
/// Lines a minute of one place of this program.
const OURS: u32 = 100;
/// Lines a minute of one place of a library: they report again and again what their caller takes care of.
const OF_LIBRARIES: u32 = 1;
/// Lines a minute of one level of all libraries that log by the crate `log`, which all seem to come from one place.
const OF_LOG: u32 = 10;
/// Most places that the line about what was left out names.
const NAMED: usize = 5;

/// Counts what is logged, by place.
#[derive(Clone, Default)]
pub(super) struct LogBound(Arc<Mutex<HashMap<Identifier, Count>>>);

struct Count {
    since: Instant,
    said: u32,
    left_out: u64,
    place: String,
}

impl LogBound {
    /// Whether a line from there may be written now.
    fn take(&self, from: &Metadata<'_>, now: Instant) -> bool {
        let mut counts = self.0.lock();
        let count = counts.entry(from.callsite()).or_insert_with(|| Count {
            since: now,
            said: 0,
            left_out: 0,
            place: format!("{}:{}", from.target(), from.line().unwrap_or_default()),
        });
        if now.duration_since(count.since) >= MINUTE {
            (count.since, count.said) = (now, 0);
        }
        let within = count.said < bound_of(from.target());
        if within {
            count.said += 1;
        } else {
            count.left_out += 1;
        }
        within
    }

    /// What was left out since this was last asked, if anything: how many lines, and where most of them.
    fn left_out(&self) -> Option<(u64, String)> {
        let mut counts = self.0.lock();
        let taken = counts.values_mut().filter(|count| count.left_out > 0);
        let mut places: Vec<_> =
            taken.map(|count| (std::mem::take(&mut count.left_out), count.place.clone())).collect();
        drop(counts);
        if places.is_empty() {
            return None;
        }
        places.sort_unstable_by(|one, other| other.cmp(one));
        let lines = places.iter().map(|(lines, _)| lines).sum();
        let named: Vec<_> = places.iter().take(NAMED).map(|(lines, place)| format!("{place} ({lines})")).collect();
        Some((lines, named.join(", ")))
    }

    /// Says once a minute what was left out, from a thread of its own, as long as the process lives.
    #[expect(clippy::disallowed_methods, reason = "a thread of its own, not a worker")]
    pub(super) fn report(&self) {
        let bound = self.clone();
        let reporting = move || {
            loop {
                std::thread::sleep(MINUTE);
                if let Some((lines, places)) = bound.left_out() {
                    tracing::warn!(lines, places, "lines of the last minute that were left out of this log");
                }
            }
        };
        if let Err(error) = std::thread::Builder::new().name("log".into()).spawn(reporting) {
            tracing::warn!(%error, "nobody counts the lines that are left out of this log");
        }
    }
}

fn bound_of(target: &str) -> u32 {
    match target {
        "log" => OF_LOG,
        ours if ours.starts_with("tidings") => OURS,
        _ => OF_LIBRARIES,
    }
}

impl<S: Subscriber> Layer<S> for LogBound {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.take(event.metadata(), Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// What a log writes, to be read afterwards.
    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Paper {
        fn lines_with(&self, text: &str) -> usize {
            String::from_utf8_lossy(&self.0.lock()).lines().filter(|line| line.contains(text)).count()
        }
    }

    fn logged(log: impl FnOnce()) -> (Paper, LogBound) {
        let (paper, bound) = (Paper::default(), LogBound::default());
        let writer = paper.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish().with(bound.clone());
        tracing::subscriber::with_default(subscriber, log);
        (paper, bound)
    }

    #[test]
    fn a_flood_from_one_place_is_cut_off_counted_and_drowns_no_other_place() {
        let (paper, bound) = logged(|| {
            for n in 0..5_000 {
                tracing::warn!(target: "tidings_raft::peers", n, "flood");
            }
            for n in 0..5_000 {
                tracing::error!(target: "openraft::replication", n, "library");
            }
            tracing::warn!(target: "tidings_raft::peers", "another place");
        });
        let lines = ["flood", "library", "another place"].map(|text| paper.lines_with(text));
        assert_eq!(lines, [OURS as usize, OF_LIBRARIES as usize, 1]);
        let (left_out, places) = bound.left_out().expect("much was left out");
        assert_eq!(left_out, 10_000 - u64::from(OURS + OF_LIBRARIES));
        assert!(places.starts_with("openraft::replication:") && places.contains("(4900)"), "{places}");
        assert_eq!(bound.left_out(), None, "it is said once");
    }

    #[test]
    fn a_place_may_speak_again_in_the_next_minute() {
        let (_, bound) = logged(|| tracing::warn!(target: "openraft", "first"));
        let from = tracing::metadata!(
            name: "event",
            target: "openraft",
            level: tracing::Level::WARN,
            fields: &[],
            callsite: &PLACE,
            kind: tracing::metadata::Kind::EVENT
        );
        let now = Instant::now();
        let at = [0, 1, 59, 60, 61, 119, 121].map(|seconds| bound.take(&from, now + Duration::from_secs(seconds)));
        assert_eq!(at, [true, false, false, true, false, false, true]);
    }

    static PLACE: Place = Place;

    struct Place;

    impl tracing::callsite::Callsite for Place {
        fn set_interest(&self, _: tracing::subscriber::Interest) {}

        fn metadata(&self) -> &Metadata<'_> {
            unreachable!("nobody registers it")
        }
    }
}
