//! Errors in the shapes that vendors give them. A shape is told by its members alone, so that the same
//! reader serves token endpoints and APIs, which differ even at one vendor.
//!
//! Only for answers in which what was wanted is missing: a good answer may have a member `code`, too.

use serde_json::Value;

use super::refusal::Refusal;
use super::wire::text;

/// The error that an answer tells of, if it tells of one.
#[must_use]
pub fn read(body: &Value) -> Option<Refusal> {
    oauth(body)
        .or_else(|| nested(body))
        .or_else(|| typed(body))
        .or_else(|| rest_li(body))
        .or_else(|| numbered(body))
        .or_else(|| problem(body))
        .or_else(|| listed(body))
}

/// RFC 6749 §5.2, and the AT Protocol: `{error, error_description | message}`.
fn oauth(body: &Value) -> Option<Refusal> {
    let words = body["error_description"].as_str().or_else(|| body["message"].as_str());
    Some(Refusal::new(body["error"].as_str()?, words))
}

/// Meta's Graph API, Google and TikTok: `{error: {code, message, …}}`. TikTok says `ok` when all is
/// well; Google's reason says more than its code.
fn nested(body: &Value) -> Option<Refusal> {
    let error = body["error"].as_object().map(|_| &body["error"])?;
    let reason = error["errors"][0]["reason"].as_str().or_else(|| error["status"].as_str());
    let code = reason.map(str::to_owned).or_else(|| text(&error["code"]))?;
    if code == "ok" {
        return None;
    }
    let refusal = Refusal::new(&code, error["message"].as_str());
    let subcode = text(&error["error_subcode"]).or_else(|| text(&error["subcode"]));
    Some(refusal.with_subcode(subcode))
}

/// Instagram's and Threads' token endpoints: `{error_type, code, error_message}`.
fn typed(body: &Value) -> Option<Refusal> {
    let refusal = Refusal::new(body["error_type"].as_str()?, body["error_message"].as_str());
    Some(refusal.with_subcode(text(&body["code"])))
}

/// LinkedIn's APIs: `{status, serviceErrorCode, message}`.
fn rest_li(body: &Value) -> Option<Refusal> {
    Some(Refusal::new(&text(&body["serviceErrorCode"])?, body["message"].as_str()))
}

/// Pinterest and TikTok Business: `{code, message}`; 0 is no error.
fn numbered(body: &Value) -> Option<Refusal> {
    let code = body["code"].as_i64().filter(|code| *code != 0)?;
    Some(Refusal::new(&code.to_string(), Some(body["message"].as_str()?)))
}

/// X's APIs: `{type, title, detail}`, the type being an address whose last part is a name.
fn problem(body: &Value) -> Option<Refusal> {
    let title = body["title"].as_str()?;
    let kind = body["type"].as_str()?.rsplit('/').next().filter(|kind| *kind != "about:blank");
    let code = kind.map_or_else(|| title.to_lowercase().replace(' ', "-"), str::to_owned);
    Some(Refusal::new(&code, body["detail"].as_str().or(Some(title))))
}

/// X's older errors: `{errors: [{code, message}]}`.
fn listed(body: &Value) -> Option<Refusal> {
    let first = &body["errors"][0];
    Some(Refusal::new(&text(&first["code"])?, first["message"].as_str()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_shape_is_told_by_its_members() {
        for (body, code, subcode, words) in [
            (json!({ "error": "invalid_grant" }), "invalid_grant", None, None),
            (
                json!({ "error": "ExpiredToken", "message": "Token has expired" }),
                "ExpiredToken",
                None,
                Some("Token has expired"),
            ),
            (
                json!({ "error": { "message": "gone", "type": "OAuthException", "code": 190, "error_subcode": 460 } }),
                "190",
                Some("460"),
                Some("gone"),
            ),
            (
                json!({ "error": { "code": "access_token_invalid", "message": "m", "log_id": "l" } }),
                "access_token_invalid",
                None,
                Some("m"),
            ),
            (
                json!({ "error": { "code": 403, "message": "m", "status": "PERMISSION_DENIED",
                        "errors": [{ "reason": "youtubeSignupRequired" }] } }),
                "youtubeSignupRequired",
                None,
                Some("m"),
            ),
            (
                json!({ "error_type": "OAuthException", "code": 400, "error_message": "used" }),
                "OAuthException",
                Some("400"),
                Some("used"),
            ),
            (
                json!({ "status": 401, "serviceErrorCode": 65601, "message": "revoked" }),
                "65601",
                None,
                Some("revoked"),
            ),
            (json!({ "code": 40105, "message": "m", "data": {} }), "40105", None, Some("m")),
            (
                json!({ "title": "Client Forbidden", "type": "https://api.twitter.com/2/problems/client-forbidden", "detail": "d" }),
                "client-forbidden",
                None,
                Some("d"),
            ),
            (
                json!({ "title": "Too Many Requests", "type": "about:blank", "status": 429 }),
                "too-many-requests",
                None,
                Some("Too Many Requests"),
            ),
            (json!({ "errors": [{ "code": 88, "message": "m" }] }), "88", None, Some("m")),
        ] {
            let refusal = read(&body).unwrap_or_else(|| panic!("{body}"));
            assert_eq!(refusal.code, code, "{body}");
            assert_eq!(refusal.subcode.as_deref(), subcode, "{body}");
            assert_eq!(refusal.description.as_deref(), words, "{body}");
        }
    }

    #[test]
    fn what_is_no_error_is_none() {
        for body in [
            json!({}),
            json!([]),
            json!("error"),
            json!({ "error": { "code": "ok", "message": "" }, "data": {} }),
            json!({ "code": 0, "message": "OK", "data": {} }),
            json!({ "error": null }),
            json!({ "error": {} }),
        ] {
            assert_eq!(read(&body), None, "{body}");
        }
    }
}
