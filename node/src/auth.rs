//! Who asks, and whether they may: bearer key → hash → key in control.

use std::net::Ipv4Addr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, header};
use subtle::ConstantTimeEq;
use tidings_machine::control::{Control, Role};

use crate::app::{App, Shared};
use crate::bearer;
use crate::problem::{Code, Problem};
use crate::sign_ins::{Origin, Tried};

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
                app.caller(parts, $role).await.map(Self)
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
    /// The caller behind a request, if they may do what `least` may.
    ///
    /// The hash of the key is looked up in an ordered map. That leaks at most how much of a *hash* matches, which does
    /// not bring anyone nearer to a key, so no constant-time comparison is needed. A key that is known here is never
    /// slowed, whatever others behind the same address do; one that is not has to be asked for elsewhere, and only as often
    /// as [`SignIns`](crate::sign_ins::SignIns) allows.
    pub(crate) async fn caller(&self, parts: &Parts, least: Role) -> Result<Caller, Problem> {
        let caller = self.signed_in(&parts.headers, origin(&parts.extensions)).await?;
        if caller.role < least {
            return Err(Problem::new(Code::Forbidden, format!("this needs the role {}", role_name(least))));
        }
        Ok(caller)
    }

    async fn signed_in(&self, headers: &HeaderMap, from: Origin) -> Result<Caller, Problem> {
        let key = bearer_text(headers)
            .ok_or_else(|| Problem::new(Code::Unauthorized, "there is no Authorization: Bearer <key>"))?;
        let per_minute = self.limits().failed_sign_ins_per_minute;
        let failed = |words: &str| {
            self.sign_ins.failed(from, Tried::Key, per_minute);
            Problem::new(Code::Unauthorized, words)
        };
        if !bearer::is_key(key) {
            self.sign_ins.admit(from, Tried::Key, per_minute)?;
            return Err(failed("that does not look like an API key"));
        }
        let hash = bearer::hash(key);
        let looked = self.ledger.control(|c| look_up(c, &hash));
        if matches!(looked, Looked::NotFounded) {
            return Err(not_founded());
        }
        if matches!(looked, Looked::Missing) {
            self.sign_ins.admit(from, Tried::Key, per_minute)?;
        }
        self.believes_control().await?;
        // A copy that had to be made fresh for this may know more, or less, than before.
        if let Looked::Found(caller) = self.ledger.control(|c| look_up(c, &hash)) {
            return Ok(caller);
        }
        // The key may have been made on another node a moment ago.
        self.fresh_control_soon().await?;
        match self.ledger.control(|c| look_up(c, &hash)) {
            Looked::Found(caller) => Ok(caller),
            Looked::Missing => Err(failed("the key is unknown or revoked")),
            Looked::NotFounded => Err(not_founded()),
        }
    }

    /// Whether the bearer is the cluster's secret.
    ///
    /// # Errors
    /// `unauthorized`, and `too_many_sign_ins` for anybody whose address failed too often, also with the right secret: a
    /// person may have made it up, and who may try as often as they like finds it.
    pub(crate) fn knows_the_secret(&self, headers: &HeaderMap, from: Origin) -> Result<(), Problem> {
        let per_minute = self.limits().failed_sign_ins_per_minute;
        self.sign_ins.admit(from, Tried::Secret, per_minute)?;
        let given = bearer_text(headers).unwrap_or("");
        // The secret is compared itself, not its hash, so the time must not tell how much of it was right.
        if bool::from(given.as_bytes().ct_eq(self.founding.secret.expose().as_bytes())) {
            return Ok(());
        }
        self.sign_ins.failed(from, Tried::Secret, per_minute);
        Err(Problem::new(Code::Unauthorized, "the bearer must be the secret of the cluster"))
    }
}

/// Where a request came from. One that came over no connection, in a test, is from nowhere.
pub(crate) fn origin(extensions: &Extensions) -> Origin {
    extensions.get().copied().unwrap_or(Origin(Ipv4Addr::UNSPECIFIED.into()))
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
