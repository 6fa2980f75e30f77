//! The cookie that ties a connect's pages to one browser: their addresses are in histories and logs, and
//! must not be enough. Each connect has one of its own: a person may have several open at once.

use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use latchkey_shared::ids::ConnectId;
use latchkey_shared::{authorize, random};
use url::Url;

/// Longer than any connect takes once its browser is there: a person has a day to choose.
const MAX_AGE_SECONDS: u32 = 25 * 3600;
/// A browser keeps no more of ours: proxies refuse requests whose headers are long.
const MAX_KEPT: usize = 16;

/// A new cookie. Only its SHA-256 is stored.
pub(crate) struct PageCookie(String);

impl PageCookie {
    pub(crate) fn new() -> Self {
        Self(random::token())
    }

    /// The one that belongs to these bytes, which nobody else can know.
    pub(super) fn derived(from: &[u8]) -> Self {
        Self(URL_SAFE_NO_PAD.encode(from))
    }

    /// What the connect's row remembers of it.
    pub(crate) fn hash(&self) -> Vec<u8> {
        authorize::hash(&self.0)
    }

    /// Sets it, and has the browser forget the oldest where it showed many. The prefix `__Host-` has
    /// browsers insist on `Secure`, which plain http cannot give.
    pub(crate) fn put(
        &self,
        response: &mut Response,
        connect: &ConnectId,
        public_url: &Url,
        shown: &HeaderMap,
    ) {
        let mut put = |connect: &ConnectId, value: &str, age: u32| {
            set(response, public_url, &name(connect, public_url), value, age);
        };
        put(connect, &self.0, MAX_AGE_SECONDS);
        for old in too_many(shown, connect, public_url) {
            put(&old, "", 0);
        }
    }
}

/// Sets a cookie of ours, which lives so many seconds.
pub(super) fn set(
    response: &mut Response,
    public_url: &Url,
    name: &str,
    value: &str,
    max_age_seconds: u32,
) {
    let secure = if is_https(public_url) { "; Secure" } else { "" };
    let cookie = format!(
        "{name}={value}; Path=/; Max-Age={max_age_seconds}; HttpOnly; SameSite=Lax{secure}"
    );
    let value = HeaderValue::from_str(&cookie).expect("cookies of ours are plain ASCII");
    response.headers_mut().append(SET_COOKIE, value);
}

/// The SHA-256 of a connect's cookie, if the browser showed it.
pub(crate) fn hash_of(
    headers: &HeaderMap,
    connect: &ConnectId,
    public_url: &Url,
) -> Option<Vec<u8>> {
    find(headers, &name(connect, public_url)).map(authorize::hash)
}

/// The value of a cookie that a browser showed.
pub(super) fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    pairs(headers).find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// The oldest of the others that the browser showed: ids begin with their moment.
fn too_many(
    headers: &HeaderMap,
    connect: &ConnectId,
    public_url: &Url,
) -> impl Iterator<Item = ConnectId> {
    let ids = pairs(headers)
        .filter_map(|(key, _)| key.strip_prefix(prefix(public_url))?.parse::<ConnectId>().ok());
    let mut others: Vec<ConnectId> = ids.filter(|id| id != connect).collect();
    others.sort_unstable_by(|a, b| b.as_str().cmp(a.as_str()));
    others.into_iter().skip(MAX_KEPT - 1)
}

fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let texts = headers.get_all(COOKIE).iter().filter_map(|header| header.to_str().ok());
    texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='))
}

fn name(connect: &ConnectId, public_url: &Url) -> String {
    format!("{}{connect}", prefix(public_url))
}

fn prefix(public_url: &Url) -> &'static str {
    if is_https(public_url) { "__Host-lk_" } else { "lk_" }
}

pub(super) fn is_https(url: &Url) -> bool {
    url.scheme() == "https"
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;
    use latchkey_shared::clock::Clock;

    use super::*;

    fn shown(cookies: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, cookies.parse().unwrap());
        headers
    }

    #[test]
    fn a_browser_shows_what_it_was_given_for_each_connect() {
        let [first, second] = [(); 2].map(|()| ConnectId::new(&Clock::system()));
        for (url, begin, secure) in [
            ("https://a.example", "__Host-lk_con_", true),
            ("http://127.0.0.1:8080", "lk_con_", false),
        ] {
            let url: Url = url.parse().unwrap();
            let mut response = ().into_response();
            let cookies = [&first, &second].map(|connect| {
                let cookie = PageCookie::new();
                cookie.put(&mut response, connect, &url, &HeaderMap::new());
                cookie
            });
            let set = response.headers().get_all(SET_COOKIE).iter();
            let set: Vec<&str> = set.map(|value| value.to_str().unwrap()).collect();
            assert!(set[0].starts_with(begin) && set[0].contains("; HttpOnly; SameSite=Lax"));
            assert_eq!(set[0].contains("; Secure"), secure);

            let pairs: Vec<&str> = set.iter().map(|one| one.split(';').next().unwrap()).collect();
            let headers = shown(&format!("a=b; {}; c=d", pairs.join("; ")));
            assert_eq!(hash_of(&headers, &first, &url), Some(cookies[0].hash()));
            assert_eq!(hash_of(&headers, &second, &url), Some(cookies[1].hash()));
            assert_eq!(hash_of(&HeaderMap::new(), &first, &url), None);
        }
    }

    #[test]
    fn a_browser_forgets_the_oldest_of_many() {
        let url: Url = "https://a.example".parse().unwrap();
        let clock = Clock::system();
        let ids: Vec<ConnectId> = (0..20)
            .map(|_| {
                clock.advance(chrono::TimeDelta::seconds(1));
                ConnectId::new(&clock)
            })
            .collect();
        let cookies: Vec<String> = ids.iter().map(|id| format!("{}=x", name(id, &url))).collect();
        let headers = shown(&format!("{}; __Host-lk_evil=y", cookies.join("; ")));
        let mut response = ().into_response();
        PageCookie::new().put(&mut response, &ids[0], &url, &headers);
        let set = response.headers().get_all(SET_COOKIE).iter();
        let gone: Vec<&str> = set.skip(1).map(|value| value.to_str().unwrap()).collect();
        assert_eq!(gone.len(), 4, "{gone:?}");
        for (id, gone) in ids[1..5].iter().rev().zip(gone) {
            assert!(
                gone.starts_with(&format!("{}=; ", name(id, &url))) && gone.contains("Max-Age=0")
            );
        }
    }
}
