//! Access tokens: one fetch for everybody, renewed in time, fetched again when the supplier says so, and never a stampede.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tidings_contract::{AccountLimit, Outcome, Reason, Secret, Token, partition_of};
use tidings_machine::control::Sealed;
use tidings_machine::partition::{Answer, Command, OnUnknown, Owner, State, TokenAnswer, TokenCommand};
use tokio::time::sleep;

use super::{LATENCY, LONG, after, attempts, delivered, states};
use crate::Settings;
use crate::testing::{Abilities, FakeChannel, Fault, Spec, World};

/// A supplier that gives numbered tokens, each good for `life`.
#[derive(Debug)]
struct Supplier {
    fetches: AtomicU64,
    life: Duration,
    takes: Duration,
    broken: Mutex<Option<Reason>>,
}

impl Supplier {
    fn new(life: Duration) -> Arc<Self> {
        let takes = Duration::from_millis(200);
        Arc::new(Self { fetches: AtomicU64::new(0), life, takes, broken: Mutex::default() })
    }

    fn fetches(&self) -> u64 {
        self.fetches.load(Ordering::SeqCst)
    }
}

impl Abilities for Supplier {
    fn fetch_token(&self) -> BoxFuture<'_, Option<Result<Token, Reason>>> {
        Box::pin(async move {
            // The way there; a question that is withdrawn before it arrives is none.
            sleep(Duration::from_millis(1)).await;
            let number = self.fetches.fetch_add(1, Ordering::SeqCst) + 1;
            sleep(self.takes).await;
            let broken = self.broken.lock().clone();
            let token = Token { secret: Secret::new(format!("token-{number}")), expires_in: self.life };
            Some(broken.map_or(Ok(token), Err))
        })
    }
}

const HOURS_2: Duration = Duration::from_secs(7_200);

async fn world(supplier: &Arc<Supplier>) -> World {
    let channel = FakeChannel::new(|_, _| after(5, delivered()));
    channel.able(Arc::clone(supplier) as Arc<dyn Abilities>);
    World::new(2, LATENCY, Settings::default(), channel).await.expect("a world starts")
}

/// The tokens that attempts were made with, each once, in order.
fn used(world: &World) -> Vec<String> {
    let mut used: Vec<String> = Vec::new();
    for (_, token) in world.channel.tokens() {
        let token = token.expect("every attempt has a token");
        if used.last() != Some(&token) {
            used.push(token);
        }
    }
    used
}

fn claim(world: &World, account: &str, node: u64) -> TokenAnswer {
    let by = Owner { node, boot: 1 };
    let command = TokenCommand::Claim { account: account.to_owned(), revision: 1, by };
    match world.ledger.apply(partition_of(account, 2), vec![Command::Token(command)]).pop() {
        Some(Answer::Token(answer)) => answer,
        other => panic!("not an answer about tokens: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn sixty_four_senders_at_once_cause_one_fetch() {
    let supplier = Supplier::new(HOURS_2);
    let world = world(&supplier).await;
    for pool in ["sms", "email", "webhook", "push"] {
        for on_unknown in [OnUnknown::Retry, OnUnknown::Stop] {
            world.send(&Spec { channel: pool.to_owned(), on_unknown, ..Spec::default() }, 64);
        }
    }
    assert_eq!(world.until_ended(512, LONG).await, 512);
    assert_eq!(supplier.fetches(), 1);
    assert_eq!(used(&world), ["token-1"]);
    assert_eq!(states(&world), [(State::Delivered, 512)].into());
    assert!(world.ledger.ended().values().all(|ended| ended.delivery.attempts == 1), "waiting uses no attempt up");
}

#[tokio::test(start_paused = true)]
async fn an_account_that_nobody_sends_with_costs_no_token() {
    let supplier = Supplier::new(HOURS_2);
    let world = world(&supplier).await;
    sleep(Duration::from_secs(600)).await;
    assert_eq!(supplier.fetches(), 0);
    world.send(&Spec::default(), 1);
    world.until_ended(1, LONG).await;
    assert_eq!(supplier.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_before_it_ends_as_long_as_it_is_used() {
    // Good for 540 s of its 600, and renewed after 432 of them.
    let supplier = Supplier::new(Duration::from_secs(600));
    let world = world(&supplier).await;
    for n in 0..48 {
        world.send(&Spec::default(), 2);
        world.until_ended((n + 1) * 2, LONG).await;
        sleep(Duration::from_secs(60)).await;
    }
    let fetches = supplier.fetches();
    assert!((6..=8).contains(&fetches), "{fetches} fetches in 48 minutes");
    let ended = world.ledger.ended();
    let took = ended.values().map(|e| e.delivery.ended_at.unwrap_or_default().since(e.delivery.due));
    let waited = took.filter(|took| *took > Duration::from_millis(100)).count();
    assert_eq!(waited, 2, "only the first two waited for a token");
    sleep(Duration::from_secs(7_200)).await;
    assert!(supplier.fetches() <= fetches + 1, "what nobody uses is not renewed");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_ended_is_not_used_any_more() {
    let supplier = Supplier::new(Duration::from_secs(100));
    let world = world(&supplier).await;
    world.send(&Spec::default(), 1);
    world.until_ended(1, LONG).await;
    sleep(Duration::from_secs(3_600)).await;
    world.send(&Spec::default(), 1);
    world.until_ended(2, LONG).await;
    assert_eq!(used(&world).len(), 2, "{:?}", used(&world));
}

#[tokio::test(start_paused = true)]
async fn a_token_the_supplier_calls_invalid_is_fetched_again_once_and_at_once() {
    let supplier = Supplier::new(HOURS_2);
    let world = world(&supplier).await;
    world.send(&Spec::default(), 10);
    world.until_ended(10, LONG).await;
    sleep(Duration::from_secs(60)).await;
    world.channel.follow(|call, _| {
        let old = call.token.as_ref().is_some_and(|token| token.expose() == "token-1");
        let no = Outcome::never(tidings_contract::Blame::Account, Token::INVALID, "40014");
        after(5, if old { no } else { delivered() })
    });
    let start = tidings_contract::Clock::now(&*world.clock);
    world.send(&Spec::default(), 64);
    assert_eq!(world.until_ended(74, LONG).await, 74);
    assert_eq!(supplier.fetches(), 2);
    assert_eq!(states(&world), [(State::Delivered, 74)].into());
    let took = tidings_contract::Clock::now(&*world.clock).since(start);
    assert!(took < Duration::from_secs(1), "they waited {took:?}");
    let invalid = |ended: &&tidings_machine::partition::Ended| {
        attempts(ended).first().is_some_and(|(_, class, code)| *class == "later" && code == Token::INVALID)
    };
    let ended = world.ledger.ended();
    assert!(ended.values().filter(invalid).count() > 0, "the trace tells of it");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_never_works_is_not_fetched_for_ever() {
    let supplier = Supplier::new(HOURS_2);
    let world = world(&supplier).await;
    world.channel.follow(|_, _| after(5, Outcome::later(Token::INVALID, "40014")));
    world.send(&Spec::default(), 64);
    sleep(Duration::from_secs(600)).await;
    let fetches = supplier.fetches();
    assert!((2..30).contains(&fetches), "{fetches} fetches in ten minutes");
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_fails_is_in_the_trace_and_costs_no_stampede() {
    let supplier = Supplier::new(HOURS_2);
    *supplier.broken.lock() = Some(Reason::new("http_500", "no"));
    let world = world(&supplier).await;
    world.send(&Spec::default(), 64);
    sleep(Duration::from_secs(30)).await;
    let fetches = supplier.fetches();
    assert!((2..=8).contains(&fetches), "{fetches} fetches in half a minute");
    *supplier.broken.lock() = None;
    assert_eq!(world.until_ended(64, LONG).await, 64);
    assert_eq!(states(&world), [(State::Delivered, 64)].into());
    for ended in world.ledger.ended().values() {
        assert_eq!(attempts(ended)[0], (1, "later", "token_http_500".to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_dies_while_it_fetches_is_replaced() {
    let supplier = Supplier::new(HOURS_2);
    let world = world(&supplier).await;
    // Another node has the lease and is never heard of again.
    assert!(matches!(claim(&world, "main", 2), TokenAnswer::Fetch { .. }));
    world.send(&Spec::default(), 64);
    sleep(Duration::from_secs(14)).await;
    assert_eq!((supplier.fetches(), world.ledger.ended_count()), (0, 0), "the lease still holds");
    assert_eq!(world.until_ended(64, LONG).await, 64);
    assert_eq!(supplier.fetches(), 1);
    assert!(world.ledger.ended().values().all(|ended| ended.delivery.attempts == 1));
}

#[tokio::test(start_paused = true)]
async fn what_another_node_fetched_is_used() {
    let supplier = Supplier::new(HOURS_2);
    let world = world(&supplier).await;
    let TokenAnswer::Fetch { lease, .. } = claim(&world, "main", 2) else { panic!("no lease") };
    world.send(&Spec::default(), 64);
    sleep(Duration::from_millis(500)).await;
    let sealed = Sealed(b"sealed for main: theirs".to_vec());
    let put = TokenCommand::Put { account: "main".to_owned(), revision: 1, lease, sealed, good_ms: 3_600_000 };
    world.ledger.apply(partition_of("main", 2), vec![Command::Token(put)]);
    assert_eq!(world.until_ended(64, LONG).await, 64);
    assert_eq!((supplier.fetches(), used(&world)), (0, vec!["theirs".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn whoever_dies_and_whoever_leads_nothing_is_lost() {
    let supplier = Supplier::new(HOURS_2);
    let world = world(&supplier).await;
    for n in 0..10 {
        let spec = Spec { on_unknown: if n % 2 == 0 { OnUnknown::Retry } else { OnUnknown::Stop }, ..Spec::default() };
        world.send(&spec, 20);
        sleep(Duration::from_millis(37)).await;
        assert!(world.motion.kill("tokens"));
        if n == 3 {
            world.ledger.without_leader(true);
            sleep(Duration::from_secs(7)).await;
            world.ledger.without_leader(false);
        }
    }
    assert_eq!(world.until_ended(200, LONG).await, 200);
    let delivered = states(&world).get(&State::Delivered).copied().unwrap_or_default();
    assert_eq!(delivered, 200, "{:?}", states(&world));
    assert!(supplier.fetches() <= 11, "{} fetches", supplier.fetches());
}

#[tokio::test(start_paused = true)]
async fn a_changed_account_gets_a_token_of_its_own() {
    let supplier = Supplier::new(HOURS_2);
    let world = world(&supplier).await;
    world.send(&Spec::default(), 3);
    world.until_ended(3, LONG).await;
    world.account("main", "fake/one", None);
    world.send(&Spec::default(), 3);
    world.until_ended(6, LONG).await;
    assert_eq!(used(&world), ["token-1", "token-2"]);
}

#[tokio::test(start_paused = true)]
async fn letters_that_waited_while_their_account_changed_go_out_with_its_new_token_at_once() {
    let supplier = Supplier::new(HOURS_2);
    let world = world(&supplier).await;
    let limit = Some(AccountLimit { permits: 5, window_ms: 900 });
    world.account("main", "fake/one", limit);
    world.send(&Spec::default(), 1);
    assert_eq!(world.until_ended(1, LONG).await, 1);
    sleep(Duration::from_secs(2)).await;
    for on_unknown in [OnUnknown::Retry, OnUnknown::Stop] {
        world.send(&Spec { on_unknown, ..Spec::default() }, 10);
    }
    sleep(Duration::from_millis(500)).await;
    let before = world.channel.tokens().len();
    assert_eq!(before, 6, "they went out with the old token");
    world.account("main", "fake/one", limit);
    assert_eq!(world.until_ended(21, LONG).await, 21);
    assert_eq!(states(&world), [(State::Delivered, 21)].into());
    let attempts: Vec<_> = world.ledger.ended().values().map(|ended| ended.delivery.attempts).collect();
    assert!(attempts.iter().all(|attempts| *attempts == 1), "{attempts:?}");
    let after: Vec<_> = world.channel.tokens().into_iter().skip(before).filter_map(|(_, token)| token).collect();
    assert!(after.iter().all(|token| token == "token-2"), "{after:?}");
    assert_eq!(supplier.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_account_mended_while_its_fetch_fails_is_asked_for_at_once() {
    let supplier = Supplier::new(HOURS_2);
    *supplier.broken.lock() = Some(Reason::new("http_401", "no"));
    let world = world(&supplier).await;
    world.send(&Spec::default(), 4);
    // The supplier says no to the old secret just after it was replaced.
    sleep(Duration::from_millis(100)).await;
    world.account("main", "fake/one", None);
    world.send(&Spec::default(), 1);
    sleep(Duration::from_millis(150)).await;
    *supplier.broken.lock() = None;
    assert_eq!(world.until_ended(5, Duration::from_secs(2)).await, 5);
    assert!(world.ledger.ended().values().all(|ended| ended.delivery.attempts == 1));
}

#[tokio::test(start_paused = true)]
async fn a_token_fetched_while_its_home_has_no_leader_is_told_when_it_has_one_again() {
    for lost in [true, false] {
        let supplier = Supplier::new(HOURS_2);
        let world = world(&supplier).await;
        world.send(&Spec::default(), 64);
        sleep(Duration::from_millis(100)).await;
        assert_eq!((supplier.fetches(), world.channel.seen().len()), (1, 0), "it is being fetched");
        if lost {
            world.ledger.without_leader(true);
            sleep(Duration::from_secs(3)).await;
            world.ledger.without_leader(false);
        } else {
            world.ledger.go_wrong([Fault::UnknownButKept]);
        }
        assert_eq!(world.until_ended(64, LONG).await, 64);
        assert_eq!(supplier.fetches(), 1, "what was fetched is not thrown away");
        assert!(world.ledger.ended().values().all(|ended| ended.delivery.attempts == 1));
    }
}
