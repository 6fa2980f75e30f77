//! Page tokens: what Facebook gives beside the person's own token, and how a token stands there.

use chrono::{DateTime, Utc};
use latchkey_shared::random;

use super::{Access, Entry, Held, Store};
use crate::sandbox::dialect::{Dialect, Problem};
use crate::sandbox::family::{Family, PageToken};

/// For whom a token speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sandbox) enum Role {
    Person,
    /// The page of that id.
    Page(String),
}

/// How a token stands, good or not.
#[derive(Debug)]
pub(in crate::sandbox) struct Inspection {
    pub(in crate::sandbox) role: Role,
    pub(in crate::sandbox) client: String,
    pub(in crate::sandbox) user: String,
    pub(in crate::sandbox) scope: String,
    pub(in crate::sandbox) consented_at: DateTime<Utc>,
    /// When it ends; none is never.
    pub(in crate::sandbox) until: Option<DateTime<Utc>>,
    pub(in crate::sandbox) problem: Option<Problem>,
}

impl Store {
    /// The token of a page, for who holds this access token: it never expires if that one lasts, and
    /// ends with it otherwise. Asked again, the answer is the same while it is good.
    pub(in crate::sandbox) fn page_token(&mut self, access: &Access, page: &str) -> String {
        let family = &mut self.families[access.family];
        let same = |held: &&PageToken| {
            held.page == page && held.generation == access.generation && !held.role_lost
        };
        if let Some(held) = family.page_tokens.iter().find(same) {
            return held.token.clone();
        }
        let token = format!("sbx-pt-{}", random::token());
        let pair = &family.pairs[access.generation];
        let held = Held::Page;
        let entry = Entry { family: access.family, generation: family.page_tokens.len(), held };
        family.page_tokens.push(PageToken {
            page: page.to_owned(),
            generation: access.generation,
            token: token.clone(),
            until: (!pair.lasting).then_some(pair.access_until),
            role_lost: false,
        });
        self.index.insert(token.clone(), entry);
        token
    }

    /// Whoever had a role at the page has lost it: none of its tokens is good any more.
    pub(in crate::sandbox) fn end_page(&mut self, page: &str) {
        let tokens = self.families.iter_mut().flat_map(|family| &mut family.page_tokens);
        tokens.filter(|held| held.page == page).for_each(|held| held.role_lost = true);
    }

    /// How an access or page token of this platform stands; none if it is not known there.
    pub(in crate::sandbox) fn inspect(
        &self,
        token: &str,
        dialect: &Dialect,
        now: DateTime<Utc>,
    ) -> Option<Inspection> {
        let entry = self.index.get(token)?;
        let family = &self.families[entry.family];
        let (role, until, problem) = match entry.held {
            Held::Access => {
                let pair = &family.pairs[entry.generation];
                (Role::Person, Some(pair.access_until), family.access_problem(pair, now))
            }
            Held::Page => {
                let held = &family.page_tokens[entry.generation];
                (Role::Page(held.page.clone()), held.until, page_problem(family, held, now))
            }
            Held::Code | Held::Refresh => return None,
        };
        (family.platform == dialect.platform).then(|| Inspection {
            role,
            client: family.consent.client.clone(),
            user: family.consent.user.clone(),
            scope: family.consent.scope.clone(),
            consented_at: family.made_at,
            until,
            problem,
        })
    }
}

fn page_problem(family: &Family, held: &PageToken, now: DateTime<Utc>) -> Option<Problem> {
    match () {
        () if family.ended.is_some() => Some(Problem::Ended),
        () if held.role_lost => Some(Problem::RoleLost),
        () if held.until.is_some_and(|until| now >= until) => Some(Problem::Expired),
        () => None,
    }
}
