//! Which ways a template's messages may go: its account or route, its fallback templates, and how each is delivered. Made
//! once for each version and each state of control.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use tidings_contract::RecipientKind;
use tidings_machine::control::{Control, RouteVersion, Routes};
use tidings_machine::partition::{Leg, OnUnknown, Own, RetryPolicy, RetryWishes, RouteRef, Way, WayAccount, Wishes};

use super::Compiled;
use crate::app::App;
use crate::delivering::{Layer, Layers};
use crate::policies::{InForce, Rule};
use crate::problem::Problem;

/// Most templates whose ways are kept; when there are more, all are dropped and the used ones come back.
const KEPT: usize = 4_096;

/// The ways of a template's messages.
#[derive(Debug)]
pub(crate) struct Ways {
    /// When the first leg is tried again.
    pub retry: RetryPolicy,
    /// What to do about unknown outcomes: to stop, if the template of any leg says so.
    pub on_unknown: OnUnknown,
    /// How long a message is worth sending.
    pub expires_after_ms: Option<u64>,
    /// The accounts of the first leg.
    pub way: Arc<Way>,
    /// The further legs.
    pub legs: Vec<Arc<Leg>>,
    /// Their templates.
    pub further: Vec<Arc<Compiled>>,
}

/// The ways that were made last, by template.
#[derive(Debug, Default)]
pub(crate) struct KnownWays(RwLock<BTreeMap<String, Made>>);

/// The version of a template, the state of control, the ways.
type Made = (u32, u64, Arc<Ways>);

impl KnownWays {
    /// Forgets all of them: what they were made of has changed beside control.
    pub(crate) fn forget(&self) {
        self.0.write().clear();
    }
}

impl App {
    /// What the configuration says about delivering.
    fn config_layer(&self) -> Wishes {
        self.limits().delivery
    }

    /// The ways of a template's messages, as control has them at this moment.
    ///
    /// # Errors
    /// When a fallback template does not compile, which it did when it was written.
    pub(crate) fn ways(&self, compiled: &Compiled) -> Result<Arc<Ways>, Problem> {
        let (version, state) = (compiled.version.version, self.ledger.control_state());
        if let Some((_, _, known)) =
            self.known_ways.0.read().get(&compiled.name).filter(|known| (known.0, known.1) == (version, state))
        {
            return Ok(Arc::clone(known));
        }
        let ways = Arc::new(self.make_ways(compiled)?);
        let mut known = self.known_ways.0.write();
        if known.len() >= KEPT && !known.contains_key(&compiled.name) {
            known.clear();
        }
        known.insert(compiled.name.clone(), (version, state, Arc::clone(&ways)));
        Ok(ways)
    }

    fn make_ways(&self, compiled: &Compiled) -> Result<Ways, Problem> {
        let mut further = Vec::new();
        let mut next = compiled.version.spec.fallback.clone();
        while let Some(name) = next.filter(|_| further.len() + 1 < Routes::LONGEST_CHAIN) {
            let current = self.ledger.control(|c| c.templates.get(&name).and_then(|one| one.current().cloned()));
            let Some(current) = current else { break };
            let one = self.template_version(&name, current.version)?;
            next = one.version.spec.fallback.clone();
            further.push(one);
        }
        let (first, way) = self.way(compiled);
        let leg = |one: &Arc<Compiled>| {
            let (layers, way) = self.way(one);
            let (template, channel) = (one.name.clone(), one.version.spec.channel.clone());
            Arc::new(Leg { template, version: one.version.version, channel, way, retry: layers.retry() })
        };
        let legs = further.iter().map(leg).collect();
        let stops = |one: &Compiled| one.version.spec.on_unknown == OnUnknown::Stop;
        let stop = stops(compiled) || further.iter().any(|one| stops(one));
        Ok(Ways {
            retry: first.retry(),
            on_unknown: if stop { OnUnknown::Stop } else { OnUnknown::Retry },
            expires_after_ms: first.expires_after_ms(),
            way: Arc::new(way),
            legs,
            further,
        })
    }

    /// The accounts of one template with how each is called, and the layers that hold for all of them.
    fn way(&self, compiled: &Compiled) -> (Layers, Way) {
        let policies = self.policies();
        let config = self.config_layer();
        self.ledger.control(|control| {
            let route = compiled.version.spec.route.as_deref();
            let chain = route.map(|route| control.routes.chain(route)).unwrap_or_default();
            let single = compiled.version.spec.account.as_deref();
            let layers = layers(control, &policies, config, compiled, chain.first().copied(), single);
            let channel = compiled.version.spec.channel.as_str();
            let of = |account: &str, route| {
                self::layers(control, &policies, config, compiled, route, Some(account)).call(channel)
            };
            let mut way = Way {
                route: chain.first().map(|(name, one)| RouteRef { name: (*name).to_owned(), version: one.version }),
                rules: chain.first().map(|(_, one)| one.spec.rules.clone()).unwrap_or_default(),
                attempts_per_account: layers.attempts_per_account(),
                call: layers.call(channel),
                accounts: Vec::new(),
            };
            if let Some(account) = single {
                let call = of(account, None);
                way.accounts.push(WayAccount { account: account.to_owned(), weight: 1, tier: 0, call });
            }
            let mut tiers: u8 = 0;
            for (name, route) in chain {
                let last = route.spec.accounts.iter().map(|one| one.tier).max().unwrap_or_default();
                for one in &route.spec.accounts {
                    // An account that stands in a route before is tried there.
                    if way.index(&one.account).is_none() {
                        let (account, call) = (one.account.clone(), of(&one.account, Some((name, route))));
                        let tier = one.tier.saturating_add(tiers);
                        way.accounts.push(WayAccount { account, weight: one.weight, tier, call });
                    }
                }
                tiers = tiers.saturating_add(last).saturating_add(1);
            }
            (layers, way)
        })
    }

    /// What the accounts say that a recipient is itself, on the legs to robots.
    pub(crate) fn own(&self, first: &Compiled, ways: &Ways, (to, further): (&str, &[Option<String>])) -> Vec<Own> {
        let addresses = std::iter::once(Some(to)).chain(further.iter().map(Option::as_deref));
        let templates = std::iter::once(first).chain(ways.further.iter().map(AsRef::as_ref));
        let own = |(leg, (template, address)): (u8, (&Compiled, Option<&str>))| {
            let account = address.filter(|_| template.channel.recipient == RecipientKind::Account)?;
            let says =
                self.ledger.control(|c| c.accounts.get(account).is_some_and(|one| one.wishes != Wishes::default()));
            let layers = says.then(|| self.layers(template, Some(account)))?;
            Some(Own { leg, call: layers.call(&template.version.spec.channel), retry: layers.retry() })
        };
        (0..).zip(templates.zip(addresses)).filter_map(own).collect()
    }

    /// The layers of a template, for `account` or for the account it names itself.
    pub(crate) fn layers(&self, compiled: &Compiled, account: Option<&str>) -> Layers {
        let (policies, config) = (self.policies(), self.config_layer());
        self.ledger.control(|control| {
            let route = compiled.version.spec.route.as_deref().map(|route| control.routes.chain(route));
            let route = route.and_then(|chain| chain.first().copied());
            let account = account.or(compiled.version.spec.account.as_deref());
            layers(control, &policies, config, compiled, route, account)
        })
    }
}

fn layers(
    control: &Control,
    policies: &InForce,
    config: Wishes,
    compiled: &Compiled,
    route: Option<(&str, &Arc<RouteVersion>)>,
    account: Option<&str>,
) -> Layers {
    let spec = &compiled.version.spec;
    let mut layers = vec![Layer { from: "config".to_owned(), wishes: config }];
    for policy in policies.select(&spec.channel, spec.message_type, &compiled.name, &[]) {
        if let Rule::Delivery(wishes) = &policy.rule {
            layers.push(Layer { from: policy.title.clone(), wishes: **wishes });
        }
    }
    if let Some((name, route)) = route {
        layers.push(Layer { from: format!("route {name}@{}", route.version), wishes: route.spec.wishes });
    }
    if let Some((name, account)) = account.and_then(|name| control.accounts.get_key_value(name)) {
        layers.push(Layer { from: format!("account {name}"), wishes: account.wishes });
    }
    let retry = spec.retry;
    let older = Wishes {
        // A template of an older program says all of it.
        retry: RetryWishes {
            max_attempts: Some(retry.max_attempts),
            first_ms: Some(retry.first_ms),
            longest_ms: Some(retry.longest_ms),
            give_up_after_ms: Some(retry.give_up_after_ms),
        },
        ..Wishes::default()
    };
    let own = Wishes { expires_after_ms: spec.expires_after_ms, ..spec.wishes.unwrap_or(older) };
    layers.push(Layer { from: format!("template {}@{}", compiled.name, compiled.version.version), wishes: own });
    Layers(layers)
}

/// The addresses of a recipient for the further legs: given by channel, or the first one where the channel is the same.
///
/// # Errors
/// Why the recipient cannot be sent to, as code and detail.
pub(super) fn addresses(
    app: &App,
    ways: &Ways,
    first: (&str, &str),
    given: &BTreeMap<String, String>,
    mut missing: impl FnMut(&Compiled) -> Vec<String>,
) -> Result<Vec<Option<String>>, (&'static str, String)> {
    if let Some(other) = given.keys().find(|name| ways.further.iter().all(|one| one.channel.name != name.as_str())) {
        return Err(("invalid_recipient", format!("fallback.{other} is no channel that the template falls back to")));
    }
    let mut addresses = Vec::with_capacity(ways.further.len());
    for one in &ways.further {
        let name = one.channel.name;
        let given = given.get(name).map(String::as_str).or_else(|| (first.0 == name).then_some(first.1));
        let Some(text) = given else {
            addresses.push(None);
            continue;
        };
        let wrong = |detail: String| ("invalid_recipient", format!("fallback.{name}: {detail}"));
        let address = tidings_channels::check_recipient(one.channel.recipient, text).map_err(wrong)?;
        if one.channel.recipient == RecipientKind::Account && !crate::api::serves(app, &address, name) {
            return Err((
                "unknown_account",
                format!("fallback.{name}: there is no account {address} that serves {name}"),
            ));
        }
        let lacks = missing(one);
        if !lacks.is_empty() {
            return Err(("missing_variable", format!("{} needs: {}", one.name, lacks.join(", "))));
        }
        addresses.push(Some(address));
    }
    Ok(addresses)
}
