//! Scopes: one set for each client, where another set ends a person's earlier tokens; and what of a set is missing.

use std::collections::{BTreeMap, BTreeSet};

use super::Platform;

/// Lets platforms that reach one vendor through one client ask for the same: what the operator says
/// for one of them, else all that any of them needs. `said` are the platforms whose section has a list
/// of its own; two lists that differ are a problem.
pub(super) fn agree(
    configured: &mut BTreeMap<String, Platform>,
    said: &BTreeSet<String>,
    problems: &mut Vec<String>,
) {
    let mut clients: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for platform in configured.values().filter(|platform| platform.quirks.scopes_fixed) {
        let Some(client) = &platform.client else { continue };
        let client = (platform.vendor().to_owned(), client.id.clone());
        clients.entry(client).or_default().push(platform.id.clone());
    }
    for ids in clients.into_values().filter(|ids| ids.len() > 1) {
        let lists = |said_by: &dyn Fn(&String) -> bool| -> Vec<Vec<String>> {
            let ids = ids.iter().filter(|id| said_by(id));
            ids.map(|id| configured[id].default_scopes.clone()).collect()
        };
        let chosen = lists(&|id| said.contains(id));
        if chosen.iter().any(|list| set(list) != set(&chosen[0])) {
            problems.push(format!(
                "[platforms.{}] `scopes` must be the same in each: the vendor ends a person's tokens \
                 when a client asks for another set",
                ids.join("] and [platforms.")
            ));
            continue;
        }
        let scopes = match chosen.into_iter().next() {
            Some(chosen) => chosen,
            None => union(lists(&|_| true)),
        };
        for id in &ids {
            if let Some(platform) = configured.get_mut(id) {
                platform.default_scopes.clone_from(&scopes);
            }
        }
    }
}

/// What a consent brought besides the list of what was granted.
#[derive(Clone, Copy, Debug)]
pub struct Brought {
    /// A refresh token, or what stands in its place.
    pub refresh_token: bool,
    /// A name.
    pub name: bool,
}

/// What was asked for and not granted. OpenID providers need not repeat the scopes that are the protocol's own, and
/// some write others in full: those are missing only where what they ask for is (OpenID Connect Core 1.0 §5.4, §11).
#[must_use]
pub fn missing_scopes(asked: &[String], granted: &[String], brought: Brought) -> Vec<String> {
    let in_full = |scope: &str| {
        let end = format!("/userinfo.{scope}");
        granted.iter().any(|granted| granted.ends_with(&end))
    };
    let is_openid = asked.iter().any(|scope| scope == "openid");
    let given = |scope: &str| match scope {
        "openid" => true,
        "offline_access" => brought.refresh_token,
        "profile" => in_full(scope) || (is_openid && brought.name),
        "email" => in_full(scope),
        _ => false,
    };
    asked.iter().filter(|scope| !granted.contains(scope) && !given(scope)).cloned().collect()
}

fn set(scopes: &[String]) -> BTreeSet<&String> {
    scopes.iter().collect()
}

fn union(lists: Vec<Vec<String>>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for scope in lists.into_iter().flatten() {
        if !all.contains(&scope) {
            all.push(scope);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::Platforms;
    use super::*;

    #[test]
    fn what_an_openid_provider_does_not_repeat_is_missing_only_where_it_is() {
        let list = |scopes: &str| scopes.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let missing = |asked: &str, granted: &str, refresh_token, name| {
            missing_scopes(&list(asked), &list(granted), Brought { refresh_token, name }).join(" ")
        };
        let asked = "openid profile email offline_access files";
        assert_eq!(missing(asked, "files", true, true), "email");
        assert_eq!(missing(asked, "files", false, false), "profile email offline_access");
        let in_full = "files https://www.googleapis.com/auth/userinfo.email https://www.googleapis.com/auth/userinfo.profile";
        assert_eq!(missing(asked, in_full, true, false), "");
        assert_eq!(missing("profile files", "profile", true, true), "files");
        assert_eq!(missing("profile files", "files", true, true), "profile", "no OpenID");
    }

    fn section(id: &str, client: &str, more: &str) -> String {
        format!(
            "[platforms.{id}]\nclient_id = \"{client}\"\nclient_secret = {{ value = \"s\" }}\n{more}\n"
        )
    }

    fn scopes(person: (&str, &str), company: (&str, &str)) -> Result<[Vec<String>; 2], String> {
        let text = section("LINKEDIN_PERSON", person.0, person.1)
            + &section("LINKEDIN_COMPANY", company.0, company.1);
        let platforms = Platforms::parse(&text).map_err(|error| error.to_string())?;
        let of = |id: &str| platforms.get(id).unwrap().default_scopes.clone();
        Ok([of("LINKEDIN_PERSON"), of("LINKEDIN_COMPANY")])
    }

    #[test]
    fn one_client_asks_for_one_set() {
        let [person, company] = scopes(("one", ""), ("one", "")).unwrap();
        assert_eq!(person, company);
        assert!(person.contains(&"rw_organization_admin".to_owned()), "{person:?}");

        let said = "scopes = [\"w_member_social\", \"w_organization_social\"]";
        let [person, company] = scopes(("one", said), ("one", "")).unwrap();
        assert_eq!(person, ["w_member_social", "w_organization_social"]);
        assert_eq!(person, company, "what is said for one holds for the other");

        let turned = "scopes = [\"w_organization_social\", \"w_member_social\"]";
        assert!(scopes(("one", said), ("one", turned)).is_ok(), "a set has no order");
    }

    #[test]
    fn two_clients_ask_for_what_each_needs() {
        let [person, company] = scopes(("one", ""), ("two", "")).unwrap();
        assert_ne!(person, company);
    }

    #[test]
    fn two_lists_for_one_client_are_refused() {
        let problem = scopes(("one", "scopes = [\"a\"]"), ("one", "scopes = [\"b\"]")).unwrap_err();
        assert!(problem.contains("LINKEDIN_PERSON") && problem.contains("LINKEDIN_COMPANY"));
        assert!(problem.contains("must be the same"), "{problem}");
    }
}
