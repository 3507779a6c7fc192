//! Routes: weighted and ordered accounts of a channel, versioned like templates.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidings_contract::{MessageType, Time};

use crate::partition::{CodeRule, Wishes};

/// What an operator writes; checked at the edge before it is proposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteSpec {
    /// The channel.
    pub channel: String,
    /// What its messages are for; none for all.
    pub message_types: Vec<MessageType>,
    /// The accounts.
    pub accounts: Vec<RouteAccount>,
    /// What to do about which error codes.
    pub rules: Vec<CodeRule>,
    /// What it says about delivering.
    pub wishes: Wishes,
    /// Another route of the channel, whose accounts are used when none of these can be.
    pub fallback: Option<String>,
    /// What it is for, for people.
    pub description: String,
}

/// An account of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteAccount {
    /// The account.
    pub account: String,
    /// Its share among the accounts of its tier; 1 by default, 0 for none at present.
    #[serde(default = "one")]
    pub weight: u32,
    /// A tier is used when no account of the tiers before it can be; 0 by default.
    #[serde(default)]
    pub tier: u8,
}

const fn one() -> u32 {
    1
}

/// One version of a route. Never changed, so that an event can name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteVersion {
    /// Counted from 1, also over a deletion.
    pub version: u32,
    /// What was written.
    pub spec: RouteSpec,
    /// When.
    pub created_at: Time,
    /// By which API key.
    pub created_by: String,
}

/// A route: its versions under one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The newest version.
    pub latest: u32,
    /// The versions kept: the newest ones, at most [`Route::VERSIONS_KEPT`].
    pub versions: BTreeMap<u32, Arc<RouteVersion>>,
    /// A deleted route takes no new messages; its versions stay, because events name them.
    pub deleted: bool,
}

impl Route {
    /// How many versions are kept.
    pub const VERSIONS_KEPT: usize = 20;

    /// The newest version, unless the route was deleted.
    pub fn current(&self) -> Option<&Arc<RouteVersion>> {
        if self.deleted { None } else { self.versions.get(&self.latest) }
    }
}

/// All routes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routes {
    /// The routes, by name, the deleted ones included.
    pub named: BTreeMap<String, Route>,
}

impl Routes {
    /// Most routes, the deleted ones included.
    pub const MOST: usize = 1_000;
    /// Most accounts of a route.
    pub const MOST_ACCOUNTS: usize = 16;
    /// Most rules of a route.
    pub const MOST_RULES: usize = 32;
    /// Longest chain of fallbacks, of routes and of templates, the first one included.
    pub const LONGEST_CHAIN: usize = 4;

    /// The newest version of a route in use.
    pub fn current(&self, name: &str) -> Option<&Arc<RouteVersion>> {
        self.named.get(name)?.current()
    }

    /// The routes in use, in the order of their names.
    pub fn in_use(&self) -> impl Iterator<Item = (&String, &Arc<RouteVersion>)> {
        self.named.iter().filter_map(|(name, route)| Some((name, route.current()?)))
    }

    /// A route in use that names the account.
    pub fn using_account(&self, account: &str) -> Option<&str> {
        let mut using = self.in_use().filter(|(_, route)| route.spec.accounts.iter().any(|one| one.account == account));
        using.next().map(|(name, _)| name.as_str())
    }

    /// The route and those behind it, in order; at most [`Self::LONGEST_CHAIN`].
    pub fn chain(&self, name: &str) -> Vec<(&str, &Arc<RouteVersion>)> {
        let mut chain = Vec::new();
        let mut next = self.named.get_key_value(name);
        while let Some((name, route)) = next.and_then(|(name, route)| Some((name, route.current()?))) {
            chain.push((name.as_str(), route));
            if chain.len() == Self::LONGEST_CHAIN {
                break;
            }
            next = route.spec.fallback.as_ref().and_then(|name| self.named.get_key_value(name));
        }
        chain
    }
}
