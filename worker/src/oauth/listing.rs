//! What a person may choose from: pages, organisations, channels.

use std::time::Duration;

use latchkey_shared::candidates::Candidate;
use latchkey_shared::platforms::Platform;
use latchkey_shared::platforms::quirks::{Demand, Listing, Paging};
use latchkey_shared::tokens::TokenSet;
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use super::ask::{AskError, Question, ask, lacks};
use super::{CallError, PlatformHttp, identity};

/// How long reading the whole list may take.
pub const DEADLINE: Duration = Duration::from_secs(45);
/// Beyond this many pages nobody chooses by hand.
const MAX_PAGES: usize = 20;

/// Reads the whole list.
///
/// # Errors
/// [`AskError`].
pub async fn list(
    http: &PlatformHttp,
    platform: &Platform,
    url: &Url,
    listing: &Listing,
    tokens: &TokenSet,
) -> Result<Vec<Candidate>, AskError> {
    let until = Instant::now() + DEADLINE;
    let (mut candidates, mut read) = (Vec::new(), 0);
    let mut next = Some(Vec::new());
    for _ in 0..MAX_PAGES {
        let Some(query) = next.take() else { break };
        let left = until.saturating_duration_since(Instant::now());
        let deadline = http.timeouts().identity().min(left);
        if deadline.is_zero() {
            return Err(CallError::Unreadable("the list takes too long".to_owned()).into());
        }
        let question = Question { url, ask: &listing.ask, query, deadline };
        let body = ask(http, platform, &question, tokens).await?;
        let Some(items) = body.pointer(listing.items).and_then(Value::as_array) else {
            // A person without a channel has a list without a list.
            match lacks(platform, &body, "a list") {
                AskError::Lacks(_) => break,
                error => return Err(error),
            }
        };
        for candidate in items.iter().filter_map(|item| candidate(listing, item)) {
            add(&mut candidates, candidate);
        }
        read += items.len();
        next = after(listing.paging, &body, read, items.len());
    }
    if next.is_some() {
        tracing::warn!(
            platform.id = platform.id,
            "a list has more than {MAX_PAGES} pages: the rest is left out"
        );
    }
    Ok(candidates)
}

/// A platform may list something once for each role: one that is enough, is enough.
fn add(candidates: &mut Vec<Candidate>, new: Candidate) {
    match candidates.iter_mut().find(|old| old.id == new.id) {
        None => candidates.push(new),
        Some(old) if old.ineligible.is_some() && new.ineligible.is_none() => *old = new,
        Some(_) => {}
    }
}

fn candidate(listing: &Listing, item: &Value) -> Option<Candidate> {
    let identity = identity::read(&listing.mapping, item, None)?;
    let token = listing.token.and_then(|pointer| item.pointer(pointer)?.as_str());
    let unmet = listing.demands.iter().find(|demand| !is_met(demand, item));
    Some(Candidate {
        id: identity.id,
        username: identity.username,
        display_name: identity.display_name,
        avatar_url: identity.avatar_url,
        token: token.filter(|token| !token.is_empty()).map(Into::into),
        ineligible: unmet.map(|demand| demand.otherwise.to_owned()),
    })
}

fn is_met(demand: &Demand, item: &Value) -> bool {
    let wanted = |text: &str| demand.any_of.is_empty() || demand.any_of.contains(&text);
    match item.pointer(demand.at) {
        Some(Value::String(text)) => !text.is_empty() && wanted(text),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).any(wanted),
        _ => false,
    }
}

/// The query of the next page, if there is one.
fn after(
    paging: Paging,
    body: &Value,
    so_far: usize,
    on_this_page: usize,
) -> Option<Vec<(&'static str, String)>> {
    match paging {
        Paging::Cursor { parameter, cursor, more } => {
            body.pointer(more).filter(|more| !more.is_null())?;
            Some(vec![(parameter, body.pointer(cursor)?.as_str()?.to_owned())])
        }
        Paging::Offset { parameter, page } => {
            (on_this_page >= page).then(|| vec![(parameter, so_far.to_string())])
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::refusal::tests::platforms;
    use super::*;
    use latchkey_shared::platforms::quirks::Accounts;

    fn listing(id: &str) -> &'static Listing {
        match platforms().get(id).unwrap().quirks.accounts {
            Accounts::Listed(listing) => listing,
            Accounts::Holder => panic!("{id} lists nothing"),
        }
    }

    #[test]
    fn a_page_that_cannot_be_connected_says_why() {
        let listing = listing("FACEBOOK_PAGE");
        let page = |page: Value| candidate(listing, &page).unwrap().ineligible;
        let good =
            json!({ "id": "1", "tasks": ["ANALYZE", "CREATE_CONTENT"], "access_token": "t" });
        assert_eq!(page(good), None);
        let reader = json!({ "id": "1", "tasks": ["ANALYZE"], "access_token": "t" });
        assert_eq!(page(reader).as_deref(), Some("ROLE_NOT_ENOUGH"));
        let tokenless = json!({ "id": "1", "tasks": ["CREATE_CONTENT"] });
        assert_eq!(page(tokenless).as_deref(), Some("NO_PAGE_TOKEN"));
        assert!(candidate(listing, &json!({ "name": "nobody" })).is_none());
    }

    #[test]
    fn a_list_goes_on_as_its_platform_says() {
        let pages = listing("FACEBOOK_PAGE").paging;
        let more = json!({ "paging": { "cursors": { "after": "c" }, "next": "https://…" } });
        assert_eq!(after(pages, &more, 50, 50), Some(vec![("after", "c".to_owned())]));
        let last = json!({ "paging": { "cursors": { "after": "c" } } });
        assert_eq!(after(pages, &last, 50, 50), None, "a cursor alone is no promise");
        let organisations = listing("LINKEDIN_COMPANY").paging;
        assert_eq!(after(organisations, &json!({}), 50, 50), Some(vec![("start", "50".into())]));
        assert_eq!(after(organisations, &json!({}), 70, 20), None);
    }
}
