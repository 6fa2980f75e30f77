//! What the pages with a form have in common.

use axum::http::header::{CONTENT_SECURITY_POLICY, ORIGIN, REFERRER_POLICY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse as _, Response};
use url::Url;

use super::page;

/// With `no-referrer` a browser would not say which page the form was on.
pub(crate) const REFERRER: &str = "same-origin";

/// Whether a form was on a page of ours. One on another site cannot bring the cookie (`SameSite`); this
/// tells one on another port or subdomain apart, too. Browsers say where a form was; what is no browser
/// need not.
pub(crate) fn is_ours(headers: &HeaderMap, public_url: &Url) -> bool {
    let ours = public_url.origin().ascii_serialization();
    headers.get_all(ORIGIN).iter().all(|origin| origin.as_bytes() == ours.as_bytes())
}

/// A page with a form, as an answer.
pub(crate) fn respond(status: StatusCode, html: String) -> Response {
    let mut response = (status, Html(html)).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, page::FORM_POLICY.clone());
    headers.insert(REFERRER_POLICY, HeaderValue::from_static(REFERRER));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_must_be_on_a_page_of_ours() {
        let url: Url = "https://a.example/latchkey".parse().unwrap();
        let from = |origin: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
            is_ours(&headers, &url)
        };
        assert!(is_ours(&HeaderMap::new(), &url) && from("https://a.example"));
        for origin in ["null", "https://b.example", "http://a.example", "https://a.example:444"] {
            assert!(!from(origin), "{origin}");
        }
    }
}
