//! Facebook pages: the person's token leads to one for each page, which never expires if the person's
//! lasted, and dies with the person's permissions or role.
//! <https://developers.facebook.com/docs/facebook-login/guides/access-tokens/get-long-lived>

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::{delete, get};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::asked::{Asked, need};
use super::authorize::consent_page;
use super::{Asking, Page, Pkce, Vendor, meta, person};
use crate::sandbox::answer::Answer;
use crate::sandbox::call::{self, Call, Note};
use crate::sandbox::dialect::{Dialect, Problem};
use crate::sandbox::family::{Issue, Terms};
use crate::sandbox::faults::Endpoint;
use crate::sandbox::ledger::Kind;
use crate::sandbox::state::{Books, Shared};
use crate::sandbox::store::{Access, Inspection, Redeem, Refused, Role};

static VENDOR: Vendor =
    Vendor { pkce: Pkce::Optional, fragment: Some("_=_"), terms, ..meta::vendor("FACEBOOK_PAGE") };

/// One to two hours at first.
fn terms(asking: &Asking<'_>) -> Terms {
    Terms { access: TimeDelta::minutes(90), ..meta::terms(asking) }
}

static FACEBOOK: Dialect = meta::graph("FACEBOOK_PAGE");

/// What the client may read of the person is asked for again after this.
const DATA_ACCESS: TimeDelta = TimeDelta::days(90);

pub(super) fn routes() -> Router<Arc<Shared>> {
    consent_page("/www.facebook.com/{version}/dialog/oauth", &VENDOR)
        .route("/graph.facebook.com/{version}/oauth/access_token", get(token))
        .route("/graph.facebook.com/{version}/me", get(me))
        .route("/graph.facebook.com/{version}/me/accounts", get(accounts))
        .route("/graph.facebook.com/{version}/debug_token", get(debug_token))
        .route("/graph.facebook.com/{version}/{id}/permissions", delete(permissions))
}

async fn token(asked: Asked) -> Result<Response, Answer> {
    let query = &asked.query;
    let client = asked.client(&FACEBOOK, query, ("client_id", "client_secret"))?;
    if query.get("grant_type") == Some("fb_exchange_token") {
        let token = need(query, "fb_exchange_token", &FACEBOOK)?;
        let is_client = |_: &Books, access: &Access| access.client == client;
        return Ok(meta::swapped(&asked, &FACEBOOK, token, is_client).await);
    }
    let redeem = Redeem {
        code: need(query, "code", &FACEBOOK)?,
        redirect_uri: need(query, "redirect_uri", &FACEBOOK)?,
        verifier: query.get("code_verifier").unwrap_or_default(),
    };
    let tokens = |issue: &Issue, note: &Note| meta::lasting(issue, note);
    Ok(asked.exchange(&FACEBOOK, &client, redeem, tokens).await)
}

/// Who the token speaks for: the person, or one of their pages.
async fn me(asked: Asked) -> Response {
    let token = asked.query.get("access_token").unwrap_or_default();
    let fields = asked.query.get("fields").unwrap_or("id,name");
    let call = Call::new(Endpoint::Userinfo, token, &FACEBOOK);
    call::run(&asked.shared, &asked.link, call, |books, note| {
        let url = &asked.shared.url;
        match inspected(books, token, note.at) {
            Ok((Inspection { problem: None, user, .. }, None)) => {
                let user = json!({
                    "id": person::number(&user).to_string(),
                    "name": person::name(&user),
                    "picture": picture(url, &user),
                });
                let user = person::only(user, fields, &["id"]);
                note.say(books, Kind::Identity, Answer::ok(user))
            }
            Ok((Inspection { problem: None, .. }, Some(page))) => {
                let page = person::only(described(&page, url), fields, &["id"]);
                note.say(books, Kind::Identity, Answer::ok(page))
            }
            Ok((Inspection { problem, .. }, _)) => {
                let problem = problem.unwrap_or(Problem::RoleLost);
                let refused = Refused::because(problem, "the token is not good any more");
                note.refuse(books, Kind::IdentityRefused, &refused)
            }
            Err(refused) => note.refuse(books, Kind::IdentityRefused, &refused),
        }
    })
    .await
}

/// How a token stands, and its page, if it is one's.
fn inspected(
    books: &Books,
    token: &str,
    at: DateTime<Utc>,
) -> Result<(Inspection, Option<Page>), Refused> {
    let unknown = Refused::because(Problem::Token, "the token is unknown");
    let mut inspection = books.store.inspect(token, &FACEBOOK, at).ok_or(unknown)?;
    let Role::Page(id) = &inspection.role else {
        return Ok((inspection, None));
    };
    let page = books.pages.get(&inspection.user, id);
    if page.is_none() {
        inspection.problem = inspection.problem.or(Some(Problem::RoleLost));
    }
    Ok((inspection, page))
}

fn picture(url: &str, of: &str) -> Value {
    json!({ "data": { "url": person::picture(url, of) } })
}

fn described(page: &Page, url: &str) -> Value {
    let mut described = json!({
        "id": page.id,
        "name": page.name,
        "tasks": page.tasks(),
        "picture": picture(url, &page.id),
    });
    if let Some(username) = &page.username {
        described["username"] = json!(username);
    }
    described
}

/// The person's pages, each with a token of its own, `limit` of them at a time.
async fn accounts(asked: Asked) -> Response {
    let query = &asked.query;
    let token = query.get("access_token").unwrap_or_default();
    let number = |name| query.get(name).and_then(|text| text.parse::<usize>().ok());
    let limit = number("limit").unwrap_or(25).clamp(1, 100);
    // The real cursors cannot be read; these say how many pages came before.
    let from = query.get("after").and_then(|after| after.strip_prefix("after-")?.parse().ok());
    let from: usize = from.unwrap_or(0);
    asked
        .read(&FACEBOOK, (Endpoint::Accounts, Kind::Listed), token, |books, access| {
            let pages = books.pages.of(&access.user);
            let shown = pages.iter().skip(from).take(limit);
            let data: Vec<Value> = shown.map(|page| listed(&asked, books, access, page)).collect();
            let mut answer = json!({ "data": data });
            if !data.is_empty() {
                let after = format!("after-{}", from + data.len());
                if from + data.len() < pages.len() {
                    answer["paging"]["next"] = json!(next(&asked, &after));
                }
                answer["paging"]["cursors"] = json!({ "before": "before", "after": after });
            }
            Answer::ok(answer)
        })
        .await
}

fn listed(asked: &Asked, books: &mut Books, access: &Access, page: &Page) -> Value {
    let fields = asked.query.get("fields").unwrap_or("id,name,access_token,tasks");
    let mut all = described(page, &asked.shared.url);
    all["access_token"] = json!(books.store.page_token(access, &page.id));
    person::only(all, fields, &["id"])
}

/// Where the rest is. As at Facebook, that address has the token in it.
fn next(asked: &Asked, after: &str) -> String {
    let others = asked.query.all().iter().filter(|(name, _)| name != "after");
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(others).append_pair("after", after);
    format!("{}{}?{}", asked.shared.url, asked.path, query.finish())
}

/// How a token stands, for the client that it was issued to.
async fn debug_token(asked: Asked) -> Result<Response, Answer> {
    let token = need(&asked.query, "input_token", &FACEBOOK)?;
    let client = app(&asked)?;
    let call = Call::new(Endpoint::Inspect, token, &FACEBOOK);
    Ok(call::run(&asked.shared, &asked.link, call, |books, note| {
        let known = inspected(books, token, note.at).ok();
        let known = known.filter(|(inspection, _)| inspection.client == client);
        let data = match &known {
            Some((inspection, _)) => standing(inspection),
            None => json!({ "is_valid": false, "scopes": [], "error": error(Problem::Token) }),
        };
        note.say(books, Kind::Inspected, Answer::ok(json!({ "data": data })))
    })
    .await)
}

fn standing(inspection: &Inspection) -> Value {
    let seconds = |at: DateTime<Utc>| at.timestamp();
    let scopes: Vec<&str> = inspection.scope.split(' ').collect();
    let mut standing = json!({
        "app_id": inspection.client,
        "type": "USER",
        "is_valid": inspection.problem.is_none(),
        "expires_at": inspection.until.map_or(0, seconds),
        "data_access_expires_at": seconds(inspection.consented_at + DATA_ACCESS),
        "scopes": scopes,
        "user_id": person::number(&inspection.user).to_string(),
    });
    if let Role::Page(page) = &inspection.role {
        standing["type"] = json!("PAGE");
        standing["profile_id"] = json!(page);
    }
    if let Some(problem) = inspection.problem {
        standing["error"] = error(problem);
    }
    standing
}

/// The same numbers as in the answer to a call with that token.
fn error(problem: Problem) -> Value {
    let (subcode, message) = meta::token_error(problem);
    let mut error = json!({ "code": 190, "message": message });
    if let Some(subcode) = subcode {
        error["subcode"] = json!(subcode);
    }
    error
}

/// The client, which calls with `id|secret` as its access token.
fn app(asked: &Asked) -> Result<String, Answer> {
    let token = asked.query.get("access_token").unwrap_or_default();
    let named = token.split_once('|').map(|(id, secret)| (id.to_owned(), secret.to_owned()));
    asked.known(&FACEBOOK, named)
}

/// All permissions go, with the person's token or the client's own.
async fn permissions(
    Path((_, id)): Path<(String, String)>,
    asked: Asked,
) -> Result<Response, Answer> {
    let is = |user: &str| person::number(user).to_string() == id;
    let token = asked.query.get("access_token").unwrap_or_default();
    if !token.contains('|') {
        let whose = asked.shared.books().store.place(token).map(|place| place.user);
        return match whose {
            Some(user) if id != "me" && !is(&user) => Err(no_such_person()),
            _ => Ok(meta::delete_permissions(&asked, &FACEBOOK).await),
        };
    }
    let client = app(&asked)?;
    let user = asked.shared.books().store.person(&FACEBOOK, is).ok_or_else(no_such_person)?;
    let call = Call { user: Some(user.clone()), ..Call::new(Endpoint::Revoke, token, &FACEBOOK) };
    Ok(call::run(&asked.shared, &asked.link, call, |books, note| {
        let done = Answer::ok(json!({ "success": true }));
        let ended = books.store.forget(&user, &client, &FACEBOOK);
        match ended.is_empty() {
            true => note.say(books, Kind::RevokeIgnored, done),
            false => note.revoked(books, &ended, done),
        }
    })
    .await)
}

fn no_such_person() -> Answer {
    (FACEBOOK.refuse)(Problem::Request, "there is no such person, or the token is another's")
}
