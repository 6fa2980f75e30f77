//! How far an ending reaches beyond one family.

use std::collections::BTreeSet;

use super::Store;
use crate::sandbox::dialect::Dialect;
use crate::sandbox::family::{Consent, Ending, Family};

/// A family that ended just now.
#[derive(Debug)]
pub(in crate::sandbox) struct Ended {
    pub(in crate::sandbox) family: String,
    pub(in crate::sandbox) platform: Option<&'static str>,
    pub(in crate::sandbox) why: Ending,
}

impl Store {
    /// Ends every family of a person, at all platforms.
    pub(in crate::sandbox) fn remove_person(&mut self, user: &str) -> Vec<Ended> {
        self.end_those(Ending::RemovedByPerson, |family| family.consent.user == user)
    }

    /// Ends every family that a person has with a client at a platform.
    pub(in crate::sandbox) fn forget(
        &mut self,
        user: &str,
        client: &str,
        dialect: &Dialect,
    ) -> Vec<Ended> {
        self.end_those(Ending::RevokedByClient, |family| {
            family.consent.user == user
                && family.consent.client == client
                && family.platform == dialect.platform
        })
    }

    /// Ends what the same person gave the same client before, with another set of scopes.
    pub(in crate::sandbox) fn forget_other_scopes(&mut self, consent: &Consent) -> Vec<Ended> {
        let set = |scope: &str| scope.split(' ').map(str::to_owned).collect::<BTreeSet<_>>();
        let wanted = set(&consent.scope);
        self.end_those(Ending::ScopesChanged, |family| {
            let earlier = &family.consent;
            earlier.user == consent.user
                && earlier.client == consent.client
                && earlier.vendor == consent.vendor
                && set(&earlier.scope) != wanted
        })
    }

    /// Whether the same person has given the same client something that has not ended.
    pub(in crate::sandbox) fn has_consented(&self, user: &str, client: &str, vendor: &str) -> bool {
        self.families.iter().any(|family| {
            family.ended.is_none()
                && family.consent.user == user
                && family.consent.client == client
                && family.consent.vendor == Some(vendor)
        })
    }

    /// The person with a consent at this platform whose name fits.
    pub(in crate::sandbox) fn person(
        &self,
        dialect: &Dialect,
        fits: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let here = |family: &&Family| family.platform == dialect.platform;
        let mut users = self.families.iter().filter(here).map(|family| &family.consent.user);
        users.find(|user| fits(user)).cloned()
    }

    fn end_those(&mut self, why: Ending, fits: impl Fn(&Family) -> bool) -> Vec<Ended> {
        let theirs = self.families.iter_mut().filter(|family| fits(family));
        let end = |family: &mut Family| {
            let why = family.end(why)?;
            Some(Ended { family: family.id.clone(), platform: family.platform, why })
        };
        theirs.filter_map(end).collect()
    }
}
