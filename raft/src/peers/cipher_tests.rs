//! The peer port over real sockets: what a listener on the wire, a relay and an injector get.

use std::sync::Arc;

use tidings_contract::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::cipher::Cipher;
use super::disks::DiskBook;
use super::handshake::{self, Identity, Met};
use super::refusals::{Reason, Turned};

fn node(number: u64) -> Identity {
    Identity::new(
        number,
        &Secret::new("a secret of the cluster"),
        Some("the-cluster-id".to_owned()),
        None,
        DiskBook::blank(number),
    )
}

fn cipher() -> Cipher {
    Cipher::new().expect("a certificate")
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    (listener, address)
}

/// Node 2 takes one connection, reads ten bytes from it and answers with what it read.
async fn node_two(listener: TcpListener) -> Result<Met, Turned> {
    let (stream, _) = listener.accept().await.expect("somebody connects");
    let (mut stream, binding) = cipher().accept(stream).await?;
    let met = handshake::accept(&mut stream, &node(2), &binding).await?;
    let mut said = [0; 10];
    if stream.read_exact(&mut said).await.is_ok() {
        stream.write_all(&said).await.expect("it listens");
        let _ = stream.flush().await;
    }
    Ok(met)
}

/// Node 1 connects to `address`, says `0123456789` and gives what comes back.
async fn node_one(address: String) -> std::io::Result<Vec<u8>> {
    let stream = TcpStream::connect(address).await?;
    let (mut stream, binding) = cipher().connect(stream).await?;
    handshake::connect(&mut stream, &node(1), &binding, Some(2)).await?;
    stream.write_all(b"0123456789").await?;
    stream.flush().await?;
    let mut heard = vec![0; 10];
    stream.read_exact(&mut heard).await?;
    Ok(heard)
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// What somebody on the wire does to a record of TLS that goes to the listening side, counted from 0.
#[derive(Clone, Copy, Debug)]
enum Meddling {
    Nothing,
    /// Sends this record twice.
    Again(usize),
    /// Sends one of its own before this record.
    Before(usize),
    /// Changes the last byte of this record.
    Bend(usize),
}

/// Passes records of TLS on; gives everything that was said in both directions, and how many records went up.
async fn on_the_wire(listener: TcpListener, to: String, meddling: Meddling) -> (Vec<u8>, usize) {
    let (near, _) = listener.accept().await.expect("somebody connects");
    let far = TcpStream::connect(to).await.expect("the node listens");
    let ((mut near_in, mut near_out), (mut far_in, mut far_out)) = (near.into_split(), far.into_split());
    let up = async move {
        let (mut seen, mut count): (Vec<u8>, usize) = (Vec::new(), 0);
        while let Some(mut record) = record(&mut near_in).await {
            seen.extend(&record);
            let sent = match meddling {
                Meddling::Again(at) if at == count => [record.clone(), record].concat(),
                Meddling::Before(at) if at == count => [own_record(), record].concat(),
                Meddling::Bend(at) if at == count => {
                    record.last_mut().into_iter().for_each(|byte| *byte ^= 1);
                    record
                }
                _ => record,
            };
            count += 1;
            if far_out.write_all(&sent).await.is_err() {
                break;
            }
        }
        (seen, count)
    };
    let down = async move {
        let mut seen: Vec<u8> = Vec::new();
        while let Some(record) = record(&mut far_in).await {
            seen.extend(&record);
            if near_out.write_all(&record).await.is_err() {
                break;
            }
        }
        seen
    };
    let ((mut seen, count), other) = tokio::join!(up, down);
    seen.extend(other);
    (seen, count)
}

/// One record: kind, version, length, and so many bytes (RFC 8446 §5.1).
async fn record(from: &mut (impl AsyncReadExt + Unpin)) -> Option<Vec<u8>> {
    let mut record = vec![0; 5];
    from.read_exact(&mut record).await.ok()?;
    let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
    record.resize(5 + length, 0);
    from.read_exact(&mut record[5..]).await.ok()?;
    Some(record)
}

/// A record that looks like ciphered data and carries a frame in the clear.
fn own_record() -> Vec<u8> {
    [&[23, 3, 3, 0, 32][..], &[0; 32]].concat()
}

#[tokio::test]
async fn who_listens_on_the_wire_reads_nothing_of_what_nodes_say() {
    let ((listener, address), (wire, tapped)) = (listen().await, listen().await);
    let (met, heard, (seen, _)) =
        tokio::join!(node_two(listener), node_one(tapped), on_the_wire(wire, address, Meddling::Nothing));
    assert_eq!((met.map(|met| met.node), heard.expect("answered")), (Ok(1), b"0123456789".to_vec()));
    assert!(seen.len() > 500, "the wire was tapped");
    for text in ["0123456789", "the-cluster-id", "a secret of the cluster", "tdg2"] {
        assert!(!contains(&seen, text), "{text} is on the wire");
    }
}

#[tokio::test]
async fn records_that_are_put_in_repeated_or_changed_break_the_connection_wherever_it_stands() {
    let ((listener, address), (wire, tapped)) = (listen().await, listen().await);
    let (_, heard, (_, records)) =
        tokio::join!(node_two(listener), node_one(tapped), on_the_wire(wire, address, Meddling::Nothing));
    assert!(heard.is_ok() && records >= 5, "{records} records: hello, finished, nonce, proof, greeting, data");
    // From the first ciphered one on: what stands before it is part of the handshake of TLS.
    for at in 2..records {
        for meddling in [Meddling::Again(at), Meddling::Before(at), Meddling::Bend(at)] {
            // What comes after the last thing that is read is not looked at.
            if at == records - 1 && matches!(meddling, Meddling::Again(_)) {
                continue;
            }
            let ((listener, address), (wire, tapped)) = (listen().await, listen().await);
            let (_, heard, _) =
                tokio::join!(node_two(listener), node_one(tapped), on_the_wire(wire, address, meddling));
            assert!(heard.is_err(), "{meddling:?} of {records}: {heard:?}");
        }
    }
}

#[tokio::test]
async fn a_relay_that_ends_the_cipher_on_both_sides_is_refused_by_both_nodes() {
    let ((listener, address), (between, relay)) = (listen().await, listen().await);
    let relaying = async move {
        let (near, _) = between.accept().await.expect("somebody connects");
        let (mut near, _) = cipher().accept(near).await.expect("TLS with the one side");
        let far = TcpStream::connect(address).await.expect("the node listens");
        let (mut far, _) = cipher().connect(far).await.expect("TLS with the other side");
        // Everything is passed on as it is.
        let _ = copy_bidirectional(&mut near, &mut far).await;
    };
    let (met, heard, ()) = tokio::join!(node_two(listener), node_one(relay), relaying);
    assert_eq!(met.map_err(|turned| turned.reason), Err(Reason::Secret));
    let why = heard.expect_err("refused").to_string();
    assert!(why.contains("secret"), "{why}");
}

#[tokio::test]
async fn whoever_speaks_no_tls_hears_nothing_and_an_older_node_is_called_one() {
    for (said, why) in [
        (&b"tdg1\0\x10aaaaaaaaaaaaaaaa"[..], "older version"),
        (b"tdg2aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "does not speak TLS"),
        (b"GET / HTTP/1.1\r\n\r\n", "does not speak TLS"),
    ] {
        let (listener, address) = listen().await;
        let asking = async {
            let mut stream = TcpStream::connect(&address).await.expect("a connection");
            stream.write_all(said).await.expect("taken");
            let mut heard = Vec::new();
            // A reset is as good as an end.
            let _ = stream.read_to_end(&mut heard).await;
            heard
        };
        let (met, heard) = tokio::join!(node_two(listener), asking);
        let turned = met.expect_err("refused");
        assert!(turned.reason == Reason::Protocol && turned.why.contains(why), "{turned:?}");
        assert_eq!(heard, b"");
    }
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    let (listener, address) = listen().await;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let old = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .expect("a version")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let asking = async {
        let stream = TcpStream::connect(&address).await.expect("a connection");
        let name = "node".try_into().expect("a name");
        tokio_rustls::TlsConnector::from(Arc::new(old)).connect(name, stream).await.map(drop)
    };
    let (met, asked) = tokio::join!(node_two(listener), asking);
    assert_eq!(met.map_err(|turned| turned.reason), Err(Reason::Protocol));
    assert!(asked.is_err());
}

#[tokio::test]
async fn a_connection_that_was_given_up_before_it_was_taken_counts_for_nothing() {
    let (listener, address) = listen().await;
    let mut stream = TcpStream::connect(&address).await.expect("a connection");
    // The beginning of a TLS record, and the end: as a peer leaves it that waited for a frozen node.
    stream.write_all(&[22, 3, 1, 0, 100]).await.expect("taken");
    drop(stream);
    // The end has arrived: whoever connects afterwards is behind it.
    drop(TcpStream::connect(&address).await.expect("another one"));
    let turned = node_two(listener).await.expect_err("refused");
    assert_eq!(turned.reason, Reason::Silent, "{turned:?}");
    assert_eq!(turned.reason.longest_wait(), None);
}
