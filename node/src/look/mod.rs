//! Looking: questions about deliveries, answered by the node that leads their partition.
//!
//! A question goes to the leader's node, because its replica surely shows what was just accepted. When the leader cannot be
//! asked, a local replica answers, and any other one after that. A replica that may be behind, because it does not lead or
//! comes back, first learns from the leader how far the log goes and catches up; only an answer that denies nothing is given
//! without that. When no replica can answer so, the partition is named in the answer as one that could not be asked; it is
//! never left out silently, and nothing is called missing.

mod ask;
mod counts;
mod dead;
mod delivery;
mod led;
mod material;
mod message;
mod node;
mod page;
mod recall;
mod rules;
mod summary;

pub(crate) use ask::{Question, Unreachable, answer_peers};
pub(crate) use counts::{Day, Tallied, Totals};
pub(crate) use dead::{DeadFilter, DeadGroup, DeadGroups, DeadPage, DeadRecords};
pub(crate) use delivery::{Find, Found, HeaderOf};
pub(crate) use led::{Leaderless, Said};
pub(crate) use material::ChunkOf;
pub(crate) use message::OfMessage;
pub(crate) use node::{ClockView, GroupView, HandOver, Inbox, RepairTime, RepairedView, Seen, Standing, StandingView};
pub(crate) use page::{Filter, Place, Recent, cursor, merge, read_cursor};
pub(crate) use recall::{Now, Sendings, Standings};
pub(crate) use rules::{Rehearse, RehearseLegs, Suppressed, SuppressedAddress};
pub(crate) use summary::Summary;
