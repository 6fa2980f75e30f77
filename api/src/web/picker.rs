//! Choosing what to connect, by the person who consented: a form without a script, under the connect's
//! cookie. What is chosen is checked as that of an application is.
//!
//! The answer to the form leads to a page of ours that goes on by itself, and never on to the
//! application: browsers hold every redirect after a form to the page's `form-action`.

mod unticked;

use std::collections::HashSet;
use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use latchkey_shared::db::accounts::AccountStatus;
use latchkey_shared::db::connects::{Connect, ConnectStatus};
use url::form_urlencoded;
use utoipa::ToSchema;

use self::unticked::{Unticked, name, takes_one, unticked};
use super::{connect_page, form, page};
use crate::code::Code;
use crate::extract;
use crate::idempotency::Once;
use crate::problem::Problem;
use crate::request::RequestId;
use crate::routes::connects::candidates::{self, Choice};
use crate::routes::connects::selection;
use crate::state::App;

/// The field of the form.
const FIELD: &str = "candidate";
/// What the page named as to be disconnected.
const DROPPED: &str = "disconnect";

/// What was chosen on the page.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes for the document what is read as a form")]
pub(crate) struct SelectionForm {
    /// Ids of candidates, each once.
    candidate: Vec<String>,
    /// Ids of candidates that are connected and left out, and that the page said will be disconnected.
    disconnect: Vec<String>,
}

#[derive(Debug, Template)]
#[template(path = "picker.html")]
struct Picker {
    style: &'static str,
    referrer: &'static str,
    title: String,
    what: String,
    /// What was wrong with the choice before.
    complaint: Option<&'static str>,
    action: String,
    /// One is wanted, not several.
    one: bool,
    items: Vec<Item>,
    /// What going on disconnects.
    dropped: Vec<Unticked>,
    reference: String,
}

/// What came of the form before, when it is shown again.
#[derive(Clone, Copy, Debug)]
enum Again<'a> {
    /// This cannot be chosen.
    Wrong(&'a [String]),
    /// This can, and accounts would be disconnected.
    Drops(&'a [String], &'a [Unticked]),
}

#[derive(Debug)]
struct Item {
    id: String,
    name: String,
    handle: Option<String>,
    note: Option<&'static str>,
    disabled: bool,
    checked: bool,
}

/// The person chooses. What comes of it is on the connect's page.
#[utoipa::path(
    post, path = "/connect/{con}/selection", tag = "browser", operation_id = "choose", security(()),
    params(("con" = String, Path, description = "The connect")),
    request_body(content = SelectionForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = SEE_OTHER, description = "To the connect's page"),
        (status = BAD_REQUEST, description = "The page again, with what was wrong", content_type = "text/html", body = String),
        (status = FORBIDDEN, description = "A page: the form was on a page that is not ours", content_type = "text/html", body = String),
        (status = NOT_FOUND, description = "A page: the browser does not hold this connect's cookie", content_type = "text/html", body = String),
    ),
)]
pub(crate) async fn choose(
    State(app): State<Arc<App>>,
    Extension(request_id): Extension<RequestId>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match take(&app, &id, &headers, body).await {
        Ok(response) => response,
        Err(problem) => super::problem_page(&problem, &request_id),
    }
}

/// Whoever comes to the form's address by hand is led to the page.
pub(crate) async fn look(State(app): State<Arc<App>>, Path(id): Path<String>) -> Response {
    match id.parse() {
        Ok(id) => Redirect::to(&connect_page::address(&app, &id)).into_response(),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn take(
    app: &Arc<App>,
    id: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    if !form::is_ours(headers, &app.public_url) {
        return Err(Problem::new(Code::OriginForeign, ""));
    }
    let connect = connect_page::find(app, id, headers).await?.ok_or_else(Problem::not_found)?;
    let body = extract::read(body).await?;
    let all = |name: &str| -> Vec<String> {
        let fields = form_urlencoded::parse(&body).filter(|(field, _)| field == name);
        fields.map(|(_, id)| id.into_owned()).collect()
    };
    let (chosen, told) = (all(FIELD), all(DROPPED));
    let done = settle(app, &connect, &chosen, &told).await;
    match done.map_err(|problem| (problem.code(), problem)) {
        Ok(Some(page)) => Ok(page),
        Ok(None) | Err((Code::ConnectNotSelecting | Code::SelectionMade, _)) => {
            let page = connect_page::address(app, &connect.id);
            Ok(Redirect::to(&format!("{page}?{}", connect_page::GO)).into_response())
        }
        Err((Code::ValidationFailed, _)) => {
            let choices = candidates::decrypt(&mut app.conn().await?, &connect).await?;
            Ok(respond(app, &connect, &choices, Some(Again::Wrong(&chosen))))
        }
        Err((_, problem)) => Err(problem),
    }
}

/// Takes the choice; or, where it disconnects something that the person was not told of, the page that tells it.
async fn settle(
    app: &Arc<App>,
    connect: &Connect,
    chosen: &[String],
    told: &[String],
) -> Result<Option<Response>, Problem> {
    let choices = candidates::decrypt(&mut app.conn().await?, connect).await?;
    if connect.selection.is_some() {
        return Ok(None);
    }
    selection::check(connect, &choices, chosen)?;
    let dropped = unticked(connect, &choices, chosen);
    if !dropped.iter().all(|one| told.contains(&one.id)) {
        let again = Some(Again::Drops(chosen, &dropped));
        return Ok(Some(respond(app, connect, &choices, again)));
    }
    let dropped: Vec<String> = dropped.into_iter().map(|one| one.id).collect();
    selection::run(app, &Once::default(), connect, chosen, &dropped).await?;
    Ok(None)
}

/// Whether it is the person's turn.
pub(super) fn is_open(connect: &Connect) -> bool {
    connect.status == ConnectStatus::Selecting && connect.selection.is_none()
}

/// The form.
pub(super) async fn show(app: &Arc<App>, connect: &Connect) -> Result<Response, Problem> {
    let choices = candidates::decrypt(&mut app.conn().await?, connect).await?;
    Ok(respond(app, connect, &choices, None))
}

fn respond(
    app: &Arc<App>,
    connect: &Connect,
    choices: &[Choice],
    again: Option<Again<'_>>,
) -> Response {
    let platform = super::platform_name(app, &connect.platform);
    let page = Picker::new(connect, &platform, choices, again);
    let page =
        Picker { action: format!("{}/selection", connect_page::address(app, &connect.id)), ..page };
    let wrong = matches!(again, Some(Again::Wrong(_)));
    page.respond(if wrong { StatusCode::BAD_REQUEST } else { StatusCode::OK })
}

impl Picker {
    fn new(
        connect: &Connect,
        platform: &str,
        choices: &[Choice],
        again: Option<Again<'_>>,
    ) -> Self {
        let reconnect = connect.account_id.is_some();
        let one = takes_one(connect);
        let chosen = again.map(|(Again::Wrong(chosen) | Again::Drops(chosen, _))| chosen);
        let mut items: Vec<Item> = choices.iter().map(|choice| Item::of(choice, connect)).collect();
        if let Some(chosen) = chosen {
            let chosen: HashSet<&String> = chosen.iter().collect();
            items.iter_mut().for_each(|item| {
                item.checked = !item.disabled && chosen.contains(&item.id);
            });
        }
        let mut eligible = items.iter_mut().filter(|item| !item.disabled);
        if let (Some(only), None, None) = (eligible.next(), eligible.next(), chosen) {
            only.checked = true;
        }
        let what = match (items.iter().all(|item| item.disabled), one) {
            (true, _) => format!("{platform} lists these, but none of them can be connected."),
            (false, true) if reconnect => {
                format!("Choose the one of your {platform} accounts to be reconnected.")
            }
            (false, true) => format!("{platform} lists these. Choose the one to be connected."),
            (false, false) => {
                format!("{platform} lists these. Choose those that shall be connected.")
            }
        };
        let complaint = again.and_then(|again| again.complaint(one));
        let dropped = match again {
            Some(Again::Drops(_, dropped)) => dropped.to_vec(),
            _ => Vec::new(),
        };
        Self {
            style: page::STYLE,
            referrer: form::REFERRER,
            title: "Choose what to connect".to_owned(),
            what,
            complaint,
            action: String::new(),
            one,
            items,
            dropped,
            reference: connect.id.to_string(),
        }
    }

    fn is_choosable(&self) -> bool {
        self.items.iter().any(|item| !item.disabled)
    }

    fn respond(&self, status: StatusCode) -> Response {
        let html = self.render().expect("writing into memory does not fail");
        form::respond(status, html)
    }
}

impl Again<'_> {
    fn complaint(self, one: bool) -> Option<&'static str> {
        match self {
            Self::Wrong([]) if !one => Some("Nothing was chosen: choose at least one."),
            Self::Wrong(_) if one => Some("Choose exactly one that can be connected."),
            Self::Wrong(_) => Some("Something you chose cannot be connected. Choose again."),
            Self::Drops(..) => None,
        }
    }
}

impl Item {
    fn of(choice: &Choice, connect: &Connect) -> Self {
        let candidate = &choice.candidate;
        let account = choice.account.as_ref();
        let account = account.filter(|account| account.status != AccountStatus::Disconnected);
        let why_not = choice.ineligible(connect).map(why_not);
        let known = account.map(|account| match (account.status, takes_one(connect)) {
            (AccountStatus::TokenExpired, true) => "Was connected; this connects it again.",
            (AccountStatus::TokenExpired, false) => {
                "Was connected; this connects it again. Unticked, it is disconnected."
            }
            (_, true) => "Already connected.",
            (_, false) => "Already connected. Unticked, it is disconnected.",
        });
        let wanted = match &connect.account_id {
            Some(wanted) => choice.account.as_ref().is_some_and(|account| account.id == *wanted),
            None => account.is_some(),
        };
        let handle = candidate.username.as_ref().filter(|_| candidate.display_name.is_some());
        Self {
            id: candidate.id.clone(),
            name: name(choice),
            handle: handle.map(|name| format!("@{}", name.trim_start_matches('@'))),
            note: why_not.or(known),
            disabled: why_not.is_some(),
            checked: wanted && why_not.is_none(),
        }
    }
}

/// In the person's words.
fn why_not(reason: &str) -> &'static str {
    match reason {
        "ROLE_NOT_ENOUGH" => {
            "Your role there is not enough to publish. Somebody who administers it can change that."
        }
        "ACCOUNT_OF_ANOTHER_PROFILE" => "Connected for somebody else in this application.",
        "NO_PAGE_TOKEN" => {
            "The platform gave no access to it. Connect again, and leave it ticked when you are asked."
        }
        _ => "The platform does not let it be connected.",
    }
}

#[cfg(test)]
mod tests {
    use latchkey_shared::candidates::Candidate;

    use super::super::result_tests::connect;
    use super::*;

    fn choice(id: &str, ineligible: Option<&str>) -> Choice {
        let candidate = Candidate {
            id: id.to_owned(),
            username: Some(format!("page{id}")),
            display_name: Some(format!("Page <{id}>")),
            avatar_url: None,
            token: Some("page-token".into()),
            ineligible: ineligible.map(ToOwned::to_owned),
        };
        Choice { candidate, account: None }
    }

    fn html(choices: &[Choice], chosen: Option<&[String]>, reconnect: bool) -> String {
        let mut connect = connect(ConnectStatus::Selecting, None);
        connect.account_id = reconnect.then(|| "acc_01JCZ5M2V8Q4T6W8Y0A2B4C6D8".parse().unwrap());
        Picker::new(&connect, "Sandbox", choices, chosen.map(Again::Wrong)).render().unwrap()
    }

    #[test]
    fn an_exclusive_connect_takes_one() {
        let mut connect = connect(ConnectStatus::Selecting, None);
        connect.exclusive = true;
        let choices = [choice("1", None), choice("2", None)];
        let html = Picker::new(&connect, "Sandbox", &choices, None).render().unwrap();
        assert_eq!(html.matches("type=\"radio\"").count(), 2);
        assert!(html.contains("Choose the one to be connected."), "{html}");
    }

    #[test]
    fn what_cannot_be_connected_is_listed_with_the_reason() {
        let html = html(&[choice("1", None), choice("2", Some("ROLE_NOT_ENOUGH"))], None, false);
        assert!(html.contains("Page &#60;1&#62;") && html.contains("@page1"), "{html}");
        assert_eq!(html.matches("type=\"checkbox\"").count(), 2);
        assert_eq!((html.matches(" disabled").count(), html.matches(" checked").count()), (1, 1));
        assert!(html.contains("Your role there is not enough"), "{html}");
        assert!(!html.contains("page-token") && !html.contains("<script"), "{html}");
    }

    #[test]
    fn where_one_is_wanted_one_can_be_chosen() {
        let html = html(&[choice("1", None), choice("2", None)], None, true);
        assert_eq!(html.matches("type=\"radio\"").count(), 2);
        assert!(!html.contains(" checked"), "{html}");
    }

    #[test]
    fn a_wrong_choice_is_told_and_kept() {
        let choices = [choice("1", None), choice("2", None)];
        let again = html(&choices, Some(&["2".to_owned(), "9".to_owned()]), false);
        assert!(again.contains("Choose again") && again.matches(" checked").count() == 1);
        assert!(html(&choices, Some(&[]), false).contains("choose at least one"));
    }

    #[test]
    fn where_nothing_can_be_chosen_there_is_no_button() {
        let html = html(&[choice("1", Some("X"))], None, false);
        assert!(!html.contains("<button") && html.contains("none of them can be connected"));
    }
}
