//! A connect's first page: says what is about to be connected, and leads on when its button is pressed.
//!
//! Opening it writes nothing, so that whoever looks at links on the way (scanners of mail, previews of
//! chats) harms nothing. Its button trades the link for a cookie: the first browser wins. A password goes
//! from the form to the seal, and never back to a page.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use latchkey_shared::authorize;
use latchkey_shared::db::connects::{self, Connect, ConnectStatus};
use latchkey_shared::db::workspaces;
use latchkey_shared::operations::handover;
use latchkey_shared::platforms::{Flow, Platform};
use latchkey_shared::work::Work;
use secrecy::SecretString;
use url::form_urlencoded;
use utoipa::ToSchema;

use super::cookie::PageCookie;
use super::{connect_page, form, page, refusal};
use crate::code::Code;
use crate::extract;
use crate::problem::Problem;
use crate::request::RequestId;
use crate::routes::connects::credentials::{self, Credentials};
use crate::routes::connects::find_platform;
use crate::state::App;

/// What the button sends.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes for the document what is read as a form")]
pub(crate) struct StartForm {
    /// The token of the link; a browser that holds the connect's cookie needs none.
    link: Option<String>,
    /// The account's handle or DID, where the platform takes an app password.
    identifier: Option<String>,
    /// An app password, there.
    #[schema(write_only)]
    password: Option<String>,
}

/// What came with the form.
struct Given {
    link: Option<String>,
    identifier: String,
    password: SecretString,
}

#[derive(Debug, Template)]
#[template(path = "start.html")]
struct Start {
    style: &'static str,
    referrer: &'static str,
    title: String,
    what: String,
    platform: String,
    workspace: String,
    complaint: Option<&'static str>,
    action: String,
    link: Option<String>,
    /// Where the platform takes an app password.
    fields: Option<Fields>,
    button: String,
    hint: String,
    reference: String,
}

#[derive(Debug)]
struct Fields {
    identifier: String,
    made_at: String,
}

/// A browser at the first page.
pub(super) struct Visit {
    connect: Connect,
    /// The token that it came with; none is needed under the cookie.
    link: Option<String>,
    /// Whether it holds the connect's cookie.
    held: bool,
}

/// The person goes on: to the platform, or with an app password.
#[utoipa::path(
    post, path = "/connect/{con}/start", tag = "browser", operation_id = "begin", security(()),
    params(("con" = String, Path, description = "The connect")),
    request_body(content = StartForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = SEE_OTHER, description = "To a page of ours that leads on"),
        (status = BAD_REQUEST, description = "The page again, with what was wrong; or a page: `STATE_UNKNOWN`", content_type = "text/html", body = String),
        (status = FORBIDDEN, description = "A page: `ORIGIN_FOREIGN`, the form was on a page that is not ours", content_type = "text/html", body = String),
        (status = NOT_FOUND, description = "A page: neither link nor cookie", content_type = "text/html", body = String),
        (status = CONFLICT, description = "A page: `LINK_USED`, in another browser; `STATE_USED`, the connect has gone on or was cancelled", content_type = "text/html", body = String),
        (status = GONE, description = "A page: `STATE_EXPIRED`", content_type = "text/html", body = String),
    ),
)]
pub(crate) async fn start(
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

/// What a browser with a link sees.
pub(super) async fn open(
    app: &Arc<App>,
    id: &str,
    link: String,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let visit = Visit::find(app, id, Some(link), headers).await?;
    if visit.is_past() {
        return Ok(to_page(app, &visit.connect));
    }
    visit.check(app)?;
    visit.show(app, None).await
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
    let given = Given::read(&extract::read(body).await?);
    let visit = Visit::find(app, id, given.link.clone(), headers).await?;
    if visit.is_past() {
        return Ok(to_page(app, &visit.connect));
    }
    let gone_on = match visit.check(app) {
        Ok(()) => go_on(app, &visit, given, headers).await,
        Err(problem) => Err(problem),
    };
    if let Err(problem) = &gone_on {
        refusal::note(app, &visit.connect, problem.code()).await;
    }
    gone_on
}

async fn go_on(
    app: &Arc<App>,
    visit: &Visit,
    given: Given,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let platform = find_platform(app, &visit.connect.platform)?;
    let password = match platform.flow {
        Flow::AuthorizationCode => None,
        Flow::AppPassword => {
            let endpoints = app.platforms.endpoints(platform, app.clock()).await;
            let endpoints = endpoints.map_err(|_| Problem::platform_unavailable(&platform.name))?;
            let shown = given.identifier.clone();
            let credentials = Credentials::new(given.identifier, given.password);
            match credentials::check(Some(&credentials), platform, &endpoints) {
                Ok(sealable) => sealable,
                Err(refused) => match complaint(refused.code) {
                    Some(complaint) => return visit.show(app, Some((complaint, shown))).await,
                    None => return Err(refused.into()),
                },
            }
        }
    };
    let key = visit.connect.key();
    let mut work = app.store.begin().await?;
    let cookie = visit.trade(&mut work).await?;
    if let Some(password) = &password {
        let what = handover::Brought::once(password);
        if handover::authorize(&mut work, key, what).await?.is_none() {
            return Err(visit.too_late(&mut work).await?);
        }
    }
    work.commit().await?;
    let next = format!("{}?{}", connect_page::address(app, key.id), connect_page::GO);
    let mut response = Redirect::to(&next).into_response();
    if let Some(cookie) = cookie {
        cookie.put(&mut response, key.id, &app.public_url, headers);
    }
    Ok(response)
}

/// What the person is told of credentials that were refused by a look.
fn complaint(code: Code) -> Option<&'static str> {
    match code {
        Code::ValidationFailed => Some(
            "That is not a handle: those look like name.bsky.social. An e-mail address will not do.",
        ),
        Code::AppPasswordRequired => Some(
            "That is not an app password: those look like xxxx-xxxx-xxxx-xxxx. Make one, and enter it here. What you entered was not kept.",
        ),
        _ => None,
    }
}

fn to_page(app: &App, connect: &Connect) -> Response {
    Redirect::to(&connect_page::address(app, &connect.id)).into_response()
}

impl Given {
    fn read(body: &[u8]) -> Self {
        let get = |wanted: &str| {
            form_urlencoded::parse(body)
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value.into_owned())
        };
        Self {
            link: get("link"),
            identifier: get("identifier").unwrap_or_default(),
            password: get("password").unwrap_or_default().into(),
        }
    }
}

impl Visit {
    /// By the cookie, else by the link.
    async fn find(
        app: &App,
        id: &str,
        link: Option<String>,
        headers: &HeaderMap,
    ) -> Result<Self, Problem> {
        if let Some(connect) = connect_page::find(app, id, headers).await? {
            return Ok(Self { connect, link, held: true });
        }
        let (Some(link), Ok(id)) = (link, id.parse()) else {
            return Err(Problem::not_found());
        };
        let hash = authorize::hash(&link);
        let found = connects::find_by_link(&mut *app.conn().await?, &id, &hash).await?;
        let connect = found.ok_or_else(|| Problem::new(Code::StateUnknown, ""))?;
        Ok(Self { connect, link: Some(link), held: false })
    }

    /// Of a browser that came back to its connect's page, without a link.
    pub(super) fn under_cookie(connect: Connect) -> Self {
        Self { connect, link: None, held: true }
    }

    pub(super) fn connect(&self) -> &Connect {
        &self.connect
    }

    /// Whether the browser's own connect has gone on: its page says how far.
    fn is_past(&self) -> bool {
        self.held && self.connect.status != ConnectStatus::Pending
    }

    /// Whether this browser may go on.
    pub(super) fn check(&self, app: &App) -> Result<(), Problem> {
        let connect = &self.connect;
        let late = connect.expires_at <= app.clock().now();
        match connect.status {
            ConnectStatus::Expired => Err(Problem::new(Code::StateExpired, "")),
            ConnectStatus::Pending if late => Err(Problem::new(Code::StateExpired, "")),
            ConnectStatus::Pending if self.held || connect.page_hash.is_none() => Ok(()),
            ConnectStatus::Pending => Err(Problem::new(Code::LinkUsed, "")),
            _ => Err(Problem::new(Code::StateUsed, "")),
        }
    }

    /// A cookie for the link; none where the browser has it.
    async fn trade(&self, work: &mut Work) -> Result<Option<PageCookie>, Problem> {
        if self.held {
            return Ok(None);
        }
        let (cookie, connect) = (PageCookie::new(), &self.connect);
        let key = connect.key();
        if connects::trade_link(work, key, &cookie.hash()).await? {
            return Ok(Some(cookie));
        }
        Err(self.too_late(work).await?)
    }

    /// Why it cannot go on after all: of two browsers that press the button one wins.
    async fn too_late(&self, work: &mut Work) -> Result<Problem, Problem> {
        let (workspace, id) = (&self.connect.workspace_id, &self.connect.id);
        let now = connects::find(work, workspace, id).await?;
        let code = match now.map(|now| (now.status, now.page_hash)) {
            Some((ConnectStatus::Pending, None) | (ConnectStatus::Expired, _)) => {
                Code::StateExpired
            }
            Some((ConnectStatus::Pending, Some(_))) => Code::LinkUsed,
            _ => Code::StateUsed,
        };
        Ok(Problem::new(code, ""))
    }

    /// The page; again, with what was wrong and the handle that was given.
    pub(super) async fn show(
        &self,
        app: &Arc<App>,
        wrong: Option<(&'static str, String)>,
    ) -> Result<Response, Problem> {
        let connect = &self.connect;
        let platform = find_platform(app, &connect.platform)?;
        let fields = match platform.flow {
            Flow::AuthorizationCode => None,
            Flow::AppPassword => {
                let endpoints = app.platforms.endpoints(platform, app.clock()).await;
                let endpoints =
                    endpoints.map_err(|_| Problem::platform_unavailable(&platform.name))?;
                let identifier = wrong.as_ref().map(|(_, given)| given.clone());
                Some(Fields {
                    identifier: identifier.unwrap_or_default(),
                    made_at: endpoints.authorize_url.to_string(),
                })
            }
        };
        let workspace = {
            let mut conn = app.conn().await?;
            let id = &connect.workspace_id;
            let organisation = workspaces::organisation_of(&mut conn, id).await?;
            let workspace = workspaces::find(&mut conn, &organisation, id).await?;
            workspace.ok_or_else(Problem::not_found)?.name
        };
        let page = Start {
            action: format!("{}/start", connect_page::address(app, &connect.id)),
            link: self.link.clone(),
            complaint: wrong.map(|(complaint, _)| complaint),
            reference: connect.id.to_string(),
            ..Start::new(platform, workspace, fields)
        };
        let html = page.render().expect("writing into memory does not fail");
        let wrong = page.complaint.is_some();
        let status = if wrong { StatusCode::BAD_REQUEST } else { StatusCode::OK };
        Ok(form::respond(status, html))
    }
}

impl Start {
    fn new(platform: &Platform, workspace: String, fields: Option<Fields>) -> Self {
        let name = &platform.name;
        let what = match fields {
            None => format!(
                "You go on to {name}, sign in there, and say whether you give access. We never see your password."
            ),
            Some(_) => format!(
                "Enter the handle of your {name} account, and an app password that you made for this."
            ),
        };
        Self {
            style: page::STYLE,
            referrer: form::REFERRER,
            title: format!("Connect your {name} account"),
            what,
            platform: name.clone(),
            workspace,
            complaint: None,
            action: String::new(),
            link: None,
            button: match fields {
                None => format!("Continue to {name}"),
                Some(_) => "Connect".to_owned(),
            },
            hint: how_to_switch(platform),
            fields,
            reference: String::new(),
        }
    }
}

/// What to do when another account is signed in at the platform than the one to be connected.
fn how_to_switch(platform: &Platform) -> String {
    let name = &platform.name;
    let prompt = platform.authorize_parameters.get("prompt");
    if platform.flow == Flow::AppPassword {
        return format!(
            "Several accounts? The handle says which is connected. Make the app password while that account is signed in at {name}."
        );
    }
    if prompt.is_some_and(|prompt| prompt.split(' ').any(|word| word == "select_account")) {
        return format!("Several accounts? {name} lets you choose which to use.");
    }
    format!(
        "Several accounts? {name} takes the one that this browser is signed in with. To connect another, sign out or switch at {name} first, then come back to this page."
    )
}

#[cfg(test)]
mod tests {
    use latchkey_shared::platforms::Platforms;

    use super::*;

    fn page(id: &str, fields: Option<Fields>) -> String {
        let file =
            format!("[platforms.{id}]\nclient_id = \"c\"\nclient_secret = {{ value = \"s\" }}\n");
        let platforms = Platforms::parse(&file).unwrap();
        let platform = platforms.get(id).unwrap();
        Start::new(platform, "<Acme>".to_owned(), fields).render().unwrap()
    }

    #[test]
    fn a_form_shows_the_handle_again_and_no_password() {
        let fields = Fields {
            identifier: "\"><script>".to_owned(),
            made_at: "https://a.example/make".to_owned(),
        };
        let html = page("X", Some(fields));
        assert!(html.contains("value=\"&#34;&#62;&#60;script&#62;\""), "{html}");
        assert!(html.contains("href=\"https://a.example/make\"") && !html.contains("<script"));
        let password = html.split("<input").find(|input| input.contains("password")).unwrap();
        assert!(!password.split('>').next().unwrap().contains("value="), "{password}");
    }

    #[test]
    fn it_names_workspace_and_platform_and_how_to_switch() {
        let html = page("X", None);
        assert!(html.contains("&#60;Acme&#62;") && html.contains("<dd>X</dd>"), "{html}");
        assert!(html.contains("sign out or switch at X first"), "{html}");
        assert!(page("YOUTUBE", None).contains("lets you choose which to use"));
    }
}
