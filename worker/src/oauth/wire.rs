//! Between the standard and a vendor's way of writing it: a request of RFC 6749 goes out in the
//! vendor's form, and its answer comes in as one of RFC 6749.

use latchkey_shared::platforms::Platform;
use latchkey_shared::platforms::quirks::{Encoding, Wire};
use latchkey_shared::random;
use oauth2::{HttpRequest, HttpResponse};
use serde_json::{Map, Value, json};
use url::form_urlencoded::{self, Serializer};

use super::refusal::{Refusal, TokenError};
use super::secrets::Secrets;
use super::token_client::MAX_LIFETIME;
use super::{CallError, rate_limit};

const FORM: &str = "application/x-www-form-urlencoded";

/// The same request in the vendor's form.
///
/// # Errors
/// When no request can be made of it: nothing was sent.
pub fn dress(platform: &Platform, wire: &Wire, request: HttpRequest) -> http::Result<HttpRequest> {
    let (parts, body) = request.into_parts();
    let pairs: Vec<(String, String)> = form_urlencoded::parse(&body)
        .filter_map(|(name, value)| {
            let value = match (name.as_ref(), wire.grant_type) {
                ("grant_type", Some(grant_type)) => grant_type.to_owned(),
                _ => value.into_owned(),
            };
            Some((name_of(platform, wire, &name)?, value))
        })
        .chain(wire.parameters.iter().map(|(name, value)| ((*name).into(), (*value).into())))
        .collect();
    let (content_type, body) = match wire.encoding {
        Encoding::Form => (Some(FORM.to_owned()), form(&pairs).into_bytes()),
        Encoding::Json => (Some("application/json".to_owned()), object(&pairs).into_bytes()),
        Encoding::Multipart => {
            let boundary = random::token();
            let body = multipart(&pairs, &boundary).into_bytes();
            (Some(format!("multipart/form-data; boundary={boundary}")), body)
        }
        Encoding::Query => (None, Vec::new()),
    };
    let mut request = match wire.encoding {
        Encoding::Query => http::Request::get(with_query(&parts.uri.to_string(), &pairs)),
        _ => http::Request::post(parts.uri),
    };
    if let Some(headers) = request.headers_mut() {
        *headers = parts.headers;
        headers.remove(http::header::CONTENT_TYPE);
    }
    match content_type {
        Some(content_type) => request.header(http::header::CONTENT_TYPE, content_type).body(body),
        None => request.body(body),
    }
}

/// What the vendor calls a parameter; `None`: it wants none.
fn name_of(platform: &Platform, wire: &Wire, name: &str) -> Option<String> {
    let theirs = wire.names.iter().find(|(standard, _)| *standard == name);
    let theirs = match theirs {
        Some((_, theirs)) => theirs,
        None if name == "client_id" => platform.quirks.client_id,
        None => name,
    };
    (!theirs.is_empty()).then(|| theirs.to_owned())
}

fn form(pairs: &[(String, String)]) -> String {
    Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn object(pairs: &[(String, String)]) -> String {
    let members = pairs.iter().map(|(name, value)| (name.clone(), json!(value)));
    Value::Object(members.collect::<Map<_, _>>()).to_string()
}

/// RFC 7578. The boundary is random, so that no value can hold it; our own parameters' names need no
/// escaping.
fn multipart(pairs: &[(String, String)], boundary: &str) -> String {
    let part = |(name, value): &(String, String)| {
        format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        )
    };
    pairs.iter().map(part).collect::<String>() + &format!("--{boundary}--\r\n")
}

fn with_query(uri: &str, pairs: &[(String, String)]) -> String {
    let joint = if uri.contains('?') { '&' } else { '?' };
    format!("{uri}{joint}{}", form(pairs))
}

/// The answer as RFC 6749 §5.1 would have it, without secrets where none belong.
///
/// # Errors
/// [`TokenError`]: it holds no tokens.
pub(super) fn undress(
    platform: &Platform,
    mut answer: HttpResponse,
    secrets: Secrets,
) -> Result<HttpResponse, TokenError> {
    let status = answer.status();
    let body: Option<Value> = serde_json::from_slice(answer.body()).ok();
    let secrets = secrets.and_in(answer.body());
    if status.is_success()
        && let Some(mut tokens) = body.as_ref().and_then(|body| tokens(platform, body))
    {
        for plain in ["scope", "subject"] {
            if let Some(text) = tokens[plain].as_str() {
                tokens[plain] = secrets.clean(text).into();
            }
        }
        *answer.body_mut() = tokens.to_string().into_bytes();
        // Those of a 201 are as good, and our reader takes them from a 200 alone.
        *answer.status_mut() = http::StatusCode::OK;
        return Ok(answer);
    }
    *answer.body_mut() = secrets.clean_body(answer.body());
    let retry_after = rate_limit::wait(platform, answer.headers());
    match super::errors::of_answer(status.as_u16(), answer.body()) {
        Some(refusal) => Err(TokenError::Refused(Refusal { wait: retry_after, ..refusal })),
        None if status.is_success() => Ok(answer),
        None => Err(CallError::Status { status: status.as_u16(), retry_after, said: None }.into()),
    }
}

/// The object that holds the access token, its members under the standard's names.
fn tokens(platform: &Platform, body: &Value) -> Option<Value> {
    let reply = &platform.quirks.reply;
    let theirs = body.pointer(reply.at).unwrap_or(body);
    theirs["access_token"].as_str()?;
    let mut tokens = json!({
        "access_token": theirs["access_token"],
        "token_type": theirs["token_type"].as_str().unwrap_or("bearer"),
    });
    let mut copy = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            tokens[name] = value;
        }
    };
    copy("refresh_token", theirs["refresh_token"].as_str().map(Into::into));
    copy("expires_in", seconds(&theirs["expires_in"]));
    copy("refresh_token_expires_in", seconds(&theirs[reply.refresh_lifetime]));
    copy("scope", scopes(platform, &theirs[reply.scopes]).map(Into::into));
    copy("subject", reply.subject.and_then(|member| text(&theirs[member])).map(Into::into));
    Some(tokens)
}

/// A lifetime: a whole number of seconds, or one in quotes. What cannot be meant is left out, as if it
/// had not been said: nothing, less than nothing, a fraction, more than ten years.
fn seconds(value: &Value) -> Option<Value> {
    let whole = |number: f64| (number.fract() == 0.0 && number >= 0.0).then_some(number as u64);
    let number = match value {
        Value::String(text) => text.trim().parse::<f64>().ok().and_then(whole),
        value => value.as_u64().or_else(|| value.as_f64().and_then(whole)),
    };
    number.filter(|number| (1..=MAX_LIFETIME.as_secs()).contains(number)).map(Into::into)
}

fn scopes(platform: &Platform, value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        _ => return None,
    };
    Some(if platform.quirks.scopes_by_comma { text.replace(',', " ") } else { text })
}

/// How many scopes of an answer are kept.
const MAX_SCOPES: usize = 200;
/// And of which length.
const MAX_SCOPE: usize = 200;

/// The scopes of an answer that can be scopes: RFC 6749 §3.3 gives their characters, and no platform has as many as
/// these.
pub(super) fn sound_scopes<'a>(scopes: impl Iterator<Item = &'a str>) -> Vec<String> {
    let sound = |scope: &&str| {
        let may_be = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        (1..=MAX_SCOPE).contains(&scope.len()) && scope.bytes().all(may_be)
    };
    scopes.filter(sound).take(MAX_SCOPES).map(str::to_owned).collect()
}

/// Ids may be numbers beyond what a double holds: they are kept to the digit. No NUL is kept: PostgreSQL takes none.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.replace('\0', "\u{fffd}")),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::refusal::tests::platforms;
    use super::*;

    fn answered(id: &str, status: u16, body: &Value) -> Result<Value, TokenError> {
        let platforms = platforms();
        let answer = http::Response::builder().status(status);
        let answer = answer.body(body.to_string().into_bytes()).unwrap();
        let undressed = undress(platforms.get(id).unwrap(), answer, Secrets::default())?;
        assert_eq!(undressed.status(), 200);
        Ok(serde_json::from_slice(undressed.body()).unwrap())
    }

    #[test]
    fn a_list_of_one_and_the_flat_form_are_the_same_answer() {
        let flat = json!({ "access_token": "t", "user_id": 17_841_405_309_211_844_u64,
                           "permissions": "basic,publish" });
        let listed = json!({ "data": [flat.clone()] });
        let wanted =
            json!({ "access_token": "t", "token_type": "bearer", "scope": "basic publish" });
        assert_eq!(answered("INSTAGRAM", 200, &flat).unwrap(), wanted);
        assert_eq!(answered("INSTAGRAM", 200, &listed).unwrap(), wanted);
        let as_list = json!({ "access_token": "t", "permissions": ["basic", "publish"] });
        assert_eq!(answered("INSTAGRAM", 200, &as_list).unwrap(), wanted);
    }

    #[test]
    fn lifetimes_stand_under_several_names() {
        let of = |id: &str, body: Value| answered(id, 200, &body).unwrap();
        let tiktok = json!({ "access_token": "t", "refresh_token": "r", "refresh_expires_in": 9 });
        assert_eq!(of("TIKTOK_PERSONAL", tiktok)["refresh_token_expires_in"], 9);
        let inner = json!({ "access_token": "t", "open_id": "o", "refresh_token_expires_in": "8" });
        let business = of("TIKTOK_BUSINESS", json!({ "code": 0, "data": inner }));
        assert_eq!(
            (&business["refresh_token_expires_in"], &business["subject"]),
            (&json!(8), &json!("o"))
        );
        let quoted =
            of("SANDBOX", json!({ "access_token": "t", "expires_in": "60", "subject": "x" }));
        assert_eq!((&quoted["expires_in"], &quoted["subject"]), (&json!(60), &Value::Null));
    }

    #[test]
    fn a_lifetime_that_cannot_be_meant_was_not_said() {
        let told = |value: Value| {
            let body = json!({ "access_token": "t", "expires_in": value, "refresh_token_expires_in": value });
            let told = answered("SANDBOX", 200, &body).unwrap();
            assert_eq!(told["expires_in"], told["refresh_token_expires_in"]);
            told["expires_in"].as_u64()
        };
        const TEN_YEARS: u64 = 10 * 366 * 86_400;
        for good in [json!(60), json!("60"), json!(" 60 "), json!(60.0), json!("60.0")] {
            assert_eq!(told(good.clone()), Some(60), "{good}");
        }
        assert_eq!(told(json!(TEN_YEARS)), Some(TEN_YEARS));
        for nonsense in [
            json!(0),
            json!("0"),
            json!(-1),
            json!("-3600"),
            json!("soon"),
            json!(""),
            json!(0.5),
            json!("3599.5"),
            json!(TEN_YEARS + 1),
            json!(1_800_000_000_000_u64),
            json!(1e300),
            json!("inf"),
            json!("NaN"),
            json!(null),
            json!(true),
            json!([60]),
            json!({}),
        ] {
            assert_eq!(told(nonsense.clone()), None, "{nonsense}");
        }
    }

    #[test]
    fn an_error_inside_a_good_status_is_an_error() {
        let refused = |id: &str, body: Value| match answered(id, 200, &body) {
            Err(TokenError::Refused(refusal)) => refusal.code,
            other => panic!("{other:?}"),
        };
        let body = json!({ "code": 40_105, "message": "m", "data": {} });
        assert_eq!(refused("TIKTOK_BUSINESS", body), "40105");
        assert_eq!(
            refused("TIKTOK_PERSONAL", json!({ "error": "invalid_grant" })),
            "invalid_grant"
        );
    }

    fn dressed(id: &str, wire: impl Fn(&Platform) -> Wire) -> (String, String, String) {
        let platforms = platforms();
        let platform = platforms.get(id).unwrap();
        let form = "grant_type=refresh_token&refresh_token=a%26b&client_id=c&client_secret=s";
        let request = http::Request::post("https://v.example/token?x=1")
            .header("content-type", FORM)
            .header("accept", "application/json")
            .body(form.as_bytes().to_vec())
            .unwrap();
        let request = dress(platform, &wire(platform), request).unwrap();
        assert_eq!(request.headers()["accept"], "application/json");
        let body = String::from_utf8(request.body().clone()).unwrap();
        (request.method().to_string(), request.uri().to_string(), body)
    }

    #[test]
    fn a_request_goes_out_in_the_vendor_s_form() {
        let refresh = |platform: &Platform| platform.quirks.refresh;
        let (method, uri, body) = dressed("THREADS", refresh);
        assert_eq!((method.as_str(), body.as_str()), ("GET", ""));
        assert_eq!(
            uri,
            "https://v.example/token?x=1&grant_type=th_refresh_token&access_token=a%26b"
        );
        let (_, _, body) = dressed("TIKTOK_PERSONAL", refresh);
        assert!(body.contains("client_key=c") && !body.contains("client_id"), "{body}");
        let (_, _, body) = dressed("TIKTOK_BUSINESS", refresh);
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((&body["client_id"], &body["refresh_token"]), (&json!("c"), &json!("a&b")));
        let (method, _, body) = dressed("INSTAGRAM", |platform| platform.quirks.exchange);
        assert_eq!(method, "POST");
        assert!(body.contains("name=\"refresh_token\"\r\n\r\na&b\r\n"), "{body}");
    }
}
