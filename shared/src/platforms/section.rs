//! Reads one section of the platforms file and collects all that is wrong with it, so that an
//! operator learns of everything at one start. A complaint never repeats a value: it may be a secret.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use toml::{Table, Value};
use url::Url;

use super::endpoints;
use crate::config::SecretRef;

/// A section that is being read.
pub(super) struct Section<'a> {
    name: String,
    left: Table,
    known: Vec<&'static str>,
    problems: &'a mut Vec<String>,
}

impl<'a> Section<'a> {
    /// A section of this name, such as `platforms.SANDBOX`.
    pub(super) fn new(name: String, value: Value, problems: &'a mut Vec<String>) -> Self {
        let left = match value {
            Value::Table(table) => table,
            _ => {
                problems.push(format!("`{name}` must be a section: write [{name}]"));
                Table::new()
            }
        };
        Self { name, left, known: Vec::new(), problems }
    }

    /// Notes what is wrong with a key; `what` goes on after its name.
    pub(super) fn wrong(&mut self, key: &str, what: impl AsRef<str>) {
        self.problems.push(format!("[{}] `{key}` {}", self.name, what.as_ref()));
    }

    /// The value of a key, if it is there and of that form; `form` says what it must be.
    pub(super) fn take<T: DeserializeOwned>(&mut self, key: &'static str, form: &str) -> Option<T> {
        self.known.push(key);
        let value = self.left.remove(key)?;
        let value = value.try_into().ok();
        if value.is_none() {
            self.wrong(key, form);
        }
        value
    }

    /// Whether the section has a key that was not taken yet.
    pub(super) fn has(&self, key: &str) -> bool {
        self.left.contains_key(key)
    }

    /// Notes that a key is missing; `help` says what to write there.
    pub(super) fn require(&mut self, key: &str, help: &str) {
        if !self.has(key) {
            self.wrong(key, format!("is missing: {help}"));
        }
    }

    /// A text of one line that must be there.
    pub(super) fn need_text(&mut self, key: &'static str, help: &str) -> Option<String> {
        const FORM: &str = "must be a text of one line, up to 200 characters";
        self.require(key, help);
        let text: String = self.take(key, FORM)?;
        let good = (1..=200).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        if !good {
            self.wrong(key, FORM);
        }
        good.then_some(text)
    }

    /// An address that tokens and secrets may go to.
    pub(super) fn url(&mut self, key: &'static str) -> Option<Url> {
        let text: String = self.take(key, "must be a URL in quotes")?;
        match endpoints::check(&text) {
            Ok(url) => Some(url),
            Err(what) => {
                self.wrong(key, what);
                None
            }
        }
    }

    /// A secret, from wherever it is.
    pub(super) fn secret(&mut self, key: &'static str) -> Option<SecretString> {
        const FORM: &str = "must say where it is: { env = \"NAME\" } or { file = \"/path\" }";
        self.require(key, "write { env = \"NAME\" } or { file = \"/path\" }");
        let place: SecretRef = self.take(key, FORM)?;
        match place.resolve() {
            Ok(secret) if !secret.expose_secret().is_empty() => Some(secret),
            Ok(_) => {
                self.wrong(key, "is empty");
                None
            }
            Err(why) => {
                self.wrong(key, format!("cannot be fetched: {why}"));
                None
            }
        }
    }

    /// A whole number of seconds, up to ten years.
    pub(super) fn seconds(&mut self, key: &'static str) -> Option<u64> {
        const FORM: &str = "must be a whole number of seconds, up to ten years";
        let seconds: u64 = self.take(key, FORM)?;
        let good = seconds <= 10 * 366 * 24 * 3600;
        if !good {
            self.wrong(key, FORM);
        }
        good.then_some(seconds)
    }

    /// Scope tokens (RFC 6749 §3.3).
    pub(super) fn scopes(&mut self, key: &'static str) -> Option<Vec<String>> {
        const FORM: &str = "must be a list of scopes, such as [\"profile\", \"offline_access\"]";
        let scopes: Vec<String> = self.take(key, FORM)?;
        let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
        let good = scopes.iter().all(|scope| !scope.is_empty() && scope.bytes().all(plain));
        if !good {
            self.wrong(key, FORM);
        }
        good.then_some(scopes)
    }

    /// Parameters beside the standard's own, which they must not touch.
    pub(super) fn parameters(
        &mut self,
        key: &'static str,
        reserved: &[&str],
    ) -> BTreeMap<String, String> {
        let form = "must be texts by name, such as { prompt = \"consent\" }";
        let given: BTreeMap<String, String> = self.take(key, form).unwrap_or_default();
        for name in given.keys().filter(|name| reserved.contains(&name.as_str())) {
            self.wrong(
                key,
                format!("must leave out `{name}`: Latchkey sets it, or cannot do with it"),
            );
        }
        given
    }

    /// A section inside this one, read by `read`.
    pub(super) fn inner<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'_>) -> T,
    ) -> Option<T> {
        self.known.push(key);
        let value = self.left.remove(key)?;
        let mut section = Section::new(format!("{}.{key}", self.name), value, self.problems);
        let read = read(&mut section);
        section.finish();
        Some(read)
    }

    /// What is left is unknown.
    pub(super) fn finish(mut self) {
        let known = self.known.join(", ");
        for key in std::mem::take(&mut self.left).keys() {
            self.wrong(key, format!("is unknown here: remove it, or take one of {known}"));
        }
    }
}
