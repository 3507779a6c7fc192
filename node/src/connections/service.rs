//! One request of one connection: who may ask what, what it claims, and how its answer goes out.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, header};
use axum::response::IntoResponse;
use hyper::body::{Body as HttpBody, Incoming};
use hyper::service::Service;
use tower::ServiceExt;

use super::paced::{Paced, Turn};
use super::places::{Class, Place};
use crate::bodies::{Bodies, Claims};
use crate::problem::{Code, Problem};
use crate::sign_ins::Origin;
use crate::turning_away::WATCHED;

/// Answers that are shorter count as nothing, in bytes: there are as many as there are requests under way.
const SMALL: u64 = 64 * 1024;

/// What serves the requests of one connection.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    pub(super) router: Router,
    pub(super) place: Arc<Place>,
    pub(super) bodies: Arc<Bodies>,
    pub(super) from: SocketAddr,
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<Paced>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Paced>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.place.spoke();
        let turn = Turn::begin(&self.place.pulse, request.version());
        let this = self.clone();
        Box::pin(async move { Ok(this.answer(request, turn).await) })
    }
}

impl Requests {
    async fn answer(self, request: Request<Incoming>, turn: Turn) -> Response<Paced> {
        let claims = Claims::default();
        let short = self.place.class == Class::Short;
        let mut response = if short && !WATCHED.contains(&request.uri().path()) {
            let words = "this node has as many connections as it may, or as many from your address";
            Problem::new(Code::Busy, words).into_response()
        } else {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(claims.clone());
            request.extensions_mut().insert(Origin(self.from.ip()));
            match self.router.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        };
        if short {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let length = response.body().size_hint().lower();
        let mut room = None;
        if length > SMALL {
            room = self.bodies.room_for_answer(length);
            if room.is_none() {
                let words = "as many large answers wait to be read as this node holds";
                response = Problem::new(Code::Busy, words).into_response();
            }
        }
        response.map(|body| Paced::new(body, turn, room, claims))
    }
}
