//! Suppliers that are asked: what became of deliveries, which templates there are; and addresses that are handed on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tidings_contract::{
    Blame, Charge, DeliveryId, Outcome, Reason, Receipt, ReceiptMark, Sent, VendorTemplate, partition_of,
};
use tidings_machine::partition::{CallPolicy, Leg, Way, WayAccount, What};
use tokio::time::sleep;

use super::{LATENCY, LONG};
use crate::testing::{Abilities, FakeChannel, Spec, Step, World};
use crate::{Ledger, Settings, TemplatesError};

/// A supplier that tells what became of a delivery only to those who ask.
#[derive(Debug, Default)]
struct Supplier {
    /// What it says, question by question; then nothing.
    says: Mutex<VecDeque<Result<Vec<Receipt>, Reason>>>,
    /// The ids it was asked about.
    asked: Mutex<Vec<Vec<String>>>,
    templates: Mutex<Option<Result<Vec<VendorTemplate>, Reason>>>,
    hangs: bool,
}

impl Abilities for Supplier {
    fn asks(&self) -> bool {
        true
    }

    fn ask_receipts(&self, sent: &[Sent]) -> Result<Vec<Receipt>, Reason> {
        let mut ids: Vec<String> = sent.iter().map(|sent| sent.provider_id.clone()).collect();
        ids.sort();
        self.asked.lock().push(ids);
        self.says.lock().pop_front().unwrap_or_else(|| Ok(Vec::new()))
    }

    fn list_templates(&self) -> BoxFuture<'_, Option<Result<Vec<VendorTemplate>, Reason>>> {
        if self.hangs {
            return Box::pin(std::future::pending());
        }
        Box::pin(std::future::ready(self.templates.lock().clone()))
    }
}

async fn world(supplier: &Arc<Supplier>) -> World {
    let channel = FakeChannel::new(|_, target| {
        Step::Give(Duration::from_millis(5), Outcome::Delivered { provider_id: Some(target.to.clone()) })
    });
    channel.able(Arc::clone(supplier) as Arc<dyn Abilities>);
    World::new(2, LATENCY, Settings::default(), channel).await.expect("a world starts")
}

fn marks(world: &World, delivery: DeliveryId) -> Vec<(ReceiptMark, Option<u32>)> {
    let events = world.ended(&delivery).map(|ended| ended.delivery.events).unwrap_or_default();
    let mark = |what: What| match what {
        What::Marked { mark, charge, .. } => Some((mark, charge.and_then(|charge| charge.segments))),
        _ => None,
    };
    events.into_iter().filter_map(|event| mark(event.what)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_supplier_is_asked_about_single_deliveries_until_there_is_nothing_more_to_learn() {
    let supplier = Arc::new(Supplier::default());
    let world = world(&supplier).await;
    let to = "+8613800138000";
    let received = Receipt { to: Some(to.to_owned()), ..Receipt::new(to, ReceiptMark::Received) };
    let read = Receipt { charge: Some(Charge::segments(2)), ..Receipt { mark: ReceiptMark::Read, ..received.clone() } };
    let refused = Err(Reason::new("busy", "later"));
    let says = [Ok(vec![]), refused, Ok(vec![received.clone()]), Ok(vec![received.clone()]), Ok(vec![received, read])];
    supplier.says.lock().extend(says);
    let sent = world.send_to(&Spec::default(), &[to.to_owned()]);
    world.until_ended(1, LONG).await;
    sleep(Duration::from_secs(25)).await;
    assert!(supplier.asked.lock().is_empty(), "it has not settled yet");
    sleep(Duration::from_secs(10)).await;
    assert_eq!(supplier.asked.lock().len(), 1);
    sleep(Duration::from_secs(24 * 3_600)).await;
    assert_eq!(marks(&world, sent[0]), [(ReceiptMark::Received, None), (ReceiptMark::Read, Some(2))]);
    assert_eq!(supplier.asked.lock().len(), 5, "what was read is not asked about any more");
}

#[tokio::test(start_paused = true)]
async fn many_deliveries_are_asked_about_in_few_questions_and_given_up_after_a_day() {
    let supplier = Arc::new(Supplier::default());
    let world = world(&supplier).await;
    world.send(&Spec::default(), 25);
    world.until_ended(25, LONG).await;
    sleep(Duration::from_secs(40)).await;
    let asked = supplier.asked.lock().clone();
    assert!(asked.iter().all(|ids| ids.len() <= 10), "{asked:?}");
    let mut all: Vec<String> = asked.into_iter().flatten().collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 25, "each was asked about");
    sleep(Duration::from_secs(26 * 3_600)).await;
    let before = supplier.asked.lock().len();
    sleep(Duration::from_secs(26 * 3_600)).await;
    assert_eq!(supplier.asked.lock().len(), before, "after a day the supplier knows nothing");
}

#[tokio::test(start_paused = true)]
async fn what_the_supplier_never_says_a_word_about_is_given_up_after_an_hour() {
    let supplier = Arc::new(Supplier::default());
    let world = world(&supplier).await;
    let to = ["+8613800138000", "+8613800138001"].map(str::to_owned);
    let received = Receipt { to: Some(to[0].clone()), ..Receipt::new(&to[0], ReceiptMark::Received) };
    // It says of one that it arrived, once, and of the other nothing.
    supplier.says.lock().push_back(Ok(vec![received.clone()]));
    supplier.says.lock().push_back(Ok(vec![received]));
    let sent = world.send_to(&Spec::default(), &to);
    world.until_ended(2, LONG).await;
    sleep(Duration::from_secs(4 * 3_600)).await;
    let asked = |id: &str| supplier.asked.lock().iter().filter(|ids| ids.iter().any(|asked| asked == id)).count();
    assert_eq!(asked(&to[1]), 7, "questions about what it does not tell of");
    assert!(asked(&to[0]) > 7, "what arrived may still be read");
    assert_eq!(marks(&world, sent[0]), [(ReceiptMark::Received, None)]);
    sleep(Duration::from_secs(26 * 3_600)).await;
    assert_eq!(asked(&to[1]), 7);
}

#[tokio::test(start_paused = true)]
async fn what_was_being_asked_when_the_actor_died_is_asked_again() {
    let supplier = Arc::new(Supplier::default());
    let world = world(&supplier).await;
    let to = "+8613800138000";
    let sent = world.send_to(&Spec::default(), &[to.to_owned()]);
    world.until_ended(1, LONG).await;
    supplier.says.lock().push_back(Ok(vec![Receipt::new(to, ReceiptMark::Read)]));
    sleep(Duration::from_millis(29_500)).await;
    assert!(world.motion.kill("receipts"));
    sleep(Duration::from_secs(10)).await;
    assert_eq!(marks(&world, sent[0]), [(ReceiptMark::Read, None)]);
}

#[tokio::test(start_paused = true)]
async fn an_address_of_a_further_leg_is_suppressed_where_it_is_at_home() {
    let supplier = Arc::new(Supplier::default());
    let world = world(&supplier).await;
    world.channel.follow(|_, _| Step::Give(Duration::from_millis(5), Outcome::never(Blame::Gone, "gone", "nobody")));
    let suppressing = CallPolicy { suppress_bounces: true, ..CallPolicy::default() };
    let near = partition_of("+8613800138000", 2);
    let far = (0..100)
        .map(|n| format!("ann{n}@example.com"))
        .find(|to| partition_of(to, 2) != near)
        .expect("an address of the other partition");
    let accounts = vec![WayAccount { account: "main".to_owned(), weight: 1, tier: 0, call: suppressing }];
    let way = Way { accounts, ..Way::default() };
    let (template, channel) = ("hello".to_owned(), "email".to_owned());
    let leg = Leg { template, version: 1, channel, way: way.clone(), retry: Spec::default().retry };
    let (way, legs) = (Some(Arc::new(way)), vec![Arc::new(leg)]);
    let spec = Spec { way, legs, fallback: vec![Some(far.clone())], ..Spec::default() };
    world.send_to(&spec, &["+8613800138000".to_owned()]);
    world.until_ended(1, LONG).await;
    sleep(Duration::from_secs(3)).await;
    let (mut listed, mut waiting) = (false, 0);
    world.ledger.with_partition(partition_of(&far, 2), &mut |state| {
        listed = state.suppression(&(far.clone(), "email".to_owned())).is_some();
    });
    world.ledger.with_partition(near, &mut |state| waiting = state.bounces_elsewhere().count());
    assert_eq!((listed, waiting), (true, 0));
}

#[tokio::test(start_paused = true)]
async fn the_templates_of_a_supplier_are_listed_or_it_is_said_why_not() {
    let supplier = Arc::new(Supplier::default());
    let world = world(&supplier).await;
    let list = async |name: &str| world.motion.vendor_templates(name).await;
    assert_eq!(list("nobody").await, Err(TemplatesError::NoAccount));
    assert_eq!(list("main").await, Err(TemplatesError::Unsupported("fake/one")));
    let text = String::new;
    let one = VendorTemplate { id: "7".to_owned(), title: text(), content: text(), example: text() };
    *supplier.templates.lock() = Some(Ok(vec![one.clone()]));
    assert_eq!(list("main").await, Ok(vec![one]));
    let reason = Reason::new("40001", "no right");
    *supplier.templates.lock() = Some(Err(reason.clone()));
    assert_eq!(list("main").await, Err(TemplatesError::Refused(reason)));
}

#[tokio::test(start_paused = true)]
async fn a_supplier_that_does_not_list_its_templates_in_time_is_given_up() {
    let supplier = Arc::new(Supplier { hangs: true, ..Supplier::default() });
    let world = world(&supplier).await;
    assert_eq!(world.motion.vendor_templates("main").await, Err(TemplatesError::Timeout));
}
