//! What nodes, strangers and relays get out of the handshake.

use std::io;

use tidings_contract::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::disks::DiskBook;
use super::handshake::{Binding, Identity, Met, accept, connect};
use super::refusals::{Reason, Turned};

fn identity(node: u64, secret: &str, cluster: Option<&str>) -> Identity {
    Identity::new(
        node,
        &Secret::new(secret),
        cluster.map(str::to_owned),
        Some(format!("host-{node}:1")),
        DiskBook::blank(node),
    )
}

async fn meet_over(
    near: Identity,
    far: Identity,
    wanted: Option<u64>,
    bindings: [Binding; 2],
) -> (io::Result<Met>, Result<Met, Turned>) {
    let (mut a, mut b) = tokio::io::duplex(4_096);
    let connecting = async move {
        // The stream is dropped at the end, as a refusal closes the connection.
        connect(&mut a, &near, &bindings[0], wanted).await
    };
    tokio::join!(connecting, async move { accept(&mut b, &far, &bindings[1]).await })
}

async fn meet(near: Identity, far: Identity, wanted: Option<u64>) -> (io::Result<Met>, Result<Met, Turned>) {
    meet_over(near, far, wanted, [[7; 32]; 2]).await
}

#[tokio::test]
async fn two_nodes_of_one_cluster_learn_who_the_other_is() {
    let (near, far) = meet(identity(1, "s", Some("c")), identity(2, "s", Some("c")), Some(2)).await;
    let met = |node| Met { node, address: Some(format!("host-{node}:1")) };
    assert_eq!((near.expect("fits"), far.expect("fits")), (met(2), met(1)));
    let (near, far) = meet(identity(1, "s", None), identity(2, "s", Some("c")), None).await;
    assert_eq!((near.expect("a new node may ask"), far.expect("and is answered")), (met(2), met(1)));
}

#[tokio::test]
async fn a_stranger_is_refused_by_both_ends_and_the_accepting_one_knows_why() {
    let cases = [
        ("another secret", identity(1, "s", Some("c")), identity(2, "t", Some("c")), None, Reason::Secret),
        ("another cluster", identity(1, "s", Some("c")), identity(2, "s", Some("d")), None, Reason::Identity),
        ("the same number", identity(1, "s", Some("c")), identity(1, "s", Some("c")), None, Reason::Identity),
        ("not whom we meant", identity(1, "s", Some("c")), identity(2, "s", Some("c")), Some(3), Reason::Identity),
    ];
    for (what, near, far, wanted, reason) in cases {
        let (near, far) = meet(near, far, wanted).await;
        assert!(near.is_err(), "{what}: {near:?}");
        assert_eq!(far.map_err(|turned| turned.reason), Err(reason), "{what}");
    }
}

#[tokio::test]
async fn the_connecting_end_is_told_what_it_has_to_change() {
    let cases = [
        (identity(2, "t", Some("c")), None, "its cluster secret is not ours"),
        (identity(2, "s", Some("d")), None, "it belongs to another cluster"),
        (identity(2, "s", Some("c")), Some(3), "it wants node 3; this is node 2"),
    ];
    for (far, wanted, told) in cases {
        let (near, _) = meet(identity(1, "s", Some("c")), far, wanted).await;
        let why = near.expect_err("refused").to_string();
        assert!(why.contains(told), "{why}");
    }
}

#[tokio::test]
async fn two_ends_of_two_ciphered_connections_refuse_each_other_though_both_know_the_secret() {
    let (near, far) =
        meet_over(identity(1, "s", Some("c")), identity(2, "s", Some("c")), Some(2), [[1; 32], [2; 32]]).await;
    assert!(near.is_err());
    assert_eq!(far.map_err(|turned| turned.reason), Err(Reason::Secret));
}

/// Everything the accepting end says to somebody who sends `said`.
async fn heard_by_a_stranger(said: &[u8]) -> Vec<u8> {
    let (mut a, mut b) = tokio::io::duplex(65_536);
    let node = identity(2, "s", Some("the-cluster-id"));
    let accepting = async move { accept(&mut b, &node, &[7; 32]).await };
    let asking = async move {
        // Whatever it answers until it closes; it may close before everything was said.
        let _ = a.write_all(said).await;
        let _ = a.shutdown().await;
        let mut heard = Vec::new();
        a.read_to_end(&mut heard).await.expect("it closes");
        heard
    };
    let (accepted, heard) = tokio::join!(accepting, asking);
    assert!(accepted.is_err());
    heard
}

#[tokio::test]
async fn a_stranger_hears_a_nonce_and_that_it_is_refused_and_nothing_else() {
    let mut wrong_proof = b"tdg2".to_vec();
    wrong_proof.extend([0; 32]);
    wrong_proof.extend([0, 32]);
    wrong_proof.extend([0; 32]);
    let nonce_only = 32;
    assert_eq!(heard_by_a_stranger(b"").await.len(), 0);
    assert_eq!(heard_by_a_stranger(b"GET / HTTP/1.1\r\n\r\n").await.len(), 0);
    assert_eq!(heard_by_a_stranger(&wrong_proof[..36]).await.len(), nonce_only);
    assert_eq!(heard_by_a_stranger(&wrong_proof).await.len(), nonce_only + 2, "an empty message says no");
    wrong_proof.truncate(36);
    wrong_proof.extend([255, 255]);
    assert_eq!(heard_by_a_stranger(&wrong_proof).await.len(), nonce_only, "a length beyond the bound ends it");
}

#[tokio::test]
async fn an_end_that_reflects_what_it_hears_proves_nothing() {
    let (mut near, mut far) = tokio::io::duplex(65_536);
    let node = identity(1, "s", Some("c"));
    let connecting = async move { connect(&mut near, &node, &[7; 32], None).await };
    let reflecting = async move {
        let mut bytes = [0; 512];
        // The magic is for the accepting side only.
        far.read_exact(&mut bytes[..4]).await.expect("a magic");
        while let Ok(count @ 1..) = far.read(&mut bytes).await {
            if far.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    };
    let (connected, ()) = tokio::join!(connecting, reflecting);
    assert!(connected.is_err(), "{connected:?}");
}

#[tokio::test]
async fn a_greeting_that_was_changed_under_way_is_refused_whichever_byte_it_was() {
    // Magic and nonce, proof, then the greeting: length, protocol, node and the rest.
    let greeting = 36 + 34;
    for place in [2, 6, 7, 12, 20, 40].map(|place| greeting + place) {
        let (mut near, mut relayed_near) = tokio::io::duplex(65_536);
        let (relayed_far, mut far) = tokio::io::duplex(65_536);
        let (one, two) = (identity(1, "s", Some("c")), identity(2, "s", Some("c")));
        let connecting = async move { connect(&mut near, &one, &[7; 32], Some(2)).await };
        let accepting = async move { accept(&mut far, &two, &[7; 32]).await };
        let relaying = async move {
            let (mut from_far, mut to_far) = tokio::io::split(relayed_far);
            let (mut from_near, mut to_near) = tokio::io::split(&mut relayed_near);
            let up = async move {
                let mut seen = 0;
                while let Ok(mut byte) = from_near.read_u8().await {
                    byte ^= u8::from(seen == place);
                    seen += 1;
                    if to_far.write_u8(byte).await.is_err() {
                        break;
                    }
                }
                let _ = to_far.shutdown().await;
            };
            let down = async move {
                let _ = tokio::io::copy(&mut from_far, &mut to_near).await;
                let _ = to_near.shutdown().await;
            };
            tokio::join!(up, down);
        };
        let (connected, accepted, ()) = tokio::join!(connecting, accepting, relaying);
        assert!(connected.is_err() && accepted.is_err(), "byte {place}: {connected:?} {accepted:?}");
    }
}
