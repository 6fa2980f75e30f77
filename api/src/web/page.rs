//! Every page in one form: a sign, what happened, what to do next.

use std::sync::LazyLock;

use askama::Template;
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use latchkey_shared::authorize;
use latchkey_shared::db::accounts::Account;
use latchkey_shared::db::connects::{Connect, ConnectStatus};
use serde_json::Value;
use url::Url;

use super::words;
use crate::code::Code;

pub(super) const STYLE: &str = include_str!("../../templates/page.css");

/// The one style sheet is allowed by its hash; no script, image or frame ever is.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| policy("'none'"));
/// The same for a page with a form.
pub(super) static FORM_POLICY: LazyLock<HeaderValue> = LazyLock::new(|| policy("'self'"));

fn policy(form_action: &str) -> HeaderValue {
    let hash = STANDARD.encode(authorize::hash(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action {form_action}; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).expect("the policy is plain ASCII")
}

/// The sign at the head of a page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Sign {
    Waiting,
    Good,
    Bad,
}

/// A page.
#[derive(Debug, Template)]
#[template(path = "page.html")]
pub(crate) struct Page {
    style: &'static str,
    referrer: &'static str,
    sign: Sign,
    /// After how many seconds it goes on by itself, and where to, if not to itself again.
    refresh: Option<String>,
    /// The same, to be clicked.
    onward: Option<Onward>,
    title: String,
    /// What happened.
    what: String,
    /// What to do next.
    next: String,
    accounts: Vec<ShownAccount>,
    /// For whoever is asked for help.
    reference: String,
}

#[derive(Debug)]
struct Onward {
    url: String,
    label: String,
}

#[derive(Debug)]
struct ShownAccount {
    name: String,
    handle: Option<String>,
}

impl Page {
    fn new(sign: Sign, title: impl Into<String>, what: impl Into<String>, next: &str) -> Self {
        Self {
            style: STYLE,
            referrer: "no-referrer",
            sign,
            refresh: None,
            onward: None,
            title: title.into(),
            what: what.into(),
            next: next.to_owned(),
            accounts: Vec::new(),
            reference: String::new(),
        }
    }

    /// While a connect is open. Asks for itself again every second.
    pub(crate) fn progress(platform: &str) -> Self {
        let page = Self::new(
            Sign::Waiting,
            format!("Connecting your {platform} account"),
            "We are finishing the connection.",
            "This page goes on by itself: there is nothing to do. You can also close it and come back to it.",
        );
        Self { refresh: Some("1".to_owned()), ..page }
    }

    /// The same, but what it asks for is another page.
    pub(crate) fn then(self, address: &str) -> Self {
        Self { refresh: Some(format!("1; url={address}")), ..self }
    }

    /// After the button on the first page: at once on to the platform.
    pub(crate) fn leaving(platform: &str, url: &Url) -> Self {
        let page = Self::new(
            Sign::Waiting,
            format!("On to {platform}"),
            format!(
                "{platform} asks you to sign in, and whether you give access. Then it sends you back here."
            ),
            "If nothing happens, use the link.",
        );
        let onward = Onward { url: url.to_string(), label: format!("Continue to {platform}") };
        Self { refresh: Some(format!("0; url={url}")), onward: Some(onward), ..page }
    }

    /// Somebody signed in who had not been on the way anywhere.
    pub(crate) fn signed_in() -> Self {
        Self::new(
            Sign::Good,
            "You are signed in",
            "This browser may do for some hours what your key may.",
            "Open the link that you were given.",
        )
    }

    /// How a connect ended.
    pub(crate) fn ended(connect: &Connect, accounts: &[Account]) -> Self {
        let page = match connect.status {
            ConnectStatus::Connected => Self::connected(accounts),
            _ => Self::not_connected(connect),
        };
        Self { reference: connect.id.to_string(), ..page }
    }

    fn connected(accounts: &[Account]) -> Self {
        let (title, what) = match accounts.len() {
            0 | 1 => ("Account connected", "Your account is connected."),
            _ => ("Accounts connected", "Your accounts are connected."),
        };
        Self {
            accounts: accounts.iter().map(ShownAccount::of).collect(),
            ..Self::new(
                Sign::Good,
                title,
                what,
                "You can close this page and go back to the application.",
            )
        }
    }

    fn not_connected(connect: &Connect) -> Self {
        let reason = connect.reason_code.as_deref().unwrap_or_default();
        let (title, what, next) = words::of_ending(connect.status, reason);
        let missing = connect.platform_error.as_ref().map(|error| &error["missingScopes"]);
        let missing: Vec<&str> = missing
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        match missing.as_slice() {
            [] => Self::new(Sign::Bad, title, what, next),
            missing => {
                let what = format!("{what} What is missing: {}.", missing.join(", "));
                Self::new(Sign::Bad, title, what, next)
            }
        }
    }

    /// What a browser sees instead of a problem document.
    pub(crate) fn problem(code: Code, request_id: &str) -> Self {
        let again = "Go back to the application and connect again.";
        let (title, what, next) = match code {
            Code::StateUnknown => (
                "This link is not ours",
                "The link that brought you here does not belong to any connection that we started.",
                again,
            ),
            Code::StateUsed => (
                "This link was used already",
                "Each link connects once, and this one has been used or taken back.",
                "Go back to the application: the account may be connected. If it is not, connect again.",
            ),
            Code::StateExpired => (
                "This link has expired",
                "The connection was not finished in time, so nothing was connected.",
                again,
            ),
            Code::LinkUsed => (
                "This link was used in another browser",
                "Somebody has opened this link and gone on with it in another browser. It works in one alone.",
                "Go on in that browser. If that was not you, go back to the application and connect again.",
            ),
            Code::BrowserMismatch => (
                "This is not the browser you began in",
                "The connection was begun in another browser, so it was ended here. Nothing was connected.",
                again,
            ),
            Code::CallbackMismatch => (
                "That was another platform's answer",
                "You came back by another platform's address than you were sent to, so the connection was ended. Nothing was connected.",
                again,
            ),
            Code::CallbackIncomplete => (
                "Something is missing",
                "The platform sent you back without saying whether you gave access.",
                "Go back one page and try again, or connect again from the application.",
            ),
            Code::NotFound => (
                "There is nothing here",
                "This page can be seen only in the browser that the connection was made with, and only for a while.",
                "Go back to the application to see your accounts.",
            ),
            Code::OriginForeign => (
                "That form was not ours",
                "What you sent came from a page that is not ours, so nothing was done.",
                "Go back to the page where you were, reload it, and try again there.",
            ),
            Code::Unavailable | Code::PlatformUnavailable => (
                "One moment, please",
                "We cannot go on just now. Nothing is lost.",
                "Reload this page in a few seconds.",
            ),
            code => words::of_refusal(code).unwrap_or((
                "Something went wrong",
                "That is our fault, not yours.",
                "Reload this page. If it stays, send the reference below to the people who run the application.",
            )),
        };
        Self {
            reference: format!("{} · {request_id}", code.as_str()),
            ..Self::new(Sign::Bad, title, what, next)
        }
    }

    /// The page as an answer.
    pub(crate) fn respond(&self, status: StatusCode) -> Response {
        let html = self.render().expect("writing into memory does not fail");
        let mut response = (status, Html(html)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
        response
    }
}

impl ShownAccount {
    fn of(account: &Account) -> Self {
        let handle = account.username.as_ref().map(|name| format!("@{name}"));
        let name = account.display_name.clone();
        Self { name: name.unwrap_or_else(|| account.platform_user_id.clone()), handle }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::result::tests::connect;
    use super::*;

    #[test]
    fn what_others_wrote_is_escaped() {
        let html = Page::progress("<script>alert(1)</script>").render().unwrap();
        assert!(!html.contains("<script>"), "{html}");
    }

    #[test]
    fn only_an_open_connect_reloads_its_page() {
        let refresh = "http-equiv=\"refresh\"";
        assert!(Page::progress("Sandbox").render().unwrap().contains(refresh));
        let ended = Page::ended(&connect(ConnectStatus::Failed, None), &[]);
        assert!(!ended.render().unwrap().contains(refresh));
    }

    #[test]
    fn what_was_not_granted_is_named() {
        let failed = Connect {
            reason_code: Some("PERMISSION_MISSING".to_owned()),
            platform_error: Some(json!({ "error": "e", "missingScopes": ["a.read", "<b>"] })),
            ..connect(ConnectStatus::Failed, None)
        };
        let html = Page::ended(&failed, &[]).render().unwrap();
        assert!(html.contains("What is missing: a.read, &#60;b&#62;."), "{html}");
        assert!(html.contains("leave every box ticked"), "{html}");
    }

    #[test]
    fn a_page_that_leads_on_says_where_to() {
        let url: Url = "https://a.example/o?x=1&y=\"'>".parse().unwrap();
        let html = Page::leaving("Sandbox", &url).render().unwrap();
        let to = "https://a.example/o?x=1&#38;y=%22%27%3E\"";
        assert!(html.contains(&format!("content=\"0; url={to}")), "{html}");
        assert!(html.contains(&format!("href=\"{to}")), "{html}");
    }

    #[test]
    fn the_policy_allows_the_style_that_stands_there() {
        let html = Page::progress("Sandbox").render().unwrap();
        let (_, rest) = html.split_once("<style>").unwrap();
        let (style, _) = rest.split_once("</style>").unwrap();
        let hash = STANDARD.encode(authorize::hash(style));
        assert!(POLICY.to_str().unwrap().contains(&hash));
    }

    #[test]
    fn every_page_says_what_to_do_next() {
        for code in Code::ALL {
            let page = Page::problem(*code, "req_1");
            assert!(!page.what.is_empty() && !page.next.is_empty());
            assert!(page.render().unwrap().contains(code.as_str()));
        }
    }
}
