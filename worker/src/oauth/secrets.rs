//! What was sent or received as a secret in a call, so that nothing that is kept of its answer holds it: a provider
//! may repeat what it was sent, as it was sent or encoded.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::Value;
use url::form_urlencoded::{self, byte_serialize};

/// What stands in a secret's place.
pub(crate) const REDACTED: &str = "[redacted]";
/// What is shorter is no secret, and stands in many words.
const SHORTEST: usize = 8;
/// How deep an answer is searched.
const MAX_DEPTH: usize = 16;

/// The secrets of one call, in every form that they may come back in; the longer ones first.
#[derive(Default)]
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    /// Of these.
    pub(crate) fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut forms: Vec<String> =
            secrets.into_iter().filter(|secret| secret.len() >= SHORTEST).flat_map(forms).collect();
        forms.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        Self(forms)
    }

    /// Those that a request holds: in its query, its headers and its body.
    pub(crate) fn of_request(request: &http::Request<Vec<u8>>) -> Self {
        let body = std::str::from_utf8(request.body()).unwrap_or_default();
        let mut secrets: Vec<String> =
            form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes())
                .chain(form_urlencoded::parse(body.as_bytes()))
                .filter(|(name, _)| is_secret(name))
                .map(|(_, value)| value.into_owned())
                .collect();
        secrets.extend(parts(body));
        if let Ok(body) = serde_json::from_str(body) {
            collect(&body, (is_secret, 0), &mut secrets);
        }
        let headers =
            request.headers().iter().filter_map(|(name, value)| Some((name, value.to_str().ok()?)));
        for (name, value) in headers {
            if *name == http::header::AUTHORIZATION {
                secrets.extend(authorization(value));
            } else if is_secret(name.as_str()) {
                secrets.push(value.to_owned());
            }
        }
        Self::new(secrets.iter().map(String::as_str))
    }

    /// And those that stand in an answer under names of secrets.
    pub(crate) fn and_in(mut self, answer: &[u8]) -> Self {
        let mut received = Vec::new();
        if let Ok(answer) = serde_json::from_slice(answer) {
            collect(&answer, (is_received, 0), &mut received);
        }
        let received = Self::new(received.iter().map(String::as_str));
        self.0.extend(received.0);
        self.0.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        self
    }

    /// A text without them.
    pub(crate) fn clean(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        for secret in &self.0 {
            if clean.contains(secret.as_str()) {
                clean = clean.replace(secret.as_str(), REDACTED);
            }
        }
        clean
    }

    /// A body without them.
    pub(crate) fn clean_body(&self, body: &[u8]) -> Vec<u8> {
        match std::str::from_utf8(body) {
            Ok(text) => self.clean(text).into_bytes(),
            Err(_) => self.clean(&String::from_utf8_lossy(body)).into_bytes(),
        }
    }
}

/// Whether a parameter of this name is one that nobody else may know.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let ends = ["code", "assertion", "verifier", "proof"];
    is_received(&name) || ends.iter().any(|end| name.ends_with(end))
}

/// The same of a member of an answer, where a code is an error's.
fn is_received(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let ends = ["token", "jwt", "password"];
    name.contains("secret") || ends.iter().any(|end| name.ends_with(end))
}

/// A secret as it is, and as encodings write it.
fn forms(secret: &str) -> Vec<String> {
    let encoded =
        [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD].map(|engine| engine.encode(secret));
    let quoted = Value::from(secret).to_string();
    let mut forms = Vec::from(encoded);
    forms.extend([
        secret.to_owned(),
        byte_serialize(secret.as_bytes()).collect(),
        secret.replace('/', "\\/"),
        quoted.trim_matches('"').to_owned(),
    ]);
    forms
}

/// A bearer token; or the header's value and the password in it, which is form-encoded (RFC 6749 §2.3.1).
fn authorization(value: &str) -> Vec<String> {
    let Some((_, credentials)) = value.split_once(' ') else { return vec![value.to_owned()] };
    let mut secrets = vec![credentials.to_owned()];
    let pair = STANDARD.decode(credentials).ok().and_then(|pair| String::from_utf8(pair).ok());
    if let Some((_, password)) = pair.as_deref().and_then(|pair| pair.split_once(':')) {
        secrets.push(password.to_owned());
        let whole = format!("p={password}");
        secrets.extend(
            form_urlencoded::parse(whole.as_bytes()).map(|(_, password)| password.into_owned()),
        );
    }
    secrets
}

/// The secrets of a multipart body as we write it.
fn parts(body: &str) -> impl Iterator<Item = String> + '_ {
    body.split("form-data; name=\"").skip(1).filter_map(|part| {
        let (name, rest) = part.split_once("\"\r\n\r\n")?;
        let (value, _) = rest.split_once("\r\n")?;
        is_secret(name).then(|| value.to_owned())
    })
}

fn collect(value: &Value, (is_one, depth): (fn(&str) -> bool, usize), secrets: &mut Vec<String>) {
    if depth > MAX_DEPTH {
        return;
    }
    let deeper = (is_one, depth + 1);
    match value {
        Value::Array(elements) => elements.iter().for_each(|one| collect(one, deeper, secrets)),
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(text) if is_one(name) => secrets.push(text.clone()),
                    value => collect(value, deeper, secrets),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SECRET: &str = "s3cret/+ of \"mine\"";

    /// Nothing of a secret is left of a text that holds it in whatever form.
    fn is_gone(secrets: &Secrets, secret: &str) {
        for form in forms(secret) {
            let clean = secrets.clean(&format!("before {form} after"));
            assert_eq!(clean, format!("before {REDACTED} after"), "{form}");
        }
    }

    #[test]
    fn a_secret_of_a_request_is_found_wherever_it_stands() {
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("grant_type", "authorization_code"), ("client_secret", SECRET)])
            .finish();
        let json = json!({ "client_id": "client-id", "auth_code": SECRET }).to_string();
        let multipart = format!(
            "--b\r\nContent-Disposition: form-data; name=\"refresh_token\"\r\n\r\n{SECRET}\r\n--b--\r\n"
        );
        for body in [form, json, multipart] {
            let request =
                http::Request::post("https://p.example/token").body(body.into_bytes()).unwrap();
            let secrets = Secrets::of_request(&request);
            is_gone(&secrets, SECRET);
            let kept = "authorization_code of client-id has expired";
            assert_eq!(secrets.clean(kept), kept);
        }
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("fields", "id,name"), ("access_token", SECRET)])
            .finish();
        let request =
            http::Request::get(format!("https://p.example/me?{query}")).body(Vec::new()).unwrap();
        is_gone(&Secrets::of_request(&request), SECRET);
    }

    #[test]
    fn a_secret_in_a_header_is_found() {
        let with = |name: &str, value: &str| {
            let request = http::Request::get("https://p.example/").header(name, value);
            Secrets::of_request(&request.body(Vec::new()).unwrap())
        };
        is_gone(&with("authorization", "Bearer tok3n-of-access"), "tok3n-of-access");
        is_gone(&with("access-token", "tok3n-of-access"), "tok3n-of-access");
        let password: String = byte_serialize(SECRET.as_bytes()).collect();
        let pair = STANDARD.encode(format!("client-id:{password}"));
        let secrets = with("authorization", &format!("Basic {pair}"));
        is_gone(&secrets, SECRET);
        assert_eq!(secrets.clean(&pair), REDACTED);
    }

    #[test]
    fn what_an_answer_gives_as_a_secret_is_one() {
        let answer = json!({ "data": [{ "access_token": "tok3n-of-access" }], "error_code": "expired-code" });
        let secrets = Secrets::default().and_in(answer.to_string().as_bytes());
        is_gone(&secrets, "tok3n-of-access");
        assert_eq!(secrets.clean("expired-code"), "expired-code");
        assert_eq!(Secrets::new(["short"]).clean("short"), "short");
    }
}
