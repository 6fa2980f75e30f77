//! How long a server wants to be left alone: `Retry-After`, or what it says in a header of its own.

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};
use latchkey_shared::platforms::Platform;
use latchkey_shared::platforms::quirks::RateLimit;
use serde_json::Value;

/// How far a wish is believed.
const MAX_WAIT: Duration = Duration::from_secs(24 * 3600);
/// Smaller numbers are no moments, but seconds from now.
const EARLIEST_MOMENT: u64 = 1_000_000_000;
/// Where Meta says how long, in minutes.
const META_USAGE: &str = "x-business-use-case-usage";

/// How long the platform of an answer wants to be left alone, if it says so.
#[must_use]
pub fn wait(platform: &Platform, headers: &HeaderMap) -> Option<Duration> {
    let wait = wished(headers).or_else(|| match platform.quirks.rate_limit? {
        RateLimit::Reset(name) => reset(headers, name),
        RateLimit::MetaUsage => meta_usage(headers),
    })?;
    Some(wait.min(MAX_WAIT))
}

/// What `Retry-After` asks for, as far as it is believed.
#[must_use]
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    wished(headers).map(|wait| wait.min(MAX_WAIT))
}

/// Seconds, or an HTTP date (RFC 9110 §10.2.3). A date counts from the answer's own, so that no
/// clock needs to be right. Nonsense is no wish.
fn wished(headers: &HeaderMap) -> Option<Duration> {
    let text = text(headers, RETRY_AFTER)?;
    match seconds(text) {
        Some(seconds) => Some(Duration::from_secs(seconds)),
        None => since(headers, DateTime::parse_from_rfc2822(text).ok()?.to_utc()),
    }
}

fn reset(headers: &HeaderMap, name: &'static str) -> Option<Duration> {
    let seconds = seconds(text(headers, HeaderName::from_static(name))?)?;
    if seconds < EARLIEST_MOMENT {
        return Some(Duration::from_secs(seconds));
    }
    since(headers, DateTime::from_timestamp(i64::try_from(seconds).ok()?, 0)?)
}

/// The longest wait that stands anywhere in it; zero means none.
fn meta_usage(headers: &HeaderMap) -> Option<Duration> {
    let usage: Value =
        serde_json::from_str(text(headers, HeaderName::from_static(META_USAGE))?).ok()?;
    let uses = usage.as_object()?.values().filter_map(Value::as_array).flatten();
    let minutes = uses.filter_map(|one| one["estimated_time_to_regain_access"].as_u64()).max()?;
    (minutes > 0).then(|| Duration::from_secs(minutes.saturating_mul(60)))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    Some(headers.get(name)?.to_str().ok()?.trim())
}

/// What does not even fit is as absurd as what is capped.
fn seconds(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

fn since(headers: &HeaderMap, moment: DateTime<Utc>) -> Option<Duration> {
    let answered = DateTime::parse_from_rfc2822(text(headers, DATE)?).ok()?.to_utc();
    Some((moment - answered).to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use latchkey_shared::platforms::Platforms;

    use super::*;

    const NOW: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn wish(id: &str, headers: &[(&str, &str)]) -> Option<u64> {
        let text = format!(
            "[platforms.{id}]\nclient_id = \"c\"\nclient_secret = {{ value = \"s\" }}\n\
             base_url = \"http://127.0.0.1:9\""
        );
        let platforms = Platforms::parse(&text).unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        wait(platforms.get(id).unwrap(), &map).map(|wait| wait.as_secs())
    }

    #[test]
    fn a_wish_is_a_number_of_seconds_or_a_date_and_is_capped() {
        const DAY: u64 = 24 * 3600;
        for (text, wanted) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("86401", Some(DAY)),
            ("99999999999999999999999999", Some(DAY)),
            ("Sun, 06 Nov 1994 08:51:37 GMT", Some(120)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(DAY)),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            let headers = [("retry-after", text), ("date", NOW)];
            assert_eq!(wish("SANDBOX", &headers), wanted, "{text}");
        }
        let undated = [("retry-after", "Sun, 06 Nov 1994 08:51:37 GMT")];
        assert_eq!(wish("SANDBOX", &undated), None, "from when?");
    }

    #[test]
    fn vendors_have_headers_of_their_own() {
        let now = ("date", "Sun, 22 Nov 2026 09:00:00 GMT");
        let in_two_minutes = "1795338120";
        assert_eq!(wish("X", &[("x-rate-limit-reset", in_two_minutes), now]), Some(120));
        assert_eq!(wish("PINTEREST", &[("x-ratelimit-reset", "35"), now]), Some(35));
        assert_eq!(wish("X", &[("x-rate-limit-reset", in_two_minutes)]), None, "from when?");
        assert_eq!(
            wish("X", &[("retry-after", "7"), ("x-rate-limit-reset", in_two_minutes), now]),
            Some(7),
            "the standard's header comes first"
        );
        assert_eq!(wish("SANDBOX", &[("x-rate-limit-reset", "9"), now]), None);
    }

    #[test]
    fn meta_says_it_in_minutes_inside_json() {
        let usage = |minutes: u32| {
            format!(
                r#"{{"17841400":[{{"type":"instagram","estimated_time_to_regain_access":{minutes}}}],
                     "2":[{{"type":"pages","estimated_time_to_regain_access":0}}]}}"#
            )
            .replace('\n', "")
        };
        let header = |text: &str| wish("THREADS", &[("x-business-use-case-usage", text)]);
        assert_eq!(header(&usage(19)), Some(19 * 60));
        assert_eq!(header(&usage(0)), None);
        assert_eq!(header("no json"), None);
    }
}
