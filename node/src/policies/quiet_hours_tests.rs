//! Quiet hours over midnight, over weeks, leap days, and clocks that are set.

use serde_json::json;

use super::*;

/// What is tried, the windows, the zone, the times asked about, and the spans.
type Case = (&'static str, Value, &'static str, (String, String), &'static [&'static str]);

fn quiet(windows: Value) -> QuietHours {
    QuietHours::read(&json!({"windows": windows, "time_zone": "UTC", "then": "defer"})).expect("it can be read")
}

fn at(text: &str) -> Time {
    Time::parse(text).expect("a time")
}

/// The spans between two times, as texts in UTC.
fn spans(windows: Value, zone: &str, from: &str, until: &str) -> Vec<String> {
    let zone = time_zone(zone).expect("a zone");
    let text = |minute: u32| Time(u64::from(minute) * 60_000).to_string()[..16].to_owned();
    let found = quiet(windows).spans(&zone, at(from), at(until));
    found.into_iter().map(|(from, until)| format!("{}/{}", text(from), text(until))).collect()
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn the_hours_of_every_kind_of_day() {
    let night = || json!([{"from": "22:00", "to": "08:00"}]);
    let early = || json!([{"from": "02:30", "to": "05:00"}]);
    let until_early = || json!([{"from": "00:00", "to": "02:30"}]);
    let twice = || json!([{"from": "01:30", "to": "03:00"}]);
    let half = || json!([{"from": "00:30", "to": "01:30"}]);
    let weekend = || json!([{"days": ["sat", "sun"], "from": "00:00", "to": "24:00"}]);
    let friday = || json!([{"days": ["fri"], "from": "22:00", "to": "08:00"}]);
    let midnight = || json!([{"from": "00:00", "to": "01:00"}]);
    let day = |d: &str| (format!("{d}T00:00:00Z"), format!("{d}T23:59:00Z"));
    let cases: &[Case] = &[
        (
            "over midnight, and what began the day before",
            night(),
            "UTC",
            day("2026-05-05"),
            &["2026-05-04T22:00/2026-05-05T08:00", "2026-05-05T22:00/2026-05-06T08:00"],
        ),
        (
            "east of Greenwich",
            night(),
            "Asia/Shanghai",
            day("2026-05-05"),
            &["2026-05-04T14:00/2026-05-05T00:00", "2026-05-05T14:00/2026-05-06T00:00"][1..],
        ),
        (
            "a quarter of an hour off",
            night(),
            "Asia/Kathmandu",
            day("2026-05-05"),
            &["2026-05-04T16:15/2026-05-05T02:15", "2026-05-05T16:15/2026-05-06T02:15"],
        ),
        (
            "the leap day",
            night(),
            "UTC",
            day("2028-02-29"),
            &["2028-02-28T22:00/2028-02-29T08:00", "2028-02-29T22:00/2028-03-01T08:00"],
        ),
        (
            "no leap day",
            night(),
            "UTC",
            day("2026-02-28"),
            &["2026-02-27T22:00/2026-02-28T08:00", "2026-02-28T22:00/2026-03-01T08:00"],
        ),
        (
            "the new year",
            night(),
            "UTC",
            day("2026-12-31"),
            &["2026-12-30T22:00/2026-12-31T08:00", "2026-12-31T22:00/2027-01-01T08:00"],
        ),
        // New York set its clocks forward on 8 March 2026 at 2:00 (7:00 UTC).
        (
            "a night one hour shorter",
            night(),
            "America/New_York",
            day("2026-03-08"),
            &["2026-03-08T03:00/2026-03-08T12:00"],
        ),
        (
            "a beginning that does not exist",
            early(),
            "America/New_York",
            day("2026-03-08"),
            &["2026-03-08T07:00/2026-03-08T09:00"],
        ),
        (
            "an end that does not exist",
            until_early(),
            "America/New_York",
            day("2026-03-08"),
            &["2026-03-08T05:00/2026-03-08T07:00"],
        ),
        // and back on 1 November 2026 at 2:00 (6:00 UTC).
        (
            "a night one hour longer",
            night(),
            "America/New_York",
            day("2026-11-01"),
            &["2026-11-01T02:00/2026-11-01T13:00"],
        ),
        (
            "a beginning that comes twice",
            twice(),
            "America/New_York",
            day("2026-11-01"),
            &["2026-11-01T05:30/2026-11-01T08:00"],
        ),
        (
            "an end that comes twice",
            half(),
            "America/New_York",
            day("2026-11-01"),
            &["2026-11-01T04:30/2026-11-01T06:30"],
        ),
        // Cairo sets its clocks forward at midnight: 24 April 2026 begins at 1:00.
        (
            "a midnight that does not exist",
            midnight(),
            "Africa/Cairo",
            ("2026-04-23T12:00:00Z".into(), "2026-04-24T12:00:00Z".into()),
            &[],
        ),
        // Lord Howe moves by half an hour.
        (
            "half an hour",
            night(),
            "Australia/Lord_Howe",
            ("2026-04-04T12:00:00Z".into(), "2026-04-05T00:00:00Z".into()),
            &["2026-04-04T11:00/2026-04-04T21:30"],
        ),
        (
            "whole days are joined",
            weekend(),
            "UTC",
            ("2026-05-08T00:00:00Z".into(), "2026-05-12T00:00:00Z".into()),
            &["2026-05-09T00:00/2026-05-11T00:00"],
        ),
        (
            "the day is the one on which it begins",
            friday(),
            "UTC",
            ("2026-05-08T00:00:00Z".into(), "2026-05-12T00:00:00Z".into()),
            &["2026-05-08T22:00/2026-05-09T08:00"],
        ),
        (
            "half a day ahead",
            friday(),
            "Pacific/Kiritimati",
            ("2026-05-08T00:00:00Z".into(), "2026-05-12T00:00:00Z".into()),
            &["2026-05-08T08:00/2026-05-08T18:00"],
        ),
    ];
    let mut wrong = Vec::new();
    for (name, windows, zone, (from, until), wanted) in cases {
        let found = spans(windows.clone(), zone, from, until);
        if found != *wanted {
            wrong.push(format!("{name}: {found:?}, wanted {wanted:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_minute_is_quiet_exactly_when_its_local_time_lies_in_a_window() {
    // Every quarter of an hour of a year and some, compared with what a clock on the wall shows; where clocks are set
    // back the hour that comes twice may be quiet once too often.
    for zone in ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Santiago"] {
        let tz = time_zone(zone).expect("a zone");
        let (start, end) = (at("2027-12-01T00:00:00Z"), at("2029-01-01T00:00:00Z"));
        let rule = quiet(json!([{"days": ["mon", "tue", "wed", "sat"], "from": "22:15", "to": "06:45"}]));
        let spans = rule.spans(&tz, start, end);
        assert!(spans.is_sorted() && spans.windows(2).all(|pair| pair[0].1 < pair[1].0), "{zone}");
        let mut now = start;
        let mut next = 0;
        while now < end {
            let minute = (now.0 / 60_000) as u32;
            while spans.get(next).is_some_and(|(_, until)| *until <= minute) {
                next += 1;
            }
            let found = spans.get(next).is_some_and(|(from, _)| *from <= minute);
            let wall = local(&tz, now).expect("a local time");
            let of_day = i32::from(wall.hour()) * 60 + i32::from(wall.minute());
            let began = if of_day < 405 { wall.date().yesterday().expect("a day") } else { wall.date() };
            let named = ![Weekday::Thursday, Weekday::Friday, Weekday::Sunday].contains(&began.weekday());
            let quiet = named && !(405..1335).contains(&of_day);
            assert_eq!(found, quiet, "{zone} {wall}");
            now = now.after_ms(15 * 60_000);
        }
    }
}

#[test]
fn zones_come_from_the_database_that_is_built_in() {
    for name in ["UTC", "Asia/Shanghai", "America/Argentina/Buenos_Aires", "europe/paris"] {
        assert!(time_zone(name).is_some(), "{name}");
    }
    for name in ["", "Mars/Olympus", "../etc/localtime", "UTC+8", "中国"] {
        assert!(time_zone(name).is_none(), "{name}");
    }
}
