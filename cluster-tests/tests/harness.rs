//! The harness without a node: the load, the bare relay and the receiver agree on what was sent.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use tidings_cluster_tests::bench::relay;
use tidings_cluster_tests::client::Client;
use tidings_cluster_tests::cluster::eventually;
use tidings_cluster_tests::failure::ensure;
use tidings_cluster_tests::load::{Load, Plan};
use tidings_cluster_tests::receiver::{Manners, Receiver};
use tokio::net::TcpListener;

fn plan(nodes: Vec<String>, receiver: &Receiver, batch: u64, most: u64) -> Plan {
    let (template, receiver) = ("hook".to_owned(), receiver.base());
    Plan { nodes, template, receiver, connections: 4, batch, first: 100, most, keyed: false }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_number_that_was_accepted_by_the_relay_arrives_once() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let relay = tokio::spawn(relay::serve(listener));
    let receiver = Receiver::start(Manners::default()).expect("a port is free");
    let load = Load::start(&Client::new(""), plan(vec![url], &receiver, 10, 200));
    let tally = load.finish().await.expect("no caller panics");
    let all = eventually("all have arrived", Duration::from_secs(30), async || {
        ensure(receiver.counts().distinct >= 200, || format!("{} have", receiver.counts().distinct))
    });
    all.await.expect("all arrive");
    let sent: BTreeSet<u64> = tally.accepted.keys().copied().collect();
    let arrived: BTreeSet<u64> = receiver.seen().arrivals.values().map(|arrival| arrival.n).collect();
    assert_eq!(sent, (100..300).collect());
    assert_eq!(arrived, sent);
    assert_eq!((receiver.seen().duplicates(), tally.refused, tally.unknown.len()), (0, 0, 0));
    relay.abort();
}

#[tokio::test]
async fn what_could_not_be_sent_is_refused_and_not_unknown() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    drop(listener);
    let receiver = Receiver::start(Manners::default()).expect("a port is free");
    let tally = Load::start(&Client::new(""), plan(vec![url], &receiver, 1, 5)).finish().await.expect("no panic");
    assert_eq!((tally.accepted.len(), tally.unknown.len(), tally.refused), (0, 0, 5));
}
