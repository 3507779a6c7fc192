//! What the parts of one simulation share: where it stands, what callers were told, what arrived, what was found.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

use crate::http::Got;
use crate::plan::Plan;
use crate::provider::Arrival;
use crate::trace;

/// Where a simulation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// The cluster is founded and filled; nothing is broken.
    Founding,
    /// Callers call and things break.
    Work,
    /// Everything is healed; what is pending may end.
    Settling,
    /// Everything was read.
    Done,
}

/// A delivery that was sent when its address stood on no list.
#[derive(Clone, Debug)]
pub(crate) struct SentFree {
    /// The delivery.
    pub(crate) delivery: String,
    /// Its address.
    pub(crate) address: String,
    /// When it was kept, in simulated milliseconds.
    pub(crate) at: u64,
}

/// A try with a key that was revoked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Try {
    /// When it began, in simulated milliseconds.
    pub(crate) at: u64,
    pub(crate) status: u16,
}

/// What a caller knows about one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// `202`, or `200` for what is no send: the answer.
    Accepted(Value),
    /// Certainly not kept: status and code.
    Refused(u16, String),
    /// Nobody can tell.
    Unknown(String),
}

impl Verdict {
    /// What a caller makes of the answer to a request that is to be kept.
    pub(crate) fn of_send(got: Got) -> Self {
        match got {
            Got::Answer(200 | 202, answer) => Self::Accepted(answer),
            Got::Answer(status, problem) => {
                let code = problem["code"].as_str().unwrap_or("none").to_owned();
                // A request that ran into its deadline may have been kept, wholly or in part.
                if code == "timeout" || status == 500 { Self::Unknown(code) } else { Self::Refused(status, code) }
            }
            Got::NotSent => Self::Refused(0, "not_sent".to_owned()),
            Got::NoAnswer(why) => Self::Unknown(why),
        }
    }
}

/// What a send is about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Letter {
    pub(crate) template: &'static str,
    /// The number that stands in the content: what is sent.
    pub(crate) number: u64,
    pub(crate) to: Vec<String>,
    /// The address on the fallback channel.
    pub(crate) mail: Option<String>,
    /// What the provider is to get to see.
    pub(crate) text: String,
    /// When it is worth nothing any more, in simulated milliseconds.
    pub(crate) expires: Option<u64>,
    pub(crate) body: Value,
}

/// One send.
#[derive(Clone, Debug)]
pub(crate) struct Send {
    pub(crate) began: u64,
    pub(crate) ended: u64,
    pub(crate) key: Option<String>,
    pub(crate) letter: Letter,
    pub(crate) verdict: Verdict,
}

impl Send {
    /// The deliveries that it made, as far as its caller was told: the id of each, and to whom.
    pub(crate) fn deliveries(&self) -> impl Iterator<Item = (&str, &str)> {
        let answer = if let Verdict::Accepted(answer) = &self.verdict { Some(answer) } else { None };
        let all = answer.and_then(|answer| answer["deliveries"].as_array()).into_iter().flatten();
        all.filter_map(|delivery| Some((delivery["id"].as_str()?, delivery["to"].as_str()?)))
    }
}

/// A time in which something was broken, and which nodes died when.
#[derive(Clone, Debug, Default)]
pub(crate) struct Damage {
    /// `(node, when)` of every death.
    pub(crate) deaths: Vec<(usize, u64)>,
    /// From the first fault on, until the end of the last.
    pub(crate) first: Option<u64>,
    pub(crate) last: u64,
    /// When each thing that broke did, and when it was healed.
    pub(crate) spans: BTreeMap<usize, (u64, u64)>,
    /// Which nodes were frozen, from when until when.
    pub(crate) frozen: Vec<(usize, u64, u64)>,
    /// For how long nodes were down, in milliseconds, all times together.
    pub(crate) stopped_ms: u64,
    /// How many things broke.
    pub(crate) broke: usize,
}

impl Damage {
    /// Whether a node was frozen at any time between the two.
    pub(crate) fn was_frozen(&self, node: u64, from: u64, until: u64) -> bool {
        self.frozen.iter().any(|(frozen, since, thaws)| *frozen as u64 == node && *since <= until && from <= *thaws)
    }

    /// Whether nothing was broken at any time between the two.
    pub(crate) fn was_whole(&self, from: u64, until: u64) -> bool {
        self.spans.values().all(|(broke, healed)| *healed < from || until < *broke)
    }
}

/// What callers did and saw.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) key: String,
    pub(crate) sends: Vec<Send>,
    /// Ids that a cancel was asked for.
    pub(crate) cancels: BTreeSet<String>,
    /// Redrives: the dead letter and the new delivery.
    pub(crate) redrives: Vec<(String, String)>,
    /// Redrives whose answer did not come.
    pub(crate) redrives_in_doubt: usize,
    /// Every delivery, as its trace says at the end.
    pub(crate) traces: BTreeMap<String, Value>,
    /// The ids that the list of all deliveries showed at the end, as often as it did.
    pub(crate) listed: Vec<String>,
    pub(crate) stats: Value,
    /// Hand-overs of leadership that somebody asked for and got.
    pub(crate) hand_overs: usize,
    /// Deliveries that were sent while their address stood on the suppression list.
    pub(crate) listed_out: Vec<String>,
    /// Deliveries that were sent when their address had been taken off it.
    pub(crate) listed_in: Vec<SentFree>,
    /// When somebody began to put an address on the suppression list: address and simulated milliseconds.
    pub(crate) listings: Vec<(String, u64)>,
    /// Deliveries whose address on the fallback channel stood on the suppression list from before they were sent to the end.
    pub(crate) legs_out: Vec<String>,
    /// Deliveries whose address on the fallback channel had been taken off it before, for good.
    pub(crate) legs_in: Vec<String>,
    /// Templates that were put at one node and that another one knew nothing of afterwards, in words.
    pub(crate) denied: Vec<String>,
    /// When somebody was told that a key is revoked, and the tries with it at a node that heard nothing of that.
    pub(crate) revoked: Option<u64>,
    pub(crate) tries: Vec<Try>,
    /// When the operator asked for the second edition of the discard list, and when it was told that it is kept.
    pub(crate) change: Option<(u64, Option<u64>)>,
}

/// All of it.
#[derive(Clone)]
pub(crate) struct World(Rc<Inner>);

pub(crate) struct Inner {
    pub(crate) plan: Plan,
    pub(crate) phase: RefCell<Phase>,
    /// When the callers began, in simulated milliseconds; 0 before.
    pub(crate) began: RefCell<u64>,
    pub(crate) book: RefCell<Book>,
    pub(crate) damage: RefCell<Damage>,
    pub(crate) arrivals: Arc<Mutex<Vec<Arrival>>>,
    pub(crate) violations: RefCell<Vec<String>>,
    pub(crate) callers_left: RefCell<usize>,
}

impl std::ops::Deref for World {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl World {
    pub(crate) fn new(plan: Plan) -> Self {
        let callers_left = RefCell::new(plan.callers);
        Self(Rc::new(Inner {
            plan,
            phase: RefCell::new(Phase::Founding),
            began: RefCell::new(0),
            book: RefCell::default(),
            damage: RefCell::default(),
            arrivals: Arc::default(),
            violations: RefCell::default(),
            callers_left,
        }))
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    pub(crate) fn enter(&self, phase: Phase, at: u64) {
        trace::note(at, &format!("phase {phase:?}"));
        *self.phase.borrow_mut() = phase;
    }

    pub(crate) fn violated(&self, promise: &str, what: String) {
        self.violations.borrow_mut().push(format!("{promise}: {what}"));
    }

    /// By how much the cluster's time may lag behind the true one, in milliseconds: what clocks may be apart; and where clocks
    /// are wrong, the time in which a node was down that leads again before it has heard from a majority of clocks that agree.
    pub(crate) fn lag(&self) -> u64 {
        let stopped = if self.plan.skew.is_none() { 0 } else { self.damage.borrow().stopped_ms };
        self.plan.off_by() + stopped
    }

    /// Waits until a phase has come, looking every 50 simulated milliseconds.
    pub(crate) async fn reached(&self, phase: Phase) {
        while self.phase() < phase {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}
