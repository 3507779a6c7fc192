//! What happens after a delivery was taken: recalls, receipts, callbacks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidings_contract::{Blame, Clock, DeliveryId, Outcome, Reason, Receipt, ReceiptMark, Secret, Sent, Unsupported};
use tidings_machine::control::Sealed;
use tidings_machine::partition::{
    Answer, Callback, CallbackSpec, Command, Happening, RecallCommand, RecallStanding, SentAs, State, Want, What,
};
use tokio::time::sleep;

use super::{LATENCY, LONG, after, states};
use crate::testing::{Abilities, FakeChannel, Fault, Spec, Step, World};
use crate::{CallbackError, Settings};

/// A supplier that can take back, be asked for receipts and call back.
#[derive(Debug, Default)]
struct Supplier {
    /// What it says when it is asked to take something back, one after the other; then yes.
    recalls: Mutex<VecDeque<Result<Outcome, Unsupported>>>,
    recalled: Mutex<Vec<String>>,
    /// The receipts it has.
    receipts: Mutex<Vec<Receipt>>,
}

impl Abilities for Supplier {
    fn recall(&self, sent: &Sent, _token: Option<&Secret>) -> Result<Outcome, Unsupported> {
        self.recalled.lock().push(sent.provider_id.clone());
        self.recalls.lock().pop_front().unwrap_or(Ok(Outcome::Delivered { provider_id: None }))
    }

    fn pulls(&self) -> bool {
        true
    }

    fn pull_receipts(&self) -> Result<Vec<Receipt>, Reason> {
        Ok(std::mem::take(&mut *self.receipts.lock()))
    }

    fn read_callback(&self, body: &[u8]) -> Result<Result<Vec<Receipt>, Reason>, Unsupported> {
        let text = String::from_utf8_lossy(body);
        let signed = text.strip_prefix("signed ").ok_or_else(|| Reason::new("signature", "it does not fit"));
        Ok(signed.map(|id| vec![receipt(id, ReceiptMark::Received)]))
    }
}

fn receipt(provider_id: &str, mark: ReceiptMark) -> Receipt {
    Receipt::new(provider_id, mark)
}

/// A world whose provider names each delivery by its recipient.
async fn world(supplier: &Arc<Supplier>) -> World {
    let channel = FakeChannel::new(|_, target| {
        Step::Give(Duration::from_millis(5), Outcome::Delivered { provider_id: Some(target.to.clone()) })
    });
    channel.able(Arc::clone(supplier) as Arc<dyn Abilities>);
    World::new(2, LATENCY, Settings::default(), channel).await.expect("a world starts")
}

fn want(world: &World, delivery: DeliveryId) -> Answer {
    let ended = world.ended(&delivery).expect("it ended");
    let now = world.clock.now();
    let sent = SentAs {
        account: "main".to_owned(),
        to: ended.delivery.to.clone(),
        provider_id: ended.delivery.provider_id.clone().expect("it was taken"),
        template: ended.sheet.template.clone(),
        accepted_at: ended.delivery.accepted_at(),
        subject: None,
    };
    let want = Want { delivery, by: "key".to_owned(), accept_by: now.after_ms(5_000), sent };
    let command = Command::Recall(RecallCommand::Want(Box::new(want)));
    world.ledger.apply(delivery.partition(), vec![command]).pop().expect("an answer")
}

fn standing(world: &World, delivery: DeliveryId) -> Option<RecallStanding> {
    let mut standing = None;
    crate::Ledger::with_partition(&*world.ledger, delivery.partition(), &mut |state| {
        standing = state.recall_standing(&delivery);
    });
    standing
}

fn marks(world: &World, delivery: DeliveryId) -> Vec<ReceiptMark> {
    let events = world.ended(&delivery).map(|ended| ended.delivery.events).unwrap_or_default();
    let mark = |what: What| if let What::Marked { mark, .. } = what { Some(mark) } else { None };
    events.into_iter().filter_map(|event| mark(event.what)).collect()
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_is_taken_back_through_the_provider() {
    let supplier = Arc::new(Supplier::default());
    let world = world(&supplier).await;
    let sent = world.send(&Spec::default(), 2);
    world.until_ended(2, LONG).await;
    assert_eq!(want(&world, sent[0]), Answer::Recall(RecallStanding::Wanted));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(*supplier.recalled.lock(), [world.ended(&sent[0]).expect("it ended").delivery.to]);
    assert_eq!((world.state(&sent[0]), world.state(&sent[1])), (State::Recalled, State::Delivered));
    assert_eq!(standing(&world, sent[0]), Some(RecallStanding::Recalled));
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_cannot_says_so_and_one_that_is_busy_is_asked_again() {
    let supplier = Arc::new(Supplier::default());
    let world = world(&supplier).await;
    let sent = world.send_to(&Spec::default(), &["+8613800138000".to_owned()]);
    world.until_ended(1, LONG).await;
    supplier.recalls.lock().extend([
        Ok(Outcome::later("http_503", "busy")),
        Ok(Outcome::unknown("timeout", "")),
        Err(Unsupported("recall")),
    ]);
    want(&world, sent[0]);
    sleep(Duration::from_secs(30)).await;
    assert_eq!(supplier.recalled.lock().len(), 3);
    let Some(RecallStanding::NotRecallable(reason)) = standing(&world, sent[0]) else { panic!("it ended otherwise") };
    assert_eq!(reason.code, "not_recallable");
    assert_eq!(world.state(&sent[0]), State::Delivered);
}

#[tokio::test(start_paused = true)]
async fn a_recall_survives_the_actor_the_lead_and_a_lost_answer() {
    let supplier = Arc::new(Supplier::default());
    let world = world(&supplier).await;
    let sent = world.send(&Spec::default(), 40);
    world.until_ended(40, LONG).await;
    supplier.recalls.lock().extend((0..9).map(|_| Ok(Outcome::unknown("reset", ""))));
    for (n, id) in sent.iter().enumerate() {
        want(&world, *id);
        if n % 5 == 0 {
            sleep(Duration::from_millis(260)).await;
            world.motion.kill("recalls");
            world.ledger.go_wrong([Fault::UnknownButKept]);
        }
    }
    world.ledger.lead(sent[0].partition(), None);
    sleep(Duration::from_secs(1)).await;
    world.ledger.lead(sent[0].partition(), Some(2));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(states(&world), [(State::Recalled, 40)].into());
}

#[tokio::test(start_paused = true)]
async fn receipts_are_pulled_and_mark_their_deliveries_once() {
    let supplier = Arc::new(Supplier::default());
    let world = world(&supplier).await;
    let sent = world.send(&Spec::default(), 50);
    world.until_ended(50, LONG).await;
    sleep(Duration::from_secs(7_200)).await;
    let ids: Vec<String> = world.ledger.ended().values().filter_map(|e| e.delivery.provider_id.clone()).collect();
    let twice = ids.iter().chain(&ids).map(|id| receipt(id, ReceiptMark::Received));
    supplier.receipts.lock().extend(twice);
    world.ledger.go_wrong([Fault::UnknownButKept, Fault::Refused]);
    sleep(Duration::from_secs(30)).await;
    for id in sent {
        assert_eq!(marks(&world, id), [ReceiptMark::Received]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_receipt_that_is_faster_than_the_log_is_not_lost() {
    let supplier = Arc::new(Supplier::default());
    let world = world(&supplier).await;
    world.channel.follow(|_, target| after(20_000, Outcome::Delivered { provider_id: Some(target.to.clone()) }));
    world.account("main", "fake/one", None);
    let sent = world.send_to(&Spec::default(), &["+8613800138000".to_owned()]);
    supplier.receipts.lock().push(receipt("+8613800138000", ReceiptMark::Received));
    // The provider's own deadline is ten seconds: the first attempts count as unknown, a later one is quick.
    sleep(Duration::from_secs(5)).await;
    world.channel.follow(|_, target| after(5, Outcome::Delivered { provider_id: Some(target.to.clone()) }));
    world.until_ended(1, LONG).await;
    sleep(Duration::from_secs(15)).await;
    assert_eq!(marks(&world, sent[0]), [ReceiptMark::Received]);
}

#[tokio::test(start_paused = true)]
async fn a_callback_of_a_supplier_is_verified_before_it_counts() {
    let supplier = Arc::new(Supplier::default());
    let world = world(&supplier).await;
    let to = "+8613800138000".to_owned();
    let sent = world.send_to(&Spec::default(), std::slice::from_ref(&to));
    world.until_ended(1, LONG).await;
    let call = async |account: &str, body: String| world.motion.called_back(account, &[], body.as_bytes()).await;
    let forged = call("main", format!("forged {to}")).await;
    assert!(matches!(forged, Err(CallbackError::Refused(_))), "{forged:?}");
    assert_eq!(call("other", format!("signed {to}")).await, Err(CallbackError::NotHere));
    assert_eq!(marks(&world, sent[0]), []);
    for _ in 0..2 {
        call("main", format!("signed {to}")).await.expect("it is the supplier's");
    }
    assert_eq!(marks(&world, sent[0]), [ReceiptMark::Received]);
    world.ledger.without_leader(true);
    let later = call("main", format!("signed {to}")).await;
    assert!(matches!(later, Err(CallbackError::Ledger(_))), "the supplier is told to come again: {later:?}");
}

#[tokio::test(start_paused = true)]
async fn callbacks_are_sent_retried_and_signed_with_an_account_of_their_own() {
    let supplier = Arc::new(Supplier::default());
    let world = world(&supplier).await;
    let url = "https://caller.example/hook".to_owned();
    let events = Happening::Delivered.bit() | Happening::Failed.bit() | Happening::Received.bit();
    let spec = CallbackSpec { url: url.clone(), sealed: Sealed(vec![1]), events, allow_private: false };
    let told = Some(Box::new(Callback { spec, about: None }));
    let hook = url.clone();
    world.channel.follow(move |_, target| {
        let outcome = match (target.to == hook, target.attempt, target.delivery.index()) {
            (true, 1, _) => Outcome::later("http_503", "busy"),
            (false, _, 3) => Outcome::never(Blame::Recipient, "gone", "no such subscriber"),
            _ => Outcome::Delivered { provider_id: Some(target.to.clone()) },
        };
        after(5, outcome)
    });
    let sent = world.send(&Spec { callback: told, ..Spec::default() }, 5);
    assert_eq!(world.until_ended(10, LONG).await, 10);
    let to = world.ended(&sent[0]).expect("it ended").delivery.to;
    world.motion.called_back("main", &[], format!("signed {to}").as_bytes()).await.expect("it is the supplier's");
    assert_eq!(world.until_ended(11, LONG).await, 11);
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    for seen in world.channel.seen().iter().filter(|seen| seen.to == url && seen.taken) {
        assert_eq!(seen.pool, "callback/notice");
        assert!(sent.iter().any(|id| seen.content["data"]["delivery_id"] == id.to_string()));
        *told.entry(seen.content["type"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    let wanted = [("delivery.delivered", 4), ("delivery.failed", 1), ("delivery.received", 1)];
    assert_eq!(told, wanted.map(|(name, count)| (name.to_owned(), count)).into());
    sleep(Duration::from_secs(60)).await;
    assert_eq!(world.ledger.ended_count(), 11, "a callback causes no callbacks");
}

#[tokio::test(start_paused = true)]
async fn recipients_of_one_call_are_told_apart_wherever_they_live() {
    let supplier = Arc::new(Supplier::default());
    let world = world(&supplier).await;
    world.account("main", "fake/many", None);
    world.channel.follow(|_, _| after(5, Outcome::Delivered { provider_id: Some("batch".to_owned()) }));
    let sent = world.send(&Spec::default(), 10);
    world.until_ended(10, LONG).await;
    let to = world.ended(&sent[3]).expect("it ended").delivery.to;
    let to = to.strip_prefix("+86").map(str::to_owned);
    supplier.receipts.lock().push(Receipt { to, ..receipt("batch", ReceiptMark::Bounced) });
    sleep(Duration::from_secs(30)).await;
    for id in &sent {
        let wanted = if *id == sent[3] { vec![ReceiptMark::Bounced] } else { Vec::new() };
        assert_eq!(marks(&world, *id), wanted, "{id}");
    }
}
