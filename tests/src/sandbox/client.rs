//! Who is calling: HTTP Basic or the form's own fields (RFC 6749 §2.3.1).

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::form_urlencoded;

use super::answer::Answer;
use super::config::ClientAuthentication;
use super::dialect;
use super::params::Params;
use super::state::Shared;

/// Reads the form, and refuses it unless it comes from a client; answers which one.
pub(super) fn authenticated(
    shared: &Shared,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(String, Params), Answer> {
    let params = Params::parse(body);
    if !is_form(headers) {
        return Err(Answer::refused("invalid_request", "the body must be a form"));
    }
    if let Some(name) = params.repeated() {
        let description = format!("{name} is given more than once");
        return Err(Answer::refused("invalid_request", &description));
    }
    let wanted = shared.config.client_authentication;
    let named = match (basic(headers), params.get("client_secret")) {
        (Some(_), Some(_)) => {
            let description = "use one way of client authentication, not two";
            return Err(Answer::refused("invalid_request", description));
        }
        (Some(_), None) if wanted == ClientAuthentication::Body => None,
        (None, Some(_)) if wanted == ClientAuthentication::Basic => None,
        (Some(pair), None) => Some(pair),
        (None, secret) => params
            .get("client_id")
            .zip(secret)
            .map(|(id, secret)| (id.to_owned(), secret.to_owned())),
    };
    let known = named.filter(|(id, secret)| shared.knows(id, secret));
    let Some((client, _)) = known else {
        let why = "the client is unknown or its secret wrong";
        return Err(shared.refuse_client(&dialect::STANDARD, why));
    };
    Ok((client, params))
}

pub(super) fn is_form(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|value| value.starts_with("application/x-www-form-urlencoded"))
}

/// Both halves are form-encoded before they are joined.
pub(super) fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let joined = STANDARD.decode(value.strip_prefix("Basic ")?).ok()?;
    let joined = String::from_utf8(joined).ok()?;
    let (id, secret) = joined.split_once(':')?;
    Some((decoded(id), decoded(secret)))
}

fn decoded(text: &str) -> String {
    form_urlencoded::parse(text.as_bytes()).next().map_or(String::new(), |(text, _)| text.into())
}
