//! What connects through an app ask for. Where a vendor ends a person's tokens as soon as a client asks
//! for another set, the set belongs to the client: every app that is that client has the same, on record.

use std::collections::BTreeSet;

use latchkey_shared::db::apps;
use latchkey_shared::platforms::{BUILT_IN, Platform};
use latchkey_shared::work::Work;

use super::CreateApp;
use crate::auth::Caller;
use crate::code::Code;
use crate::problem::Problem;
use crate::state::App;

/// The scopes of a new app; `None`: the platform's, whatever they are at the time.
///
/// # Errors
/// `SCOPES_DIFFER`.
pub(super) async fn settle(
    app: &App,
    work: &mut Work,
    caller: &Caller,
    platform: &Platform,
    new: &CreateApp,
) -> Result<Option<Vec<String>>, Problem> {
    let asked = new.scopes.clone();
    if !platform.quirks.scopes_fixed {
        return Ok(asked);
    }
    let vendor = BUILT_IN.iter().filter(|spec| {
        spec.quirks.vendor.is_some_and(|vendor| vendor == platform.vendor())
            || spec.id == platform.id
    });
    let vendor: Vec<&str> = vendor.map(|spec| spec.id).collect();
    let first =
        apps::first_of_client(work, &caller.organisation_id, &vendor, &new.client_id).await?;
    let Some(first) = first else {
        return Ok(Some(asked.unwrap_or_else(|| platform.default_scopes.clone())));
    };
    let usual =
        || app.platforms.get(&first.platform).map(|platform| platform.default_scopes.clone());
    let theirs = first.scopes.clone().or_else(usual).unwrap_or_default();
    let Some(asked) = asked else { return Ok(Some(theirs)) };
    if asked.iter().collect::<BTreeSet<_>>() == theirs.iter().collect() {
        return Ok(Some(asked));
    }
    let detail = format!(
        "Another app of yours is the same client, for {}, and {} ends a person's tokens when a client asks \
         for another set: leave `scopes` out, or send [\"{}\"].",
        first.platform,
        platform.name,
        theirs.join("\", \"")
    );
    Err(Problem::new(Code::ScopesDiffer, detail).at("/scopes"))
}
