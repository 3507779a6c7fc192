//! Declared providers: versions, what their accounts notice of a change, and what keeps them.

use tidings_contract::Time;
use tidings_machine::control::{
    Action, Answer, Control, DeclaredProvider, DeclaredProviders, ProviderSpec, Refusal, Standing,
};
use tidings_machine::partition::BreakerPolicy;

use super::{ask, founded, put_account};

const NAME: &str = "declared/lintong";

fn put(control: &mut Control, name: &str, channel: &str, definition: &str) -> Answer {
    let (channel, definition) = (channel.to_owned(), definition.to_owned());
    let spec = Box::new(ProviderSpec { channel, definition, description: String::new() });
    ask(control, 2_000, Action::PutProvider { name: name.to_owned(), spec })
}

fn delete(control: &mut Control, name: &str) -> Answer {
    ask(control, 2_100, Action::DeleteProvider { name: name.to_owned() })
}

fn account(control: &mut Control, name: &str, of: &str) -> Answer {
    let mut action = put_account(name);
    let Action::PutAccount { provider, .. } = &mut action else { unreachable!("it is a PutAccount") };
    of.clone_into(provider);
    ask(control, 2_050, action)
}

#[test]
fn a_declared_provider_has_versions_over_its_deletion_and_is_audited() {
    let mut control = founded();
    assert_eq!(delete(&mut control, NAME), Answer::Refused(Refusal::NotFound));
    assert_eq!(put(&mut control, NAME, "sms", "{}"), Answer::Version(1));
    assert_eq!(put(&mut control, NAME, "sms", "{}"), Answer::Version(1), "the same again");
    assert_eq!(put(&mut control, NAME, "sms", "{\"a\":1}"), Answer::Version(2));
    let current = control.declared.current(NAME).expect("it is in use");
    assert_eq!((current.spec.definition.as_str(), current.created_by.as_str()), ("{\"a\":1}", "key_0"));
    assert_eq!(delete(&mut control, NAME), Answer::Done);
    assert!(control.declared.current(NAME).is_none() && control.declared.in_use().next().is_none());
    assert_eq!(put(&mut control, NAME, "sms", "{\"a\":1}"), Answer::Version(3));
    let story: Vec<_> =
        control.audit.iter().skip(1).map(|entry| (entry.action.as_str(), entry.subject.as_str())).collect();
    let puts = ("put_provider", NAME);
    assert_eq!(story, [puts, puts, ("delete_provider", NAME), puts]);
}

#[test]
fn a_change_makes_its_accounts_and_no_others_be_opened_again_and_forgives_them() {
    let mut control = founded();
    put(&mut control, NAME, "sms", "{}");
    for (name, of) in [("mine", NAME), ("other", "sms/yunpian")] {
        assert_eq!(account(&mut control, name, of), Answer::Done);
        let trip = Action::TripAccount {
            account: name.to_owned(),
            epoch: 0,
            policy: BreakerPolicy::default(),
            why: "5 calls failed".to_owned(),
        };
        assert_eq!(ask(&mut control, 2_060, trip), Answer::Done);
    }
    let revision = |control: &Control, name: &str| control.accounts[name].revision;
    let closed =
        |control: &Control, name: &str| control.breakers.accounts[name].standing(Time(2_061)) == Standing::Closed;
    let before = (revision(&control, "mine"), revision(&control, "other"));
    put(&mut control, NAME, "sms", "{}");
    assert_eq!((revision(&control, "mine"), revision(&control, "other")), before, "nothing changed");
    assert!(!closed(&control, "mine"));
    put(&mut control, NAME, "sms", "{\"a\":1}");
    assert!(revision(&control, "mine") > before.0.max(before.1));
    assert_eq!(revision(&control, "other"), before.1);
    assert!(closed(&control, "mine") && !closed(&control, "other"));
    let newest = revision(&control, "mine");
    assert_eq!(account(&mut control, "mine", NAME), Answer::Done);
    assert!(revision(&control, "mine") > newest, "what comes after a change is newer than the change");
}

#[test]
fn a_declared_provider_stays_while_an_account_names_it_and_keeps_its_channel() {
    let mut control = founded();
    let field = |answer: Answer| match answer {
        Answer::Refused(Refusal::Field(field, _)) => field,
        other => format!("{other:?}"),
    };
    assert_eq!(field(account(&mut control, "mine", NAME)), "provider", "nobody declared it");
    put(&mut control, NAME, "sms", "{}");
    account(&mut control, "mine", NAME);
    assert_eq!(delete(&mut control, NAME), Answer::Refused(Refusal::UsedBy("the account mine".to_owned())));
    assert_eq!(field(put(&mut control, NAME, "email", "{}")), "channel");
    assert_eq!(put(&mut control, NAME, "*", "{}"), Answer::Version(2), "every channel includes its own");
    assert_eq!(ask(&mut control, 2_200, Action::DeleteAccount { name: "mine".to_owned() }), Answer::Done);
    assert_eq!(put(&mut control, NAME, "email", "{}"), Answer::Version(3));
    assert_eq!(delete(&mut control, NAME), Answer::Done);
    assert_eq!(field(account(&mut control, "mine", NAME)), "provider", "it is gone");
    assert_eq!(account(&mut control, "mine", "sms/yunpian"), Answer::Done);
}

#[test]
fn declared_providers_their_versions_and_their_bytes_are_bounded() {
    let mut control = founded();
    for n in 0..50 {
        put(&mut control, NAME, "sms", &n.to_string());
    }
    let kept: Vec<u32> = control.declared.named[NAME].versions.keys().copied().collect();
    assert_eq!(kept, (31..=50).collect::<Vec<_>>());
    assert_eq!(kept.len(), DeclaredProvider::VERSIONS_KEPT);
    let large = "x".repeat(DeclaredProviders::MOST_BYTES / 2);
    assert_eq!(put(&mut control, "declared/large", "sms", &large), Answer::Version(1));
    let bytes = Answer::Refused(Refusal::TooMany(DeclaredProviders::MOST_BYTES as u64));
    assert_eq!(put(&mut control, "declared/larger", "sms", &large), bytes);
    for n in 0..DeclaredProviders::MOST {
        put(&mut control, &format!("declared/{n}"), "sms", "{}");
    }
    assert_eq!(control.declared.named.len(), DeclaredProviders::MOST);
    let count = Answer::Refused(Refusal::TooMany(DeclaredProviders::MOST as u64));
    assert_eq!(put(&mut control, "declared/one-more", "sms", "{}"), count);
    assert_eq!(put(&mut control, NAME, "sms", "{\"still\":1}"), Answer::Version(51));
}
