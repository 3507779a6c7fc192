//! Reads an account's settings into typed values and gathers everything that is wrong with them.

use std::time::Duration;

use serde_json::Value;
use tidings_contract::{FieldError, Secret, Settings};
use url::Url;

/// Reads settings one by one; the first wrong one does not hide the others.
#[derive(Debug)]
pub(crate) struct Reading<'a> {
    settings: &'a Settings,
    errors: Vec<FieldError>,
}

impl<'a> Reading<'a> {
    pub(crate) fn new(settings: &'a Settings) -> Self {
        Self { settings, errors: Vec::new() }
    }

    /// Notes that the setting `name` is wrong.
    pub(crate) fn wrong(&mut self, name: &str, detail: impl Into<String>) {
        self.errors.push(FieldError::new(format!("settings.{name}"), detail));
    }

    /// A text that says something, if it is there.
    pub(crate) fn text(&mut self, name: &str) -> Option<&'a str> {
        self.settings.plain.get(name)?;
        let text = self.settings.text(name).map(str::trim).filter(|text| !text.is_empty());
        if text.is_none() {
            self.wrong(name, "must be a text and not empty");
        }
        text
    }

    /// A text that must be there; an empty one stands in for it when it is not.
    pub(crate) fn needed_text(&mut self, name: &str) -> &'a str {
        if !self.settings.plain.contains_key(name) {
            self.wrong(name, "is required");
        }
        self.text(name).unwrap_or_default()
    }

    /// A secret that says something, if it is there.
    pub(crate) fn secret(&mut self, name: &str) -> Option<&'a Secret> {
        let secret = self.settings.secret(name)?;
        if secret.expose().trim().is_empty() {
            self.wrong(name, "must not be empty");
            return None;
        }
        Some(secret)
    }

    /// A secret that must be there.
    pub(crate) fn needed_secret(&mut self, name: &str) -> Option<&'a Secret> {
        if self.settings.secret(name).is_none() {
            self.wrong(name, "is required");
        }
        self.secret(name)
    }

    /// A yes or no; `default` when it is not there.
    pub(crate) fn flag(&mut self, name: &str, default: bool) -> bool {
        if self.settings.plain.contains_key(name) && self.settings.flag(name).is_none() {
            self.wrong(name, "must be true or false");
        }
        self.settings.flag(name).unwrap_or(default)
    }

    /// A whole number between `least` and `most`; `default` when it is not there.
    pub(crate) fn number(&mut self, name: &str, default: u64, least: u64, most: u64) -> u64 {
        if !self.settings.plain.contains_key(name) {
            return default;
        }
        match self.settings.number(name).filter(|number| (least..=most).contains(number)) {
            Some(number) => number,
            None => {
                self.wrong(name, format!("must be a whole number between {least} and {most}"));
                default
            }
        }
    }

    /// `timeout_ms`: between 100 ms and `most` ms; `default` when it is not there.
    pub(crate) fn timeout(&mut self, default: u64, most: u64) -> Duration {
        Duration::from_millis(self.number("timeout_ms", default, 100, most))
    }

    /// The setting as it was typed, if it is there.
    pub(crate) fn value(&self, name: &str) -> Option<&'a Value> {
        self.settings.plain.get(name)
    }

    /// The base address of a supplier's interface, without a slash at its end; `default` when it is not there.
    ///
    /// Secrets go there, so it must be https, except on this machine.
    pub(crate) fn endpoint(&mut self, name: &str, default: &str) -> Option<Url> {
        let text = if default.is_empty() { self.needed_text(name) } else { self.text(name).unwrap_or(default) };
        self.known(name, "must be an https URL without a query", safe_url(text))
    }

    /// Gives `value` back if it is there, and notes that the setting `name` is wrong if it is not.
    pub(crate) fn known<T>(&mut self, name: &str, detail: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.wrong(name, detail);
        }
        value
    }

    /// Gives what was read, or everything that was wrong. `read` is there whenever nothing was wrong.
    pub(crate) fn finish<T>(self, read: Option<T>) -> Result<T, Vec<FieldError>> {
        match read {
            Some(read) if self.errors.is_empty() => Ok(read),
            _ => Err(self.errors),
        }
    }
}

/// A URL that secrets may be sent to: https, or this machine; without query, fragment and user.
pub(crate) fn safe_url(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| {
        let local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        let bare = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        bare && (url.scheme() == "https" || (url.scheme() == "http" && local))
    })
}
