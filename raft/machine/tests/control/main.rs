//! The control machine from outside: what operators decide.

#![allow(clippy::expect_used)]

mod declared;
mod material;
mod members;
mod routes;
mod words;

use std::collections::BTreeMap;

use proptest::prelude::*;
use tidings_contract::{AccountLimit, LimitUnit, MessageType, PartitionId, Time};
use tidings_machine::control::{
    Action, Answer, ApiKey, Command, Control, NodeInfo, Policies, Policy, PolicySpec, Refusal, Rendering, Role, Sealed,
    Selector, Template, TemplateSpec, WordsChoice,
};
use tidings_machine::partition::{OnUnknown, RetryPolicy, Wishes};
use tidings_machine::{Machine, Output};

/// Asks for a change at a time.
fn ask(control: &mut Control, at: u64, action: Action) -> Answer {
    control.apply(Time(at), Command { by: "key_0".to_owned(), action }, &mut Output::default())
}

fn info(n: u64) -> NodeInfo {
    NodeInfo {
        peer_addr: format!("10.0.0.{n}:7701"),
        api_addr: format!("10.0.0.{n}:7700"),
        labels: BTreeMap::new(),
        joined_at: Time(0),
    }
}

fn found() -> Action {
    Action::Found {
        cluster: "c1".to_owned(),
        partitions: 8,
        replication: 3,
        node: 1,
        info: info(1),
        key_id: "key_0".to_owned(),
        key: ApiKey {
            name: "root".to_owned(),
            role: Role::Admin,
            hash: [0; 32],
            created_at: Time(0),
            revoked_at: None,
        },
    }
}

fn founded() -> Control {
    let mut control = Control::default();
    assert_eq!(ask(&mut control, 1_000, found()), Answer::Done);
    control
}

#[test]
fn an_entry_that_is_passed_over_is_noted_once_however_many_replicas_say_so() {
    let mut control = founded();
    let skip = |index| Action::NoteSkip { group: "p3".to_owned(), term: 2, index };
    for (at, index) in [(2_000, 7), (3_000, 7), (4_000, 8), (5_000, 7)] {
        assert_eq!(ask(&mut control, at, skip(index)), Answer::Done);
    }
    let noted = control.audit.iter().filter(|entry| entry.action == "skip_entry");
    let noted: Vec<_> = noted.map(|entry| (entry.at, entry.subject.as_str())).collect();
    assert_eq!(noted, [(Time(2_000), "p3: entry 7 of term 2"), (Time(4_000), "p3: entry 8 of term 2")]);
}

fn spec(content: &str, account: Option<&str>) -> TemplateSpec {
    TemplateSpec {
        channel: "sms".to_owned(),
        account: account.map(str::to_owned),
        message_type: MessageType::Notice,
        content: content.to_owned(),
        retry: RetryPolicy::default(),
        on_unknown: OnUnknown::Retry,
        dedup: None,
        expires_after_ms: None,
        description: String::new(),
        rendering: Rendering::default(),
        rules: String::new(),
        words: WordsChoice::default(),
        route: None,
        fallback: None,
        failover_on_unknown: false,
        wishes: None,
        callback: None,
    }
}

fn put_template(name: &str, content: &str, account: Option<&str>) -> Action {
    Action::PutTemplate { name: name.to_owned(), spec: Box::new(spec(content, account)) }
}

fn put_policy(name: &str, kind: &str, spec: &str) -> Action {
    let (selector, description) = (Selector::default(), String::new());
    let spec = PolicySpec { kind: kind.to_owned(), selector, spec: spec.to_owned(), description, parts: Vec::new() };
    Action::PutPolicy { name: name.to_owned(), spec: Box::new(spec) }
}

fn put_account(name: &str) -> Action {
    Action::PutAccount {
        name: name.to_owned(),
        provider: "sms/yunpian".to_owned(),
        settings: "{}".to_owned(),
        secret_names: vec!["api_key".to_owned()],
        sealed: Sealed(vec![1, 2, 3]),
        limit: Some(AccountLimit { permits: 10, window_ms: 1_000 }),
        further_limits: vec![AccountLimit { permits: 1_000, window_ms: 86_400_000 }],
        limit_unit: LimitUnit::Recipient,
        wishes: Wishes::default(),
    }
}

fn put_key(id: &str, role: Role, hash: u8) -> Action {
    Action::PutKey { id: id.to_owned(), name: id.to_owned(), role, hash: [hash; 32] }
}

#[test]
fn a_cluster_is_founded_once_and_before_anything_else() {
    let mut control = Control::default();
    assert_eq!(ask(&mut control, 1, put_account("main")), Answer::Refused(Refusal::NotFounded));
    assert_eq!(ask(&mut control, 2, found()), Answer::Done);
    assert_eq!(ask(&mut control, 3, found()), Answer::Refused(Refusal::Founded("c1".to_owned())));
    assert_eq!(control.cluster.as_ref().map(|cluster| (cluster.partitions, cluster.founded_at)), Some((8, Time(2))));
    assert!(control.placement.len() == 8 && control.placement.values().all(|replicas| replicas == &[1]));
    assert_eq!(control.key_hashes.get(&[0; 32]).map(String::as_str), Some("key_0"));
    assert_eq!(
        control.audit.iter().map(|entry| (entry.seq, entry.action.as_str())).collect::<Vec<_>>(),
        [(1, "found")]
    );
}

#[test]
fn a_cluster_without_partitions_replicas_or_an_admin_makes_no_sense() {
    for spoil in [0, 1, 2] {
        let mut action = found();
        let Action::Found { partitions, replication, key, .. } = &mut action else { unreachable!("it is a Found") };
        match spoil {
            0 => *partitions = 0,
            1 => *replication = 0,
            _ => key.role = Role::Sender,
        }
        let mut control = Control::default();
        assert!(matches!(ask(&mut control, 1, action), Answer::Refused(Refusal::Invalid(_))), "spoilt {spoil}");
        assert!(control.cluster.is_none() && control.nodes.is_empty() && control.keys.is_empty());
    }
}

#[test]
fn nodes_join_are_placed_on_and_may_move_house() {
    let mut control = founded();
    for node in 2..=5 {
        assert_eq!(ask(&mut control, 1_000 + node, Action::PutNode { node, info: info(node) }), Answer::Done);
    }
    let held = |node| control.placement.values().filter(|replicas| replicas.contains(&node)).count();
    assert!((1..=5).all(|node| (4..=5).contains(&held(node))), "24 replicas on 5 nodes");
    let before = control.placement.clone();
    let moved = NodeInfo { peer_addr: "10.0.0.99:7701".to_owned(), ..info(2) };
    assert_eq!(ask(&mut control, 9_000, Action::PutNode { node: 2, info: moved.clone() }), Answer::Done);
    assert_eq!(control.nodes[&2], NodeInfo { joined_at: Time(1_002), ..moved.clone() });
    assert_eq!(control.placement, before, "an address is no reason to move partitions");
    let changes = control.audit_seq;
    assert_eq!(ask(&mut control, 9_001, Action::PutNode { node: 2, info: moved }), Answer::Done);
    assert_eq!(control.audit_seq, changes, "nothing changed, so nothing is audited");
}

#[test]
fn a_template_gets_a_version_when_its_content_changes() {
    let mut control = founded();
    for (content, version) in [("a", 1), ("a", 1), ("b", 2), ("a", 3)] {
        assert_eq!(ask(&mut control, 2_000, put_template("otp", content, None)), Answer::Version(version), "{content}");
    }
    let template = &control.templates["otp"];
    assert_eq!((template.latest, template.versions.len()), (3, 3));
    assert_eq!(template.versions[&2].created_by, "key_0");
}

#[test]
fn a_deleted_template_comes_back_with_a_new_version() {
    let mut control = founded();
    let delete = || Action::DeleteTemplate { name: "otp".to_owned() };
    assert_eq!(ask(&mut control, 2_000, delete()), Answer::Refused(Refusal::NotFound));
    ask(&mut control, 2_000, put_template("otp", "a", None));
    assert_eq!(ask(&mut control, 2_001, delete()), Answer::Done);
    assert_eq!(ask(&mut control, 2_002, delete()), Answer::Refused(Refusal::NotFound));
    assert!(control.templates["otp"].current().is_none());
    assert!(control.templates["otp"].versions.contains_key(&1), "messages on their way still need it");
    assert_eq!(ask(&mut control, 2_003, put_template("otp", "a", None)), Answer::Version(2));
    assert_eq!(control.templates["otp"].current().map(|current| current.version), Some(2));
}

#[test]
fn only_the_newest_versions_are_kept() {
    let mut control = founded();
    for n in 0..130 {
        ask(&mut control, 2_000, put_template("otp", &n.to_string(), None));
    }
    let versions = &control.templates["otp"].versions;
    assert_eq!((versions.len(), versions.keys().next()), (Template::VERSIONS_KEPT, Some(&31)));
}

#[test]
fn an_account_stays_while_a_template_in_use_names_it() {
    let mut control = founded();
    let delete = || Action::DeleteAccount { name: "main".to_owned() };
    let invalid = ask(&mut control, 2_000, put_template("otp", "a", Some("main")));
    assert!(matches!(invalid, Answer::Refused(Refusal::Invalid(_))), "no such account: {invalid:?}");
    assert!(control.templates.is_empty());
    ask(&mut control, 2_001, put_account("main"));
    assert_eq!(ask(&mut control, 2_002, put_template("otp", "a", Some("main"))), Answer::Version(1));
    assert_eq!(ask(&mut control, 2_003, delete()), Answer::Refused(Refusal::InUse("otp".to_owned())));
    ask(&mut control, 2_004, put_template("otp", "a", None));
    assert_eq!(ask(&mut control, 2_005, delete()), Answer::Done, "only the newest version counts");
    assert_eq!(ask(&mut control, 2_006, delete()), Answer::Refused(Refusal::NotFound));
}

#[test]
fn the_revision_of_an_account_grows_even_over_its_deletion() {
    let mut control = founded();
    let mut revisions = Vec::new();
    for _ in 0..3 {
        ask(&mut control, 2_000, put_account("main"));
        revisions.push(control.accounts["main"].revision);
    }
    ask(&mut control, 2_001, Action::DeleteAccount { name: "main".to_owned() });
    ask(&mut control, 2_002, put_account("main"));
    revisions.push(control.accounts["main"].revision);
    assert!(revisions.is_sorted_by(|before, after| before < after), "{revisions:?}");
}

#[test]
fn a_policy_has_versions_is_audited_and_keeps_its_kind_until_it_is_deleted() {
    let mut control = founded();
    let delete = || Action::DeletePolicy { name: "cap".to_owned() };
    assert_eq!(ask(&mut control, 2_000, delete()), Answer::Refused(Refusal::NotFound));
    assert_eq!(ask(&mut control, 2_001, put_policy("cap", "frequency", "a")), Answer::Version(1));
    let (revision, audited) = (control.policies.revision, control.audit_seq);
    assert_eq!(ask(&mut control, 2_002, put_policy("cap", "frequency", "a")), Answer::Version(1), "the same again");
    assert_eq!((control.policies.revision, control.audit_seq), (revision, audited), "nothing was changed");
    assert_eq!(ask(&mut control, 2_003, put_policy("cap", "frequency", "b")), Answer::Version(2));
    assert!(control.policies.revision > revision);
    let other = ask(&mut control, 2_004, put_policy("cap", "allow", "b"));
    assert!(matches!(other, Answer::Refused(Refusal::Invalid(_))), "{other:?}");
    assert_eq!(ask(&mut control, 2_005, delete()), Answer::Done);
    assert_eq!(control.policies.in_force().count(), 0);
    assert_eq!(ask(&mut control, 2_006, put_policy("cap", "allow", "b")), Answer::Version(3));
    assert_eq!(control.policies.named["cap"].versions.len(), 3);
    let story: Vec<_> =
        control.audit.iter().skip(1).map(|entry| (entry.action.as_str(), entry.subject.as_str())).collect();
    let puts = ("put_policy", "cap");
    assert_eq!(story, [puts, puts, ("delete_policy", "cap"), puts]);
}

#[test]
fn policies_their_versions_and_their_bytes_are_bounded() {
    let mut control = founded();
    for n in 0..50 {
        ask(&mut control, 2_000, put_policy("cap", "frequency", &n.to_string()));
    }
    let kept: Vec<u32> = control.policies.named["cap"].versions.keys().copied().collect();
    assert_eq!(kept, (31..=50).collect::<Vec<_>>());
    assert_eq!(kept.len(), Policy::VERSIONS_KEPT);
    let large = "x".repeat(Policies::MOST_BYTES / 4);
    let answers: Vec<_> =
        (0..4).map(|n| ask(&mut control, 2_000, put_policy(&format!("l{n}"), "words", &large))).collect();
    assert_eq!(answers[2], Answer::Version(1));
    assert_eq!(answers[3], Answer::Refused(Refusal::TooMany(Policies::MOST_BYTES as u64)));
    for n in 0..Policies::MOST {
        ask(&mut control, 2_000, put_policy(&format!("p{n}"), "frequency", ""));
    }
    assert_eq!(control.policies.named.len(), Policies::MOST);
    assert_eq!(
        ask(&mut control, 2_000, put_policy("one-more", "frequency", "")),
        Answer::Refused(Refusal::TooMany(Policies::MOST as u64))
    );
}

#[test]
fn a_selector_selects_what_all_of_its_lists_select() {
    let tags = |list: &[&str]| list.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
    let selector = Selector {
        channels: tags(&["sms", "email"]),
        message_types: vec![MessageType::Marketing],
        templates: Vec::new(),
        tags: tags(&["a", "b"]),
    };
    let cases = [
        ("sms", MessageType::Marketing, tags(&["b", "z"]), true),
        ("push", MessageType::Marketing, tags(&["b"]), false),
        ("sms", MessageType::Notice, tags(&["b"]), false),
        ("sms", MessageType::Marketing, tags(&["z"]), false),
        ("sms", MessageType::Marketing, tags(&[]), false),
    ];
    for (channel, kind, tags, selected) in cases {
        assert_eq!(selector.selects(channel, kind, "any", &tags), selected, "{channel} {kind:?} {tags:?}");
    }
    assert!(Selector::default().is_empty() && Selector::default().selects("x", MessageType::AuthCode, "y", &[]));
}

#[test]
fn a_key_is_found_by_its_hash_until_it_is_revoked() {
    let mut control = founded();
    assert_eq!(ask(&mut control, 2_000, put_key("key_1", Role::Sender, 1)), Answer::Done);
    assert_eq!(ask(&mut control, 2_001, put_key("key_1", Role::Sender, 1)), Answer::Done, "the same again");
    for (id, role, hash) in [("key_1", Role::Admin, 1), ("key_1", Role::Sender, 2), ("key_2", Role::Sender, 1)] {
        let answer = ask(&mut control, 2_002, put_key(id, role, hash));
        assert!(matches!(answer, Answer::Refused(Refusal::Invalid(_))), "{id} {role:?} {hash}");
    }
    let revoke = || Action::RevokeKey { id: "key_1".to_owned() };
    assert_eq!(ask(&mut control, 2_003, revoke()), Answer::Done);
    assert_eq!((control.keys["key_1"].revoked_at, control.key_hashes.get(&[1; 32])), (Some(Time(2_003)), None));
    assert_eq!(ask(&mut control, 2_004, revoke()), Answer::Done, "again changes nothing");
    assert_eq!(control.keys["key_1"].revoked_at, Some(Time(2_003)));
    let nobody = Action::RevokeKey { id: "nobody".to_owned() };
    assert_eq!(ask(&mut control, 2_005, nobody), Answer::Refused(Refusal::NotFound));
}

#[test]
fn the_last_admin_key_cannot_be_revoked() {
    let mut control = founded();
    let revoke = |id: &str| Action::RevokeKey { id: id.to_owned() };
    ask(&mut control, 2_000, put_key("viewer", Role::Viewer, 2));
    assert_eq!(ask(&mut control, 2_001, revoke("key_0")), Answer::Refused(Refusal::LastAdmin));
    ask(&mut control, 2_002, put_key("admin", Role::Admin, 3));
    assert_eq!(ask(&mut control, 2_003, revoke("key_0")), Answer::Done);
    assert_eq!(ask(&mut control, 2_004, revoke("admin")), Answer::Refused(Refusal::LastAdmin));
}

#[test]
fn counts_are_bounded_and_the_audit_log_keeps_the_newest() {
    let mut control = founded();
    for n in 0..10_000 {
        assert_eq!(ask(&mut control, 2_000, put_template(&format!("t{n}"), "a", None)), Answer::Version(1));
    }
    assert_eq!(ask(&mut control, 2_000, put_template("more", "a", None)), Answer::Refused(Refusal::TooMany(10_000)));
    assert_eq!(ask(&mut control, 2_000, put_template("t7", "b", None)), Answer::Version(2), "but versions go on");
    assert_eq!(control.audit.len(), 10_000);
    assert_eq!(control.audit.front().map(|entry| entry.seq), Some(3));
    assert_eq!(control.audit.back().map(|entry| entry.subject.as_str()), Some("t7"));
}

fn random_action() -> impl Strategy<Value = Action> {
    let name = |prefix: &'static str| (0u8..3).prop_map(move |n| format!("{prefix}{n}"));
    prop_oneof![
        Just(found()),
        (1u64..6, 1u64..9).prop_map(|(node, at)| Action::PutNode { node, info: info(at) }),
        (name("t"), name("c"), proptest::option::of(name("a"))).prop_map(|(name, content, account)| put_template(
            &name,
            &content,
            account.as_deref()
        )),
        (1u64..6).prop_map(|node| Action::RemoveNode { node }),
        (1u64..6).prop_map(|node| Action::ForgetNode { node }),
        (1u64..6, 4u64..12).prop_map(|(old, node)| Action::ReplaceNode { old, node, info: info(node) }),
        (0u16..9, 1u64..6).prop_map(|(n, node)| Action::PreferLeader { partition: PartitionId(n), node }),
        name("t").prop_map(|name| Action::DeleteTemplate { name }),
        name("a").prop_map(|name| put_account(&name)),
        name("a").prop_map(|name| Action::DeleteAccount { name }),
        (name("key_"), any::<bool>(), 0u8..4).prop_map(|(id, admin, hash)| put_key(
            &id,
            if admin { Role::Admin } else { Role::Sender },
            hash
        )),
        name("key_").prop_map(|id| Action::RevokeKey { id }),
        (name("p"), name("k"), name("s")).prop_map(|(name, kind, spec)| put_policy(&name, &kind, &spec)),
        name("p").prop_map(|name| Action::DeletePolicy { name }),
    ]
}

fn bytes(control: &Control) -> Vec<u8> {
    postcard::to_allocvec(control).expect("control is serializable")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn control_stays_whole_and_a_snapshot_with_the_tail_is_the_whole_log(
        actions in proptest::collection::vec(random_action(), 1..80), cut in 0usize..80
    ) {
        let cut = cut.min(actions.len());
        let mut whole = founded();
        let mut restored = founded();
        for (n, action) in actions.iter().enumerate() {
            if n == cut {
                restored = postcard::from_bytes(&bytes(&restored)).expect("a snapshot is readable");
            }
            let before = bytes(&whole);
            let answer = ask(&mut whole, 1_000, action.clone());
            prop_assert_eq!(&answer, &ask(&mut restored, 1_000, action.clone()));
            prop_assert!(!matches!(answer, Answer::Refused(_)) || bytes(&whole) == before, "a refusal changed something");
            let admins = whole.keys.values().filter(|key| key.role == Role::Admin && key.revoked_at.is_none());
            prop_assert!(admins.count() >= 1);
            for template in whole.templates.values().filter_map(Template::current) {
                prop_assert!(template.spec.account.iter().all(|account| whole.accounts.contains_key(account)));
            }
            let live: BTreeMap<_, _> =
                whole.keys.iter().filter(|(_, key)| key.revoked_at.is_none()).map(|(id, key)| (key.hash, id.clone())).collect();
            prop_assert_eq!(&whole.key_hashes, &live);
            let staying: Vec<u64> = whole.staying().collect();
            prop_assert!(!staying.is_empty());
            for replicas in (0..8).map(|n| &whole.placement[&PartitionId(n)]) {
                prop_assert_eq!(replicas.len(), staying.len().min(3));
                prop_assert!(replicas.iter().all(|node| staying.contains(node)));
            }
            let departures = &whole.departures;
            prop_assert!(departures.draining.keys().all(|node| whole.nodes.contains_key(node)));
            prop_assert!(departures.removed.keys().all(|node| !whole.nodes.contains_key(node)));
        }
        prop_assert_eq!(bytes(&whole), bytes(&restored));
    }
}
