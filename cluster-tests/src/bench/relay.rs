//! The bare relay: axum in, a channel, 64 senders with the HTTP client that Tidings sends with. It keeps nothing.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};

use crate::{Proof, When};

/// Calls at once, as many as a node's pool has by default.
const SENDERS: usize = 64;
/// Requests that may wait.
const QUEUE: usize = 65_536;

/// The same body that a node takes, so that the same load generator drives both.
#[derive(Deserialize)]
struct Message {
    to: Vec<Recipient>,
}

#[derive(Deserialize)]
struct Recipient {
    to: String,
    variables: Variables,
}

#[derive(Deserialize)]
struct Variables {
    n: String,
}

/// Takes messages on `listener` and posts each to its recipient, for ever.
///
/// # Errors
/// When the listener breaks or the client cannot be made.
pub async fn serve(listener: TcpListener) -> Proof {
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .when("setting up TLS")?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .http1_only()
        .no_proxy()
        .tcp_nodelay(true)
        .pool_max_idle_per_host(SENDERS)
        .build()
        .when("making the HTTP client")?;
    let (send, waiting) = mpsc::channel(QUEUE);
    let waiting = Arc::new(Mutex::new(waiting));
    for sender in 0..SENDERS {
        tokio::spawn(relay(client.clone(), Arc::clone(&waiting), sender));
    }
    let app = Router::new().route("/v1/messages", post(take)).with_state(send);
    axum::serve(listener, app).await.when("serving")
}

async fn take(State(send): State<mpsc::Sender<Recipient>>, body: axum::body::Bytes) -> (StatusCode, String) {
    let Ok(message) = serde_json::from_slice::<Message>(&body) else {
        return (StatusCode::BAD_REQUEST, String::new());
    };
    let mut answer = String::from("{\"message_id\":\"msg_0\",\"deliveries\":[");
    for (index, recipient) in message.to.into_iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        answer.push_str(&format!("{comma}{{\"id\":\"dlv_{}\",\"index\":{index}}}", recipient.variables.n));
        if send.send(recipient).await.is_err() {
            return (StatusCode::SERVICE_UNAVAILABLE, String::new());
        }
    }
    answer.push_str("],\"rejected\":[]}");
    (StatusCode::ACCEPTED, answer)
}

async fn relay(client: reqwest::Client, waiting: Arc<Mutex<mpsc::Receiver<Recipient>>>, sender: usize) {
    let mut turn = 0u64;
    loop {
        let Some(recipient) = waiting.lock().await.recv().await else { return };
        turn += 1;
        let request = client
            .post(&recipient.to)
            .header("content-type", "application/json")
            .header("webhook-id", format!("relay_{sender}_{turn}"))
            .body(format!("{{\"n\":\"{}\"}}", recipient.variables.n));
        // The relay keeps nothing: a call that fails is gone, and the receiver's count shows it.
        if let Ok(response) = request.send().await {
            let _drained = response.bytes().await;
        }
    }
}
