//! Errors in the shapes that vendors give them. A shape is told by its members alone, so that the same
//! reader serves token endpoints and APIs, which differ even at one vendor.
//!
//! Only for answers in which what was wanted is missing: a good answer may have a member `code`, too.

use serde_json::Value;
use url::form_urlencoded;

use super::known_words;
use super::refusal::Refusal;
use super::wire::text;

/// Where the platform gives words without any code.
pub(super) const NO_CODE: &str = "no_code";
/// Longer texts are pages.
const MAX_PLAIN: usize = 300;
/// What says that all is well.
const SUCCESS: [&str; 5] = ["", "0", "ok", "success", "none"];
/// What says no more than that something is wrong.
const FAILURE: [&str; 4] = ["error", "fail", "failed", "failure"];
/// Members with a code, beside those of the standard.
const CODES: [&str; 9] = [
    "error_code",
    "errorCode",
    "errcode",
    "err_code",
    "errno",
    "err_no",
    "errorType",
    "__type",
    "faultcode",
];
/// Members with words, the more telling ones first.
const WORDS: [&str; 13] = [
    "error_description",
    "errorDescription",
    "error_message",
    "errorMessage",
    "error_msg",
    "errmsg",
    "errorSummary",
    "message",
    "msg",
    "detail",
    "description",
    "reason",
    "title",
];

/// The error in an answer that brought nothing else, in whatever form it came.
#[must_use]
pub fn of_answer(status: u16, body: &[u8]) -> Option<Refusal> {
    let failed = !(200..300).contains(&status);
    let said = match serde_json::from_slice::<Value>(body) {
        Ok(Value::String(text)) => plain(&text),
        // Words alone are an error where the status says so, or where they can mean nothing else.
        Ok(body) => read(&body).or_else(|| bare(&body).filter(|said| failed || is_known(said))),
        Err(_) => form(body).or_else(|| plain(std::str::from_utf8(body).ok()?)),
    };
    said.map(|said| Refusal { status: Some(status), ..said })
}

/// The error that an answer tells of, if it tells of one.
#[must_use]
pub fn read(body: &Value) -> Option<Refusal> {
    oauth(body)
        .or_else(|| nested(body))
        .or_else(|| typed(body))
        .or_else(|| typed(&body["meta"]))
        .or_else(|| rest_li(body))
        .or_else(|| fault(body))
        .or_else(|| coded(body))
        .or_else(|| numbered(body))
        .or_else(|| problem(body))
        .or_else(|| listed(body))
        .or_else(|| named(body))
        .or_else(|| coded(&body["data"]))
}

/// RFC 6749 §5.2, and the AT Protocol: `{error, error_description | message}`. Some write a sentence
/// where the code belongs.
fn oauth(body: &Value) -> Option<Refusal> {
    let error = code_in(&body["error"]).filter(|_| body["error"].is_string())?;
    let sentence = error.contains(' ').then_some(error.as_str());
    let refusal = Refusal::new(&error, words(body).or(sentence));
    Some(refusal.with_subcode(text(&body["error_subtype"]).or_else(|| text(&body["suberror"]))))
}

/// Meta's Graph API, Google and TikTok: `{error: {code, message, …}}`. TikTok says `ok` when all is
/// well; Google's reason says more than its code.
fn nested(body: &Value) -> Option<Refusal> {
    let error = body["error"].as_object().map(|_| &body["error"])?;
    if error.get("code").is_some_and(|code| code_in(code).is_none()) {
        return None;
    }
    let code = code_in(&error["errors"][0]["reason"])
        .or_else(|| code_in(&error["status"]))
        .or_else(|| code_in(&error["code"]))
        .or_else(|| code_in(&error["type"]))
        .or_else(|| code_in(&error[".tag"]))
        .or_else(|| words(error).map(|_| NO_CODE.to_owned()))?;
    let subcode = text(&error["error_subcode"]).or_else(|| text(&error["subcode"]));
    Some(Refusal::new(&code, words(error)).with_subcode(subcode))
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

/// Apigee: `{fault: {faultstring, detail: {errorcode}}}`.
fn fault(body: &Value) -> Option<Refusal> {
    let fault = &body["fault"];
    let code = code_in(&fault["detail"]["errorcode"]);
    let words = fault["faultstring"].as_str();
    Some(Refusal::new(&code.or_else(|| words.map(|_| NO_CODE.to_owned()))?, words))
}

/// A code under another name than the standard's.
fn coded(body: &Value) -> Option<Refusal> {
    let code = CODES.iter().find_map(|name| code_in(&body[*name]))?;
    Some(Refusal::new(&code, words(body)))
}

/// Pinterest and TikTok Business: `{code, message}`; 0 is no error. Elsewhere the code is a name.
fn numbered(body: &Value) -> Option<Refusal> {
    let code = match &body["code"] {
        Value::Number(number) if number.as_i64() == Some(0) => return None,
        Value::Number(number) => number.to_string(),
        named => code_in(named).filter(|code| code != "200")?,
    };
    Some(Refusal::new(&code, Some(body["message"].as_str().or(body["msg"].as_str())?)))
}

/// X's APIs: `{type, title, detail}`, the type being an address whose last part is a name.
fn problem(body: &Value) -> Option<Refusal> {
    let title = body["title"].as_str()?;
    let kind = body["type"].as_str()?.rsplit('/').next().filter(|kind| *kind != "about:blank");
    let code = kind.map_or_else(|| title.to_lowercase().replace(' ', "-"), str::to_owned);
    Some(Refusal::new(&code, body["detail"].as_str().or(Some(title))))
}

/// The first of several: `{errors: [{code | errorType, message}]}`, or what is wrong with a field of a
/// resource: `{errors: [{resource, field, code}]}`.
fn listed(body: &Value) -> Option<Refusal> {
    let first = &body["errors"][0];
    if let Some(sentence) = first.as_str() {
        return Some(Refusal::new(NO_CODE, Some(sentence)));
    }
    let code =
        ["code", "errorType", "error", "type"].iter().find_map(|name| code_in(&first[*name]))?;
    let field = first["field"]
        .as_str()
        .map(|field| format!("{} {field} {code}", first["resource"].as_str().unwrap_or_default()));
    Some(Refusal::new(&code, words(first).or(field.as_deref())))
}

/// The code is called a status: `{status, message}`.
fn named(body: &Value) -> Option<Refusal> {
    let status = body["status"].as_str().and_then(|_| code_in(&body["status"]))?;
    let narrower = FAILURE.contains(&status.to_lowercase().as_str());
    let code = code_in(&body["category"]).filter(|_| narrower).unwrap_or(status);
    Some(Refusal::new(&code, Some(body["message"].as_str()?)))
}

/// Words without a code, such as `{status: 400, message}`.
fn bare(body: &Value) -> Option<Refusal> {
    let said = words(body).or_else(|| words(&body["error"]))?;
    let number = ["status", "statusCode"].iter().find_map(|name| code_in(&body[*name]));
    Some(Refusal::new(number.as_deref().unwrap_or(NO_CODE), Some(said)))
}

/// The pairs of a form: `error=…&error_description=…`.
fn form(body: &[u8]) -> Option<Refusal> {
    let value = |wanted: &str| {
        let mut pairs = form_urlencoded::parse(body);
        pairs.find_map(|(name, value)| (name == wanted).then(|| value.into_owned()))
    };
    let plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-' | '.');
    let code = value("error").filter(|code| !code.is_empty() && code.chars().all(plain))?;
    Some(Refusal::new(&code, value("error_description").as_deref()))
}

/// A text without any form. Only what is known counts: anything else may be a page, or a greeting.
fn plain(text: &str) -> Option<Refusal> {
    let text = text.trim();
    let is_text = !text.is_empty() && text.len() <= MAX_PLAIN && !text.starts_with('<');
    let said = match text.contains(char::is_whitespace) {
        true => Refusal::new(NO_CODE, Some(text)),
        false => Refusal::new(text, None),
    };
    (is_text && is_known(&said)).then_some(said)
}

fn is_known(said: &Refusal) -> bool {
    known_words::meaning(&said.code, None, said.words()).is_some()
}

/// A code, unless it says that all is well.
fn code_in(value: &Value) -> Option<String> {
    text(value).filter(|code| !SUCCESS.contains(&code.to_lowercase().as_str()))
}

fn words(body: &Value) -> Option<&str> {
    let found = WORDS.iter().find_map(|name| body[*name].as_str());
    found.or_else(|| body["Message"].as_str()).filter(|words| !words.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Code, subcode, words, and the answer that they stand in.
    const SHAPES: &str = r#"
invalid_grant | | | {"error":"invalid_grant"}
invalid_grant | s | | {"error":"invalid_grant","error_subtype":"s"}
a sentence | | a sentence | {"error":"a sentence","status":503}
ExpiredToken | | m | {"error":"ExpiredToken","message":"m"}
invalid_request | | m | {"error":"invalid_request","reason":"m"}
token_revoked | | | {"ok":false,"error":"token_revoked"}
190 | 460 | m | {"error":{"message":"m","type":"t","code":190,"error_subcode":460}}
190 | 492 | m | {"error":{"message":"m","code":190,"subcode":492}}
200 | | m | {"error":{"message":"m","code":200}}
a_b | | m | {"error":{"code":"a_b","message":"m","log_id":"l"}}
invalid_grant | | m | {"error":{"type":"invalid_grant","message":"m"}}
no_code | | m | {"error":{"message":"m"}}
expired | | | {"error_summary":"expired/..","error":{".tag":"expired"}}
r | | m | {"error":{"code":403,"message":"m","status":"S","errors":[{"reason":"r"}]}}
E | 400 | m | {"error_type":"E","code":400,"error_message":"m"}
E | 400 | m | {"meta":{"error_type":"E","code":400,"error_message":"m"}}
65601 | | m | {"status":401,"serviceErrorCode":65601,"message":"m"}
40105 | | m | {"code":40105,"message":"m","data":{}}
InvalidRefreshToken | | m | {"code":"InvalidRefreshToken","message":"m"}
20026 | | m | {"code":20026,"msg":"m"}
40030 | | m | {"errcode":40030,"errmsg":"m"}
E7 | | m | {"errorCode":"E7","errorSummary":"m"}
12 | | m | {"error_code":12,"error_message":"m"}
NotAuthorizedException | | m | {"__type":"NotAuthorizedException","message":"m"}
10010 | | m | {"data":{"error_code":10010,"description":"m"},"message":"error"}
client-forbidden | | m | {"title":"t","type":"https://x.example/2/client-forbidden","detail":"m"}
too-many | | Too Many | {"title":"Too Many","type":"about:blank","status":429}
88 | | m | {"errors":[{"code":88,"message":"m"}]}
invalid_grant | | m | {"errors":[{"errorType":"invalid_grant","message":"m"}],"success":false}
no_code | | m | {"errors":["m"]}
invalid | | R f invalid | {"message":"Bad","errors":[{"resource":"R","field":"f","code":"invalid"}]}
a.b | | m | {"fault":{"faultstring":"m","detail":{"errorcode":"a.b"}}}
BAD_REFRESH_TOKEN | | m | {"status":"BAD_REFRESH_TOKEN","message":"m"}
C | | m | {"status":"error","category":"C","message":"m"}
"#;

    #[test]
    fn every_shape_is_told_by_its_members() {
        for line in SHAPES.trim().lines() {
            let parts: Vec<&str> = line.splitn(4, '|').map(str::trim).collect();
            let body: Value = serde_json::from_str(parts[3]).unwrap();
            let said = read(&body).unwrap_or_else(|| panic!("{line}"));
            let told = [
                &said.code,
                said.subcode.as_deref().unwrap_or_default(),
                said.description.as_deref().unwrap_or_default(),
            ];
            assert_eq!(told, parts[..3], "{line}");
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
            json!({ "code": "0", "message": "OK" }),
            json!({ "code": "200", "message": "OK" }),
            json!({ "errcode": 0, "errmsg": "ok" }),
            json!({ "status": "success", "message": "done" }),
            json!({ "error": null }),
            json!({ "error": "" }),
            json!({ "error": {} }),
            json!({ "message": "hello" }),
        ] {
            assert_eq!(read(&body), None, "{body}");
        }
    }

    #[test]
    fn words_without_a_code_count_where_the_status_fails_or_they_are_clear() {
        let code =
            |status: u16, body: &str| of_answer(status, body.as_bytes()).map(|said| said.code);
        let some = |code: &str| Some(code.to_owned());
        assert_eq!(code(400, r#"{"status":400,"message":"hello"}"#), some("400"));
        assert_eq!(code(400, r#"{"message":"hello"}"#), some("no_code"));
        assert_eq!(code(200, r#"{"message":"hello"}"#), None);
        assert_eq!(code(200, r#"{"message":"Invalid refresh token"}"#), some("no_code"));
        assert_eq!(code(400, "invalid_grant"), some("invalid_grant"));
        assert_eq!(code(400, "\"invalid_grant\""), some("invalid_grant"));
        assert_eq!(code(400, "The refresh token has expired."), some("no_code"));
        assert_eq!(code(400, "<html>invalid token"), None);
        assert_eq!(code(400, "anything"), None);
        let form = "error=bad_refresh_token&error_description=it+is+passed";
        let said = of_answer(200, form.as_bytes()).unwrap();
        assert_eq!(
            (said.code.as_str(), said.words(), said.status),
            ("bad_refresh_token", "it is passed", Some(200))
        );
        assert_eq!(code(200, "access_token=t&error="), None);
    }
}
