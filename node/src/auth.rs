//! Who asks, and whether they may: bearer key → hash → key in control.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use tidings_machine::control::{Control, Role};

use crate::app::{App, Shared};
use crate::bearer;
use crate::problem::{Code, Problem};

/// The API key that asks.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Its id.
    pub key_id: String,
    /// What it may do.
    pub role: Role,
}

/// Any valid key.
#[derive(Debug)]
pub(crate) struct Viewer(#[expect(dead_code, reason = "whoever looks leaves no mark")] pub Caller);

/// A key that may send.
#[derive(Debug)]
pub(crate) struct Sender(pub Caller);

/// A key that may do everything.
#[derive(Debug)]
pub(crate) struct Admin(pub Caller);

macro_rules! extracts {
    ($type:ident, $role:expr) => {
        impl FromRequestParts<Shared> for $type {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Problem> {
                app.caller(&parts.headers, $role).await.map(Self)
            }
        }
    };
}

extracts!(Viewer, Role::Viewer);
extracts!(Sender, Role::Sender);
extracts!(Admin, Role::Admin);

/// The text after `Bearer`, if the header is there and of that form.
pub(crate) fn bearer_text(headers: &HeaderMap) -> Option<&str> {
    let (scheme, text) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(text.trim())
}

impl App {
    /// The caller behind `headers`, if they may do what `least` may.
    ///
    /// The hash of the key is looked up in an ordered map. That leaks at most how much of a *hash* matches, which does
    /// not bring anyone nearer to a key, so no constant-time comparison is needed.
    pub(crate) async fn caller(&self, headers: &HeaderMap, least: Role) -> Result<Caller, Problem> {
        let key = bearer_text(headers)
            .ok_or_else(|| Problem::new(Code::Unauthorized, "there is no Authorization: Bearer <key>"))?;
        if !bearer::is_key(key) {
            return Err(Problem::new(Code::Unauthorized, "that does not look like an API key"));
        }
        let hash = bearer::hash(key);
        let caller = match self.ledger.control(|c| look_up(c, &hash)) {
            Looked::Found(caller) => caller,
            // The key may have been made on another node a moment ago.
            Looked::Missing => {
                self.fresh_control().await?;
                match self.ledger.control(|c| look_up(c, &hash)) {
                    Looked::Found(caller) => caller,
                    Looked::Missing => return Err(Problem::new(Code::Unauthorized, "the key is unknown or revoked")),
                    Looked::NotFounded => return Err(not_founded()),
                }
            }
            Looked::NotFounded => return Err(not_founded()),
        };
        if caller.role < least {
            return Err(Problem::new(Code::Forbidden, format!("this needs the role {}", role_name(least))));
        }
        Ok(caller)
    }
}

enum Looked {
    Found(Caller),
    Missing,
    NotFounded,
}

fn look_up(control: &Control, hash: &[u8; 32]) -> Looked {
    if control.cluster.is_none() {
        return Looked::NotFounded;
    }
    let Some(id) = control.key_hashes.get(hash) else { return Looked::Missing };
    match control.keys.get(id) {
        Some(key) if key.revoked_at.is_none() => Looked::Found(Caller { key_id: id.clone(), role: key.role }),
        _ => Looked::Missing,
    }
}

/// The name of a role in the API.
pub(crate) const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Sender => "sender",
        Role::Admin => "admin",
    }
}

pub(crate) fn not_founded() -> Problem {
    Problem::new(Code::NotFounded, "this node is of no cluster yet")
}
