//! The pages, organisations and channels that people may act for.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::person;

/// What Facebook calls tasks. LinkedIn has roles in their place, and each shows only its own words.
const TASKS: [&str; 8] = [
    "ADVERTISE",
    "ANALYZE",
    "CREATE_CONTENT",
    "MANAGE",
    "MANAGE_JOBS",
    "MANAGE_LEADS",
    "MESSAGING",
    "MODERATE",
];

/// A Facebook page, a LinkedIn organisation, a YouTube channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// Its id; digits at Facebook and LinkedIn.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its name in addresses.
    pub username: Option<String>,
    /// What the person may do: Facebook's tasks, LinkedIn's roles; YouTube ignores them.
    pub roles: Vec<String>,
}

impl Page {
    /// Everybody's own page, until it is said otherwise.
    fn own(user: &str) -> Self {
        Self {
            id: person::number(&format!("page of {user}")).to_string(),
            name: format!("{}'s Page", person::name(user)),
            username: Some(format!("{user}.page")),
            roles: vec!["CREATE_CONTENT".to_owned(), "ADMINISTRATOR".to_owned()],
        }
    }

    pub(super) fn tasks(&self) -> Vec<&str> {
        self.roles.iter().map(String::as_str).filter(|role| TASKS.contains(role)).collect()
    }

    /// LinkedIn's words.
    pub(super) fn roles(&self) -> impl Iterator<Item = &str> {
        self.roles.iter().map(String::as_str).filter(|role| !TASKS.contains(role))
    }
}

/// Who may act for what.
#[derive(Debug, Default)]
pub(in crate::sandbox) struct Pages(HashMap<String, Vec<Page>>);

impl Pages {
    pub(in crate::sandbox) fn set(&mut self, user: &str, pages: Vec<Page>) {
        self.0.insert(user.to_owned(), pages);
    }

    pub(super) fn of(&self, user: &str) -> Vec<Page> {
        self.0.get(user).cloned().unwrap_or_else(|| vec![Page::own(user)])
    }

    pub(super) fn get(&self, user: &str, page: &str) -> Option<Page> {
        self.of(user).into_iter().find(|own| own.id == page)
    }
}
