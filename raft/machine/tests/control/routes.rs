//! Routes and breakers: what may be written, and how a breaker moves from one epoch to the next.

use tidings_contract::Time;
use tidings_machine::control::{Action, Answer, Control, Refusal, RouteAccount, RouteSpec, Standing};
use tidings_machine::partition::{BreakerPolicy, Wishes};

use super::{ask, founded, put_account, put_template, spec};

fn route(accounts: &[(&str, u32)], fallback: Option<&str>) -> RouteSpec {
    let one =
        |(account, weight): &(&str, u32)| RouteAccount { account: (*account).to_owned(), weight: *weight, tier: 0 };
    RouteSpec {
        channel: "sms".to_owned(),
        message_types: Vec::new(),
        accounts: accounts.iter().map(one).collect(),
        rules: Vec::new(),
        wishes: Wishes::default(),
        fallback: fallback.map(str::to_owned),
        description: String::new(),
    }
}

fn put(control: &mut Control, name: &str, spec: RouteSpec) -> Answer {
    ask(control, 2_000, Action::PutRoute { name: name.to_owned(), spec: Box::new(spec) })
}

fn field(answer: &Answer) -> Option<&str> {
    match answer {
        Answer::Refused(Refusal::Field(field, _)) => Some(field),
        _ => None,
    }
}

fn with_accounts() -> Control {
    let mut control = founded();
    for account in ["a", "b"] {
        assert_eq!(ask(&mut control, 1_500, put_account(account)), Answer::Done);
    }
    control
}

#[test]
fn a_route_has_versions_and_what_cannot_be_is_refused_with_its_field() {
    let mut control = with_accounts();
    assert_eq!(put(&mut control, "r", route(&[("a", 1)], None)), Answer::Version(1));
    assert_eq!(put(&mut control, "r", route(&[("a", 1)], None)), Answer::Version(1), "the same again");
    assert_eq!(put(&mut control, "r", route(&[("a", 1), ("b", 0)], None)), Answer::Version(2));
    for (spec, wrong) in [
        (route(&[("a", 1), ("c", 1)], None), "accounts[1].account"),
        (route(&[("a", 1), ("a", 1)], None), "accounts[1].account"),
        (route(&[("a", 0), ("b", 0)], None), "accounts"),
        (route(&[], None), "accounts"),
        (route(&[("a", 1)], Some("r")), "fallback"),
        (route(&[("a", 1)], Some("nobody")), "fallback"),
    ] {
        assert_eq!(field(&put(&mut control, "r", spec.clone())), Some(wrong), "{spec:?}");
    }
    assert_eq!(put(&mut control, "s", route(&[("b", 1)], Some("r"))), Answer::Version(1));
    assert_eq!(field(&put(&mut control, "r", route(&[("a", 1)], Some("s")))), Some("fallback"), "a circle");
    let used = ask(&mut control, 2_100, Action::DeleteRoute { name: "r".to_owned() });
    assert_eq!(used, Answer::Refused(Refusal::UsedBy("the route s".to_owned())));
    assert_eq!(ask(&mut control, 2_100, Action::DeleteRoute { name: "s".to_owned() }), Answer::Done);
    let account = ask(&mut control, 2_100, Action::DeleteAccount { name: "a".to_owned() });
    assert_eq!(account, Answer::Refused(Refusal::UsedBy("the route r".to_owned())));
}

#[test]
fn a_template_holds_its_route_and_its_fallback() {
    let mut control = with_accounts();
    put(&mut control, "r", route(&[("a", 1)], None));
    let mut first = spec("1", None);
    first.route = Some("r".to_owned());
    let put_spec = |control: &mut Control, name: &str, spec| {
        ask(control, 2_200, Action::PutTemplate { name: name.to_owned(), spec: Box::new(spec) })
    };
    assert_eq!(put_spec(&mut control, "t", first.clone()), Answer::Version(1));
    let used = ask(&mut control, 2_300, Action::DeleteRoute { name: "r".to_owned() });
    assert_eq!(used, Answer::Refused(Refusal::UsedBy("the template t".to_owned())));
    ask(&mut control, 2_300, put_template("mail", "m", Some("a")));
    first.fallback = Some("mail".to_owned());
    assert_eq!(put_spec(&mut control, "t", first.clone()), Answer::Version(2));
    let used = ask(&mut control, 2_400, Action::DeleteTemplate { name: "mail".to_owned() });
    assert_eq!(used, Answer::Refused(Refusal::UsedBy("the template t".to_owned())));
    let mut circle = spec("m", Some("a"));
    circle.fallback = Some("t".to_owned());
    assert_eq!(field(&put_spec(&mut control, "mail", circle)), Some("fallback.template"));
    first.route = Some("nobody".to_owned());
    assert_eq!(field(&put_spec(&mut control, "t", first)), Some("route"));
}

const POLICY: BreakerPolicy = BreakerPolicy {
    window_ms: 10_000,
    min_calls: 10,
    failure_percent: 50,
    consecutive: 0,
    open_ms: 1_000,
    longest_open_ms: 4_000,
};

fn trip(control: &mut Control, at: u64, epoch: u64) -> Answer {
    let action = Action::TripAccount { account: "a".to_owned(), epoch, policy: POLICY, why: "busy".to_owned() };
    ask(control, at, action)
}

fn probe(control: &mut Control, at: u64, epoch: u64) -> Answer {
    ask(control, at, Action::ProbeAccount { account: "a".to_owned(), epoch, node: 2, lapse_ms: 500 })
}

fn close(control: &mut Control, at: u64, epoch: u64) -> Answer {
    ask(control, at, Action::CloseAccount { account: "a".to_owned(), epoch })
}

fn standing(control: &Control, at: u64) -> Standing {
    control.breakers.accounts.get("a").map_or(Standing::Closed, |breaker| breaker.standing(Time(at)))
}

#[test]
fn a_breaker_opens_once_per_epoch_lets_one_probe_through_and_opens_longer_each_time() {
    let stale = Answer::Refused(Refusal::Stale);
    let mut control = with_accounts();
    let audited = control.audit_seq;
    assert_eq!(trip(&mut control, 10_000, 0), Answer::Done);
    assert_eq!(trip(&mut control, 10_001, 0), stale, "a second partition saw the same");
    assert_eq!(standing(&control, 10_999), Standing::Open(Time(11_000)));
    assert_eq!(probe(&mut control, 10_999, 1), stale, "it is still open");
    assert_eq!(probe(&mut control, 11_000, 1), Answer::Done);
    assert_eq!(probe(&mut control, 11_499, 1), stale, "there is one");
    assert_eq!(probe(&mut control, 11_500, 1), Answer::Done, "that one took too long");
    assert_eq!(trip(&mut control, 11_600, 1), Answer::Done, "the probe failed");
    assert_eq!(standing(&control, 11_600), Standing::Open(Time(13_600)), "twice as long");
    assert_eq!(close(&mut control, 13_600, 1), stale, "the late end of an older probe");
    assert_eq!(probe(&mut control, 13_600, 2), Answer::Done);
    assert_eq!(close(&mut control, 13_700, 2), Answer::Done);
    assert_eq!((standing(&control, 13_700), control.breakers.epoch("a")), (Standing::Closed, 3));
    assert_eq!(close(&mut control, 13_700, 3), stale, "it is closed");
    assert_eq!(trip(&mut control, 14_000, 3), Answer::Done);
    assert_eq!(standing(&control, 14_000), Standing::Open(Time(18_000)), "it was not closed for long");
    assert_eq!(close(&mut control, 18_000, 4), Answer::Done);
    assert_eq!(trip(&mut control, 22_001, 5), Answer::Done);
    assert_eq!(standing(&control, 22_001), Standing::Open(Time(23_001)), "after a long rest it begins anew");
    assert_eq!(control.audit_seq, audited, "no operator did any of it");
}

#[test]
fn a_changed_account_is_used_again_and_nothing_opens_the_breaker_of_none() {
    let mut control = with_accounts();
    trip(&mut control, 10_000, 0);
    assert_eq!(ask(&mut control, 10_100, put_account("a")), Answer::Done);
    assert_eq!((standing(&control, 10_100), control.breakers.epoch("a")), (Standing::Closed, 2));
    assert_eq!(trip(&mut control, 10_200, 1), Answer::Refused(Refusal::Stale), "calls of before it was mended");
    let nobody = Action::TripAccount { account: "x".to_owned(), epoch: 0, policy: POLICY, why: String::new() };
    assert_eq!(ask(&mut control, 10_300, nobody), Answer::Refused(Refusal::NotFound));
}
