//! What was sent to a platform, as it can be read and compared: secrets and what differs every time
//! are replaced by their names.

use std::fmt::Write as _;

use latchkey_tests::TestApp;
use latchkey_tests::sandbox::Recorded;
use url::form_urlencoded;

/// Names of parameters whose values are drawn every time.
const FRESH: [&str; 2] = ["state", "code_verifier"];

/// Every request, in the order it came, each once.
pub fn told(app: &TestApp) -> String {
    let secrets = app.sandbox.secrets();
    let mut told: Vec<String> = Vec::new();
    // What the person presses is theirs.
    let pressed = |request: &Recorded| request.body.contains("decision=");
    for request in app.sandbox.requests().into_iter().filter(|request| !pressed(request)) {
        let text = tell(&request, &secrets);
        if !told.contains(&text) {
            told.push(text);
        }
    }
    told.join("\n")
}

fn tell(request: &Recorded, secrets: &[String]) -> String {
    let mut text = format!("{} {}\n", request.method, request.path);
    for (name, value) in &request.query {
        writeln!(text, "  ? {name} = {}", value_of(name, value)).expect("text takes text");
    }
    for (name, value) in &request.headers {
        let value = match value.split_once("boundary=") {
            Some((kind, _)) => format!("{kind}boundary=[fresh]"),
            None if value.starts_with("Basic ") => "Basic [client]".to_owned(),
            None => value.clone(),
        };
        writeln!(text, "  {name}: {value}").expect("text takes text");
    }
    for line in body(request) {
        writeln!(text, "  > {line}").expect("text takes text");
    }
    let mut secrets: Vec<&String> = secrets.iter().collect();
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.into_iter().fold(text, |text, secret| text.replace(secret.as_str(), "[secret]"))
}

fn value_of(name: &str, value: &str) -> String {
    match name {
        "redirect_uri" => match value.split_once("/v1/") {
            Some((_, path)) => format!("[public URL]/v1/{path}"),
            None => value.to_owned(),
        },
        // What a challenge looks like tells which form it is of.
        "code_challenge" => format!("[fresh, {} characters]", value.len()),
        _ if FRESH.contains(&name) && value.len() >= 43 => "[fresh]".to_owned(),
        _ => value.to_owned(),
    }
}

fn body(request: &Recorded) -> Vec<String> {
    let kind = request.headers.get("content-type").map(String::as_str).unwrap_or_default();
    if kind.starts_with("application/x-www-form-urlencoded") {
        let pairs = form_urlencoded::parse(request.body.as_bytes());
        return pairs
            .map(|(name, value)| format!("{name} = {}", value_of(&name, &value)))
            .collect();
    }
    if kind.starts_with("multipart/") {
        return multipart(&request.body);
    }
    let json: Option<serde_json::Map<String, serde_json::Value>> =
        serde_json::from_str(&request.body).ok();
    match json {
        Some(members) => members
            .iter()
            .map(|(name, value)| format!("{name} = {}", value_of(name, super::text(value))))
            .collect(),
        None => Vec::new(),
    }
}

fn multipart(body: &str) -> Vec<String> {
    let parts = body.split("name=\"").skip(1);
    let pair = |part: &str| {
        let (name, rest) = part.split_once('"')?;
        let value = rest.trim_start().split("\r\n").next()?;
        Some(format!("{name} = {}", value_of(name, value)))
    };
    parts.filter_map(pair).collect()
}
