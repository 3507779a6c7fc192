//! How routes are written and taken out of use, and what templates may name of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::apply::Change;
use super::{Answer, Control, Refusal, Route, RouteSpec, RouteVersion, Routes, TemplateSpec};

impl Control {
    /// Writes a version. A deleted route comes back, always with a new version.
    pub(super) fn put_route(&mut self, name: String, spec: RouteSpec, by: &str) -> Result<Change, Refusal> {
        if name.is_empty() {
            return Err(Refusal::Invalid("a route has a name".to_owned()));
        }
        let known = self.routes.named.get(&name);
        if known.is_none() && self.routes.named.len() >= Routes::MOST {
            return Err(Refusal::TooMany(Routes::MOST as u64));
        }
        if let Some(current) = known.and_then(Route::current).filter(|current| current.spec == spec) {
            return Ok(Change::None(Answer::Version(current.version)));
        }
        self.check_route(&name, &spec)?;
        let nothing = || Route { latest: 0, versions: BTreeMap::new(), deleted: false };
        let route = self.routes.named.entry(name).or_insert_with(nothing);
        let version = route.latest + 1;
        let written = RouteVersion { version, spec, created_at: self.now, created_by: by.to_owned() };
        route.versions.insert(version, Arc::new(written));
        route.latest = version;
        route.deleted = false;
        if route.versions.len() > Route::VERSIONS_KEPT {
            route.versions.pop_first();
        }
        Ok(Change::Made(Answer::Version(version)))
    }

    pub(super) fn delete_route(&mut self, name: &str) -> Result<Change, Refusal> {
        if self.routes.current(name).is_none() {
            return Err(Refusal::NotFound);
        }
        let in_use = self.templates.iter().filter_map(|(user, template)| Some((user, template.current()?)));
        if let Some((user, _)) = in_use.into_iter().find(|(_, one)| one.spec.route.as_deref() == Some(name)) {
            return Err(Refusal::UsedBy(format!("the template {user}")));
        }
        if let Some((user, _)) = self.routes.in_use().find(|(_, one)| one.spec.fallback.as_deref() == Some(name)) {
            return Err(Refusal::UsedBy(format!("the route {user}")));
        }
        if let Some(route) = self.routes.named.get_mut(name) {
            route.deleted = true;
        }
        Ok(Change::Made(Answer::Done))
    }

    /// What only control can tell: the edge may have looked at an older state.
    fn check_route(&self, name: &str, spec: &RouteSpec) -> Result<(), Refusal> {
        let wrong = |field: String, why: &str| Err(Refusal::Field(field, why.to_owned()));
        let mut seen = BTreeSet::new();
        for (n, one) in spec.accounts.iter().enumerate() {
            if !self.accounts.contains_key(&one.account) {
                return wrong(format!("accounts[{n}].account"), "names no account");
            }
            if !seen.insert(one.account.as_str()) {
                return wrong(format!("accounts[{n}].account"), "stands in the list before");
            }
        }
        if spec.accounts.iter().all(|one| one.weight == 0) {
            return wrong("accounts".to_owned(), "have no weight: nothing could be sent");
        }
        let mut next = spec.fallback.as_deref();
        for _ in 1..Routes::LONGEST_CHAIN {
            let Some(fallback) = next else { return Ok(()) };
            if fallback == name {
                return wrong("fallback".to_owned(), "leads back to this route");
            }
            let Some(route) = self.routes.current(fallback) else {
                return wrong("fallback".to_owned(), "names no route");
            };
            if route.spec.channel != spec.channel {
                return wrong("fallback".to_owned(), "names a route of another channel");
            }
            next = route.spec.fallback.as_deref();
        }
        if next.is_none() {
            Ok(())
        } else {
            wrong("fallback".to_owned(), "leads through more than 4 routes, or in a circle")
        }
    }

    /// Whether the route and the fallback that a template names can be used.
    pub(super) fn check_ways(&self, name: &str, spec: &TemplateSpec) -> Result<(), Refusal> {
        let wrong = |field: &str, why: &str| Err(Refusal::Field(field.to_owned(), why.to_owned()));
        if let Some(route) = &spec.route {
            let Some(route) = self.routes.current(route) else { return wrong("route", "names no route") };
            if route.spec.channel != spec.channel {
                return wrong("route", "names a route of another channel");
            }
            let types = &route.spec.message_types;
            if !types.is_empty() && !types.contains(&spec.message_type) {
                return wrong("route", "names a route for other message types");
            }
        }
        let mut next = spec.fallback.clone();
        for _ in 1..Routes::LONGEST_CHAIN {
            let Some(fallback) = next else { return Ok(()) };
            if fallback == name {
                return wrong("fallback.template", "leads back to this template");
            }
            let Some(template) = self.templates.get(&fallback).and_then(|template| template.current()) else {
                return wrong("fallback.template", "names no template");
            };
            next = template.spec.fallback.clone();
        }
        if next.is_none() {
            Ok(())
        } else {
            wrong("fallback.template", "leads through more than 4 templates, or in a circle")
        }
    }

    /// A template in use whose fallback is that one.
    pub(super) fn falling_to(&self, name: &str) -> Option<&str> {
        let in_use = self.templates.iter().filter_map(|(user, template)| Some((user, template.current()?)));
        let mut falling = in_use.filter(|(user, one)| *user != name && one.spec.fallback.as_deref() == Some(name));
        falling.next().map(|(user, _)| user.as_str())
    }
}
