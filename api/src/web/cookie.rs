//! The cookie that ties a connect's page to the browser that came back: the page's address is in
//! histories and logs, and must not be enough.

use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use latchkey_shared::{authorize, random};
use url::Url;

/// Longer than any connect takes once its browser is back: a person has a day to choose.
const MAX_AGE_SECONDS: u32 = 25 * 3600;

/// A new cookie. Only its SHA-256 is stored.
pub(crate) struct PageCookie(String);

impl PageCookie {
    pub(crate) fn new() -> Self {
        Self(random::token())
    }

    /// What the connect's row remembers of it.
    pub(crate) fn hash(&self) -> Vec<u8> {
        authorize::hash(&self.0)
    }

    /// Sets it. The prefix `__Host-` has browsers insist on `Secure`, which plain http cannot give.
    pub(crate) fn put(&self, response: &mut Response, public_url: &Url) {
        set(response, public_url, (name(public_url), &self.0, MAX_AGE_SECONDS));
    }
}

/// Sets a cookie of ours, which lives so many seconds.
pub(super) fn set(
    response: &mut Response,
    public_url: &Url,
    (name, value, max_age_seconds): (&str, &str, u32),
) {
    let secure = if is_https(public_url) { "; Secure" } else { "" };
    let cookie = format!(
        "{name}={value}; Path=/; Max-Age={max_age_seconds}; HttpOnly; SameSite=Lax{secure}"
    );
    let value = HeaderValue::from_str(&cookie).expect("cookies of ours are plain ASCII");
    response.headers_mut().append(SET_COOKIE, value);
}

/// The SHA-256 of the cookie that a browser showed.
pub(crate) fn hash_of(headers: &HeaderMap, public_url: &Url) -> Option<Vec<u8>> {
    find(headers, name(public_url)).map(authorize::hash)
}

/// The value of a cookie that a browser showed.
pub(super) fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|header| header.to_str().ok())
        .flat_map(|header| header.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

fn name(public_url: &Url) -> &'static str {
    if is_https(public_url) { "__Host-lk_connect" } else { "lk_connect" }
}

pub(super) fn is_https(url: &Url) -> bool {
    url.scheme() == "https"
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;

    #[test]
    fn a_browser_shows_what_it_was_given() {
        for (url, begin, secure) in [
            ("https://a.example", "__Host-lk_connect=", true),
            ("http://127.0.0.1:8080", "lk_connect=", false),
        ] {
            let url = url.parse().unwrap();
            let cookie = PageCookie::new();
            let mut response = ().into_response();
            cookie.put(&mut response, &url);
            let set = response.headers()[SET_COOKIE].to_str().unwrap();
            assert!(set.starts_with(begin) && set.contains("; HttpOnly; SameSite=Lax"), "{set}");
            assert_eq!(set.contains("; Secure"), secure);

            let pair = set.split(';').next().unwrap();
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, format!("a=b; {pair}; c=d").parse().unwrap());
            assert_eq!(hash_of(&headers, &url), Some(cookie.hash()));
            assert_eq!(hash_of(&HeaderMap::new(), &url), None);
        }
    }
}
