//! A receiver with moods: it takes, refuses the first, or takes and breaks off, as the recipient's path says, and keeps a log.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::{Proof, When};

/// What a recipient does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Takes everything.
    Takes,
    /// Refuses the first delivery for good, and takes the others.
    RefusesFirst,
    /// Takes everything and breaks off without an answer: nobody can tell.
    BreaksOff,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Taken, and said so.
    Taken,
    /// Refused for good.
    Refused,
    /// Taken, and not said so.
    BrokenOff,
}

/// One call as it came.
#[derive(Clone, Debug)]
pub struct Call {
    /// When.
    pub at: Instant,
    /// The recipient: the whole URL.
    pub to: String,
    /// The delivery's id.
    pub id: String,
    /// What became of it.
    pub deed: Deed,
}

/// The running receiver. It stops when this is dropped.
#[derive(Debug)]
pub struct Moody {
    base: String,
    log: Arc<Mutex<Vec<Call>>>,
    serving: AbortHandle,
}

impl Mood {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Takes, "/takes/"), (Self::RefusesFirst, "/refuses-first/"), (Self::BreaksOff, "/breaks-off/")];

    /// The mood of a recipient, if it is one of ours.
    pub fn of(to: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, path)| to.contains(path)).map(|(mood, _)| *mood)
    }

    fn deed(self, to: &str, id: &str, log: &[Call]) -> Deed {
        match self {
            Self::Takes => Deed::Taken,
            Self::BreaksOff => Deed::BrokenOff,
            Self::RefusesFirst => {
                let first = log.iter().find(|call| call.to == to);
                if first.is_none_or(|first| first.id == id) { Deed::Refused } else { Deed::Taken }
            }
        }
    }
}

impl Deed {
    /// Whether the recipient has it.
    pub fn takes(self) -> bool {
        self != Self::Refused
    }
}

impl Moody {
    /// Starts one.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start() -> Proof<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.when("binding the receiver")?;
        let base = format!("http://{}", listener.local_addr().when("binding the receiver")?);
        let log = Arc::new(Mutex::new(Vec::new()));
        let serving = tokio::spawn(serve(listener, base.clone(), Arc::clone(&log))).abort_handle();
        Ok(Self { base, log, serving })
    }

    /// Where recipient number `n` of that mood receives.
    pub fn url(&self, mood: Mood, n: u64) -> String {
        let path = Mood::ALL.iter().find(|(one, _)| *one == mood).map_or("/", |(_, path)| path);
        format!("{}{path}{n}", self.base)
    }

    /// All calls so far, in order.
    pub fn log(&self) -> Vec<Call> {
        self.log.lock().clone()
    }
}

impl Drop for Moody {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, base: String, log: Arc<Mutex<Vec<Call>>>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _slower = stream.set_nodelay(true);
        let (base, log) = (base.clone(), Arc::clone(&log));
        tokio::spawn(async move {
            let service = service_fn(|request| take(request, &base, &log));
            // An error of the service ends the connection without an answer, which is one of the moods.
            let _broken =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn take(request: Request<Incoming>, base: &str, log: &Mutex<Vec<Call>>) -> io::Result<Response<Full<Bytes>>> {
    let (parts, body) = request.into_parts();
    // What was not read to its end was not taken; the caller sees a broken connection either way.
    body.collect().await.map_err(|_| io::ErrorKind::UnexpectedEof)?;
    let to = format!("{base}{}", parts.uri.path());
    let id = parts.headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    let deed = note(to, id, log);
    let status = match deed {
        Some(Deed::Taken) => StatusCode::NO_CONTENT,
        Some(Deed::Refused) => StatusCode::GONE,
        Some(Deed::BrokenOff) => return Err(io::ErrorKind::ConnectionReset.into()),
        None => StatusCode::NOT_FOUND,
    };
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    Ok(response)
}

fn note(to: String, id: String, log: &Mutex<Vec<Call>>) -> Option<Deed> {
    let mut log = log.lock();
    let deed = Mood::of(&to)?.deed(&to, &id, &log);
    log.push(Call { at: Instant::now(), to, id, deed });
    Some(deed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_delivery_is_refused_and_its_copies_with_it() {
        let log = Mutex::new(Vec::new());
        let deeds = ["a", "b", "a", "c"].map(|id| note("http://h/refuses-first/1".to_owned(), id.to_owned(), &log));
        assert_eq!(deeds, [Deed::Refused, Deed::Taken, Deed::Refused, Deed::Taken].map(Some));
        assert_eq!(note("http://h/refuses-first/2".to_owned(), "d".to_owned(), &log), Some(Deed::Refused));
        assert_eq!(note("http://h/elsewhere".to_owned(), "e".to_owned(), &log), None);
    }
}
