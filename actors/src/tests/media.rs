//! Materials that a supplier must have first: one upload for everybody, another one when the id ended or is not known any
//! more, and never a stampede.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tidings_contract::{Blame, Material, Outcome, Reason, Secret, Token, Uploaded, partition_of};
use tidings_machine::control::Sealed;
use tidings_machine::partition::{Answer, Command, OnUnknown, Owner, State, TokenAnswer, TokenCommand};
use tokio::time::sleep;

use super::{LATENCY, LONG, after, attempts, delivered, states};
use crate::Settings;
use crate::testing::{Abilities, FakeChannel, Spec, World};

/// A day of the supplier's, shortened: files are good for three of them.
const DAY: Duration = Duration::from_secs(600);

/// A supplier that gives numbered ids of files, each good for three days, and wants tokens if told so.
#[derive(Debug)]
struct Supplier {
    uploads: AtomicU64,
    takes: Mutex<Duration>,
    broken: Mutex<Option<Outcome>>,
    tokens: Option<AtomicU64>,
    /// A token it does not take.
    dead: Mutex<Option<String>>,
}

impl Supplier {
    fn new() -> Self {
        let takes = Mutex::new(Duration::from_millis(200));
        Self { uploads: AtomicU64::new(0), takes, broken: Mutex::default(), tokens: None, dead: Mutex::default() }
    }

    fn uploads(&self) -> u64 {
        self.uploads.load(Ordering::SeqCst)
    }
}

impl Abilities for Supplier {
    fn fetch_token(&self) -> BoxFuture<'_, Option<Result<Token, Reason>>> {
        Box::pin(async move {
            let tokens = self.tokens.as_ref()?;
            sleep(Duration::from_millis(1)).await;
            let secret = Secret::new(format!("token-{}", tokens.fetch_add(1, Ordering::SeqCst) + 1));
            Some(Ok(Token { secret, expires_in: DAY * 30 }))
        })
    }

    fn upload<'a>(
        &'a self,
        material: &'a Material,
        token: Option<&'a Secret>,
    ) -> BoxFuture<'a, Result<Uploaded, Outcome>> {
        Box::pin(async move {
            let number = self.uploads.fetch_add(1, Ordering::SeqCst) + 1;
            let takes = *self.takes.lock();
            sleep(takes).await;
            assert_eq!(token.is_some(), self.tokens.is_some(), "a token comes with it if there are any");
            if token
                .map(|token| token.expose().to_owned())
                .filter(|token| Some(token) == self.dead.lock().as_ref())
                .is_some()
            {
                return Err(Outcome::later(Token::INVALID, "40014"));
            }
            let broken = self.broken.lock().clone();
            let id = format!("{}-{number}", &material.name[..2]);
            broken.map_or(Ok(Uploaded { id, good_for: DAY * 3 }), Err)
        })
    }
}

async fn world(supplier: &Arc<Supplier>) -> World {
    let channel = FakeChannel::new(|_, _| after(5, delivered()));
    channel.able(Arc::clone(supplier) as Arc<dyn Abilities>);
    let world = World::new(2, LATENCY, Settings::default(), channel).await.expect("a world starts");
    world.template("file", r#"{"text": "Hi", "media": "material:{{ file }}"}"#);
    world
}

fn spec(file: &str) -> Spec {
    let variables = format!("{{\"file\":\"{}\"}}", file.repeat(32));
    Spec { template: "file".to_owned(), variables, ..Spec::default() }
}

/// The ids that attempts were made with, each once, in order.
fn used(world: &World) -> Vec<String> {
    let mut used: Vec<String> = Vec::new();
    for seen in world.channel.seen() {
        let id = seen.content["media"].as_str().expect("a text").to_owned();
        if used.last() != Some(&id) {
            used.push(id);
        }
    }
    used
}

fn claim(world: &World, node: u64) -> TokenAnswer {
    let account = key("ab");
    let command = TokenCommand::Claim { account: account.clone(), revision: 1, by: Owner { node, boot: 1 } };
    match world.ledger.apply(partition_of(&account, 2), vec![Command::Token(command)]).pop() {
        Some(Answer::Token(answer)) => answer,
        other => panic!("not an answer about tokens: {other:?}"),
    }
}

fn key(file: &str) -> String {
    format!("main/file/{}", file.repeat(32))
}

#[tokio::test(start_paused = true)]
async fn many_messages_with_one_file_cause_one_upload() {
    let supplier = Arc::new(Supplier::new());
    let world = world(&supplier).await;
    for on_unknown in [OnUnknown::Retry, OnUnknown::Stop] {
        world.send(&Spec { on_unknown, ..spec("ab") }, 64);
    }
    world.send(&spec("cd"), 3);
    assert_eq!(world.until_ended(131, LONG).await, 131);
    assert_eq!((supplier.uploads(), states(&world)), (2, [(State::Delivered, 131)].into()));
    let mut used = used(&world);
    used.sort_unstable();
    used.dedup();
    assert_eq!(used.iter().map(|id| &id[..2]).collect::<Vec<_>>(), ["ab", "cd"]);
    assert!(world.ledger.ended().values().all(|ended| ended.delivery.attempts == 1), "waiting uses no attempt up");
}

#[tokio::test(start_paused = true)]
async fn an_id_that_lapsed_is_had_anew_and_one_in_use_is_renewed_before() {
    let supplier = Arc::new(Supplier::new());
    let world = world(&supplier).await;
    world.send(&spec("ab"), 1);
    world.until_ended(1, LONG).await;
    sleep(DAY).await;
    world.send(&spec("ab"), 1);
    world.until_ended(2, LONG).await;
    assert_eq!(used(&world), ["ab-1"], "it is good for three days");
    // It was used, so it is renewed when four fifths of its life are over; the second is not used and lapses.
    sleep(DAY * 6).await;
    assert_eq!(supplier.uploads(), 2);
    world.send(&spec("ab"), 5);
    world.until_ended(7, LONG).await;
    assert_eq!((used(&world), supplier.uploads()), (vec!["ab-1".to_owned(), "ab-3".to_owned()], 3));
    assert_eq!(states(&world), [(State::Delivered, 7)].into());
}

#[tokio::test(start_paused = true)]
async fn an_id_the_supplier_does_not_know_is_had_anew_once_and_at_once() {
    let supplier = Arc::new(Supplier::new());
    let world = world(&supplier).await;
    world.send(&spec("ab"), 10);
    world.until_ended(10, LONG).await;
    sleep(Duration::from_secs(60)).await;
    world.channel.follow(|_, target| {
        let no = Outcome::never(Blame::Content, "bad_media", "40007");
        after(5, if target.content["media"] == "ab-1" { no } else { delivered() })
    });
    let start = tidings_contract::Clock::now(&*world.clock);
    world.send(&spec("ab"), 64);
    assert_eq!(world.until_ended(74, LONG).await, 74);
    assert_eq!((supplier.uploads(), states(&world)), (2, [(State::Delivered, 74)].into()));
    let took = tidings_contract::Clock::now(&*world.clock).since(start);
    assert!(took < Duration::from_secs(1), "they waited {took:?}");
    let ended = world.ledger.ended();
    let gone = ended.values().filter(|ended| attempts(ended)[0] == (1, "later", Uploaded::GONE.to_owned()));
    assert!(gone.count() > 0, "the trace tells of it");
}

#[tokio::test(start_paused = true)]
async fn an_id_that_is_never_known_is_not_had_for_ever() {
    let supplier = Arc::new(Supplier::new());
    let world = world(&supplier).await;
    world.channel.follow(|_, _| after(5, Outcome::never(Blame::Content, "bad_media", "40007")));
    world.send(&spec("ab"), 64);
    sleep(Duration::from_secs(600)).await;
    assert!((2..30).contains(&supplier.uploads()), "{} uploads in ten minutes", supplier.uploads());
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_fails_is_in_the_trace_and_costs_no_stampede() {
    let supplier = Arc::new(Supplier::new());
    let world = world(&supplier).await;
    // Nobody can tell whether the file arrived; nothing was sent in any case.
    *supplier.broken.lock() = Some(Outcome::unknown("timeout", "no answer"));
    world.send(&Spec { on_unknown: OnUnknown::Stop, ..spec("ab") }, 64);
    sleep(Duration::from_secs(30)).await;
    assert!((2..=8).contains(&supplier.uploads()), "{} uploads in half a minute", supplier.uploads());
    *supplier.broken.lock() = None;
    assert_eq!(world.until_ended(64, LONG).await, 64);
    assert_eq!(states(&world), [(State::Delivered, 64)].into());
    for ended in world.ledger.ended().values() {
        assert_eq!(attempts(ended)[0], (1, "later", "upload_timeout".to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_the_supplier_never_takes_and_one_that_is_not_there_fail_their_messages() {
    let supplier = Arc::new(Supplier::new());
    let world = world(&supplier).await;
    *supplier.broken.lock() = Some(Outcome::never(Blame::Content, "errcode_40006", "too large"));
    world.send(&spec("ab"), 20);
    world.send(&spec("00"), 20);
    assert_eq!(world.until_ended(40, LONG).await, 40);
    assert_eq!((supplier.uploads(), states(&world)), (1, [(State::Failed, 40)].into()));
    let ended = world.ledger.ended();
    let mut codes: Vec<_> = ended.values().map(|ended| attempts(ended)[0].2.clone()).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes, ["unknown_material", "upload_errcode_40006"]);
    assert_eq!(world.channel.seen().len(), 0, "nothing was sent");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_was_deleted_is_not_sent_although_the_supplier_still_has_it() {
    let supplier = Arc::new(Supplier::new());
    let world = world(&supplier).await;
    world.send(&spec("ab"), 4);
    assert_eq!(world.until_ended(4, LONG).await, 4);
    let (id, sent) = ("ab".repeat(32), world.channel.seen().len());
    world.channel.delete_material(&id, true);
    world.send(&spec("ab"), 4);
    world.send(&spec("cd"), 4);
    assert_eq!(world.until_ended(12, LONG).await, 12);
    assert_eq!(states(&world), [(State::Delivered, 8), (State::Failed, 4)].into());
    assert_eq!((supplier.uploads(), world.channel.seen().len()), (2, sent + 4), "the kept id was not used");
    let ended = world.ledger.ended();
    let failed = ended.values().filter(|ended| ended.delivery.state == State::Failed);
    failed.for_each(|ended| assert_eq!(attempts(ended), [(1, "never", "unknown_material".to_owned())]));
    // Put again it is the same file, and the supplier has it.
    world.channel.delete_material(&id, false);
    world.send(&spec("ab"), 4);
    assert_eq!(world.until_ended(16, LONG).await, 16);
    assert_eq!((supplier.uploads(), states(&world)[&State::Delivered]), (2, 12));
}

#[tokio::test(start_paused = true)]
async fn an_upload_may_take_longer_than_a_lease() {
    let supplier = Arc::new(Supplier::new());
    let world = world(&supplier).await;
    *supplier.takes.lock() = Duration::from_secs(50);
    world.send(&spec("ab"), 64);
    for _ in 0..9 {
        sleep(Duration::from_secs(5)).await;
        assert!(matches!(claim(&world, 2), TokenAnswer::Wait { .. }), "it is still ours");
    }
    assert_eq!(world.until_ended(64, LONG).await, 64);
    assert_eq!((supplier.uploads(), states(&world)), (1, [(State::Delivered, 64)].into()));
    assert!(world.ledger.ended().values().all(|ended| ended.delivery.attempts == 1));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_dies_while_it_uploads_is_replaced_and_what_another_uploaded_is_used() {
    let supplier = Arc::new(Supplier::new());
    let world = world(&supplier).await;
    // Another node has the lease and is never heard of again.
    assert!(matches!(claim(&world, 2), TokenAnswer::Fetch { .. }));
    world.send(&spec("ab"), 8);
    sleep(Duration::from_secs(14)).await;
    assert_eq!((supplier.uploads(), world.ledger.ended_count()), (0, 0), "the lease still holds");
    assert_eq!(world.until_ended(8, LONG).await, 8);
    assert_eq!(supplier.uploads(), 1);

    let account = key("cd");
    let by = Owner { node: 2, boot: 1 };
    let home = partition_of(&account, 2);
    let command = TokenCommand::Claim { account: account.clone(), revision: 1, by };
    let answers = world.ledger.apply(home, vec![Command::Token(command)]);
    let [Answer::Token(TokenAnswer::Fetch { lease, .. })] = answers[..] else { panic!("no lease: {answers:?}") };
    let sealed = Sealed(format!("sealed for {account}: theirs").into_bytes());
    let put = TokenCommand::Put { account, revision: 1, lease, sealed, good_ms: 3_600_000 };
    world.ledger.apply(home, vec![Command::Token(put)]);
    world.send(&spec("cd"), 8);
    assert_eq!(world.until_ended(16, LONG).await, 16);
    assert_eq!((supplier.uploads(), used(&world)), (1, vec!["ab-1".to_owned(), "theirs".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn an_upload_has_the_accounts_token_and_a_new_one_if_that_is_dead() {
    let supplier = Arc::new(Supplier { tokens: Some(AtomicU64::new(0)), ..Supplier::new() });
    let world = world(&supplier).await;
    world.send(&spec("ab"), 4);
    world.until_ended(4, LONG).await;
    assert_eq!(supplier.uploads(), 1);
    sleep(Duration::from_secs(60)).await;
    *supplier.dead.lock() = Some("token-1".to_owned());
    world.send(&spec("cd"), 4);
    assert_eq!(world.until_ended(8, LONG).await, 8);
    assert_eq!((supplier.uploads(), states(&world)), (3, [(State::Delivered, 8)].into()));
    assert!(world.ledger.ended().values().all(|ended| ended.delivery.attempts == 1), "no attempt was used up");
}

#[tokio::test(start_paused = true)]
async fn calls_with_many_recipients_carry_each_ones_own_file() {
    let supplier = Arc::new(Supplier::new());
    let world = world(&supplier).await;
    world.account("many", "fake/many", None);
    for n in 0..40 {
        let file = ["ab", "cd", "ef"][n % 3];
        world.send(&Spec { account: Some("many".to_owned()), ..spec(file) }, 1);
    }
    assert_eq!(world.until_ended(40, LONG).await, 40);
    assert_eq!((supplier.uploads(), states(&world)), (3, [(State::Delivered, 40)].into()));
    assert!(world.channel.seen().iter().all(|seen| !seen.content.to_string().contains("material:")));
}

#[tokio::test(start_paused = true)]
async fn whoever_dies_and_whoever_leads_nothing_is_lost() {
    let supplier = Arc::new(Supplier::new());
    let world = world(&supplier).await;
    for n in 0..10 {
        let on_unknown = if n % 2 == 0 { OnUnknown::Retry } else { OnUnknown::Stop };
        world.send(&Spec { on_unknown, ..spec("ab") }, 20);
        sleep(Duration::from_millis(37)).await;
        assert!(world.motion.kill("tokens"));
    }
    assert_eq!(world.until_ended(200, LONG).await, 200);
    assert_eq!(states(&world), [(State::Delivered, 200)].into());
    assert!(supplier.uploads() <= 11, "{} uploads", supplier.uploads());
}
