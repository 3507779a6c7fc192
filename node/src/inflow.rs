//! Bodies on their way in: bounded in size, time and pace, and paid for out of a budget before they are read.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderMap;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use crate::app::App;
use crate::bodies::{Claims, Share, declared};
use crate::problem::{Code, Problem};

/// In each such time a body must bring [`LEAST`], or end.
const BEAT: Duration = Duration::from_secs(5);
/// Fewest bytes of a body in [`BEAT`].
const LEAST: usize = 1_024;
/// What is claimed at once for a body whose length is not known, or not believed, in bytes.
const STEP: usize = 16 * 1024;

/// A body that is being read.
pub(crate) struct Inflow<'a> {
    app: &'a App,
    body: Body,
    share: Share,
    claims: Claims,
    limit: usize,
    within: Duration,
    ends: Instant,
    claimed: usize,
    arrived: usize,
    beat: Instant,
    in_beat: usize,
}

impl<'a> Inflow<'a> {
    /// Begins to read a body of at most `limit` bytes, which may take `within`. A caller with a key pays for what the head
    /// declares at once, so that it is refused before it has sent anything; a stranger pays for what really came.
    ///
    /// # Errors
    /// `body_too_large` by what the head declares, or `busy`. Nothing was read.
    pub(crate) fn begin(
        app: &'a App,
        request: Request,
        limit: usize,
        within: Duration,
        share: Share,
    ) -> Result<Self, Problem> {
        let declared = declared(request.headers());
        if declared.is_some_and(|bytes| bytes > limit) {
            return Err(too_large(limit));
        }
        let claims = claims_of(&request);
        let claimed = match share {
            Share::Callers => declared.unwrap_or(0),
            Share::Strangers => declared.unwrap_or(STEP).min(STEP),
        };
        app.bodies.claim(share, claimed, &claims)?;
        let now = Instant::now();
        let body = request.into_body();
        let ends = now + within;
        Ok(Self { app, body, share, claims, limit, within, ends, claimed, arrived: 0, beat: now + BEAT, in_beat: 0 })
    }

    /// The next bytes; nothing at the end.
    ///
    /// # Errors
    /// `body_too_large`, `slow_body`, `busy`, or `bad_json` when the body breaks off.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let frame = match timeout_at(self.ends.min(self.beat), self.body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => {
                    return Err(Problem::new(Code::BadJson, format!("the body broke off: {error}")));
                }
                Ok(None) => return Ok(None),
                Err(_) => {
                    self.keep_pace()?;
                    continue;
                }
            };
            let Ok(bytes) = frame.into_data() else { continue };
            self.arrived = self.arrived.saturating_add(bytes.len());
            self.in_beat = self.in_beat.saturating_add(bytes.len());
            if self.arrived > self.limit {
                return Err(too_large(self.limit));
            }
            self.pay()?;
            return Ok(Some(bytes));
        }
    }

    /// Asks whether the body came fast enough, when a beat or the whole time is over.
    fn keep_pace(&mut self) -> Result<(), Problem> {
        let now = Instant::now();
        if now >= self.ends {
            let seconds = self.within.as_secs_f64();
            return Err(Problem::new(Code::SlowBody, format!("the body took longer than {seconds} s")));
        }
        if self.in_beat < LEAST {
            let words = format!("less than {LEAST} bytes of the body came in {} s", BEAT.as_secs());
            return Err(Problem::new(Code::SlowBody, words));
        }
        (self.beat, self.in_beat) = (now + BEAT, 0);
        Ok(())
    }

    fn pay(&mut self) -> Result<(), Problem> {
        while self.claimed < self.arrived {
            let step = STEP.max(self.arrived - self.claimed);
            self.app.bodies.claim(self.share, step, &self.claims)?;
            self.claimed += step;
        }
        Ok(())
    }
}

fn too_large(limit: usize) -> Problem {
    Problem::new(Code::BodyTooLarge, format!("the body is larger than {limit} bytes"))
}

/// What a request has claimed, kept by its connection until the answer is out.
pub(crate) fn claims_of(request: &Request) -> Claims {
    request.extensions().get::<Claims>().cloned().unwrap_or_default()
}

/// The bytes of a body, if it is no larger than `limit` and comes in time.
///
/// # Errors
/// `body_too_large`, `slow_body`, `busy`, or `bad_json` when it breaks off.
pub(crate) async fn arrive(app: &App, request: Request, limit: usize, share: Share) -> Result<Bytes, Problem> {
    let room = room(request.headers(), limit, share);
    let mut inflow = Inflow::begin(app, request, limit, app.limits().body_within, share)?;
    let Some(first) = inflow.next().await? else { return Ok(Bytes::new()) };
    if first.len() >= room {
        // Most bodies come at once, and need not be copied.
        match inflow.next().await? {
            None => return Ok(first),
            Some(second) => return gather(inflow, [first, second], room).await,
        }
    }
    gather(inflow, [first, Bytes::new()], room).await
}

/// How much room a body is given from the beginning.
fn room(headers: &HeaderMap, limit: usize, share: Share) -> usize {
    let declared = declared(headers).unwrap_or(0).min(limit);
    if share == Share::Callers { declared } else { declared.min(STEP) }
}

async fn gather(mut inflow: Inflow<'_>, first: [Bytes; 2], room: usize) -> Result<Bytes, Problem> {
    let mut all = BytesMut::with_capacity(room.max(first[0].len() + first[1].len()));
    first.iter().for_each(|bytes| all.extend_from_slice(bytes));
    while let Some(bytes) = inflow.next().await? {
        all.extend_from_slice(&bytes);
    }
    Ok(all.freeze())
}
