//! The peer port as a whole: strangers, wrong secrets and silent sockets beside a peer that is answered all the time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use tidings_contract::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::cipher::Cipher;
use super::client::{CallError, Lane, Peers};
use super::disks::DiskBook;
use super::handshake::{self, Identity};
use super::introduce::introduce;
use super::server::{Service, serve};
use super::wire::Kind;

/// Answers with the number of whoever asks and what it asked.
struct Echo;

impl Service for Echo {
    fn answer(&self, from: u64, _: Kind, body: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        async move { Ok(Bytes::from([&from.to_be_bytes()[..], &body].concat())) }.boxed()
    }
}

fn peers(node: u64, secret: &str) -> Peers {
    let identity = Identity::new(node, &Secret::new(secret), Some("c".to_owned()), None, DiskBook::blank(node));
    Peers::new(Arc::new(identity), Cipher::new().expect("a certificate"))
}

/// Node 1, which answers, and where.
async fn answering() -> (JoinHandle<()>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    (tokio::spawn(serve(listener, peers(1, "s"), Arc::new(Echo))), address)
}

async fn ask(peers: &Peers, address: &str, lane: Lane, body: &[u8]) -> Result<Bytes, CallError> {
    let body = Bytes::copy_from_slice(body);
    peers.call(1, Some(address), lane, Kind::Ask, body, Duration::from_secs(20)).await
}

#[tokio::test]
async fn a_question_of_any_size_is_answered_over_both_lanes_and_without_a_number() {
    let (_serving, address) = answering().await;
    let asking = peers(2, "s");
    for size in [0, 1, 70_000, (8 << 20) - 100] {
        let body = vec![7; size];
        let answer = ask(&asking, &address, Lane::Bulk, &body).await.expect("answered");
        assert!(answer[..8] == 2_u64.to_be_bytes() && answer[8..] == body, "{size} bytes");
    }
    assert!(ask(&asking, &address, Lane::Raft, b"x").await.is_ok());
    let joining = asking.call_address(&address, Kind::Join, Bytes::new(), Duration::from_secs(20)).await;
    assert!(joining.is_ok(), "{joining:?}");
    assert!(asking.trouble().is_empty());
}

#[tokio::test]
async fn three_hundred_silent_sockets_take_no_place_from_a_peer_that_comes_late() {
    let (_serving, address) = answering().await;
    let early = peers(2, "s");
    assert!(ask(&early, &address, Lane::Raft, b"x").await.is_ok());
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(&address).await.expect("a connection"));
    }
    assert!(ask(&early, &address, Lane::Raft, b"x").await.is_ok(), "who was connected stays so");
    assert!(ask(&peers(3, "s"), &address, Lane::Raft, b"x").await.is_ok(), "and another one finds a place");
    // The oldest ones were closed, without a word.
    let mut heard = Vec::new();
    silent[0].read_to_end(&mut heard).await.expect("it was closed");
    assert_eq!(heard, b"");
}

#[tokio::test]
async fn a_node_with_another_secret_learns_why_and_is_slowed_while_peers_beside_it_are_not() {
    let (_serving, address) = answering().await;
    let (friend, stranger) = (peers(2, "s"), peers(3, "another"));
    assert!(ask(&friend, &address, Lane::Raft, b"x").await.is_ok());
    let within = Duration::from_secs(20);
    let mut whys = Vec::new();
    for _ in 0..12 {
        let refused = stranger.call_address(&address, Kind::Join, Bytes::new(), within).await;
        whys.push(refused.expect_err("refused").to_string());
    }
    assert!(whys[0].contains("its cluster secret is not ours"), "{whys:?}");
    assert!(whys.iter().any(|why| !why.contains("secret")), "after some tries it is not even listened to: {whys:?}");
    assert!(ask(&friend, &address, Lane::Raft, b"x").await.is_ok());
    assert!(ask(&stranger, &address, Lane::Raft, b"x").await.is_err());
    let trouble = stranger.trouble();
    assert!(trouble.contains_key(&1), "{trouble:?}");
}

#[tokio::test]
async fn a_peer_that_reads_no_answers_is_read_no_further() {
    let (_serving, address) = answering().await;
    let stream = TcpStream::connect(&address).await.expect("a connection");
    let (mut stream, binding) = Cipher::new().expect("a certificate").connect(stream).await.expect("TLS");
    let deaf = Identity::new(2, &Secret::new("s"), Some("c".to_owned()), None, DiskBook::blank(2));
    handshake::connect(&mut stream, &deaf, &binding, Some(1)).await.expect("it knows the secret");
    introduce(&mut stream, &deaf, 1).await.expect("its disk counts");
    // A frame of 1 MiB: length, number, tag, syncs, body.
    let length = ((1_u32 << 20) + 17).to_be_bytes();
    let frame = [&length[..], &[0; 8], &[Kind::Ask as u8], &[0; 8], &vec![0; 1 << 20]].concat();
    let mut taken = 0;
    // It never reads. Buffers of two sockets come on top of what the server lets wait.
    while taken < 400 {
        match tokio::time::timeout(Duration::from_secs(1), stream.write_all(&frame)).await {
            Ok(Ok(())) => taken += 1,
            _ => break,
        }
    }
    assert!(taken < 150, "{taken} MiB were taken from a peer that reads nothing");
    assert!(ask(&peers(3, "s"), &address, Lane::Raft, b"x").await.is_ok(), "others are answered");
}

#[tokio::test]
async fn a_peer_that_connects_again_and_again_keeps_its_newest_connections() {
    let (_serving, address) = answering().await;
    let mut kept = Vec::new();
    let identity = Identity::new(2, &Secret::new("s"), Some("c".to_owned()), None, DiskBook::blank(2));
    let identity = Arc::new(identity);
    for _ in 0..30 {
        // A peer that forgot its connections without closing them.
        let again = Peers::new(Arc::clone(&identity), Cipher::new().expect("a certificate"));
        assert!(ask(&again, &address, Lane::Raft, b"x").await.is_ok());
        kept.push(again);
    }
    let newest = kept.last().expect("the newest");
    assert!(ask(newest, &address, Lane::Raft, b"x").await.is_ok());
    assert!(ask(&peers(3, "s"), &address, Lane::Raft, b"x").await.is_ok());
}
