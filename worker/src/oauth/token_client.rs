//! The token endpoint, through the `oauth2` crate: what exchange and refresh have in common.

use std::time::Duration;

use latchkey_shared::credentials::Credentials;
use latchkey_shared::platforms::{ClientAuth, Endpoints, Platform, RefreshModel};
use latchkey_shared::tokens::TokenSet;
use oauth2::basic::{
    BasicErrorResponse, BasicErrorResponseType, BasicRevocationErrorResponse,
    BasicTokenIntrospectionResponse, BasicTokenType,
};
use oauth2::{
    AsyncHttpClient, AuthType, ClientId, ClientSecret, EndpointNotSet, EndpointSet, HttpRequest,
    HttpResponse, RequestTokenError, StandardRevocableToken, StandardTokenResponse,
    TokenResponse as _, TokenUrl,
};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use super::refusal::{Refusal, TokenError};
use super::{CallError, PlatformHttp};

/// What platforms add to RFC 6749 §5.1.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Extra {
    refresh_token_expires_in: Option<u64>,
}

impl oauth2::ExtraTokenFields for Extra {}

pub(super) type TokenAnswer = StandardTokenResponse<Extra, BasicTokenType>;

pub(super) type Client = oauth2::Client<
    BasicErrorResponse,
    TokenAnswer,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// A token set as a platform gave it. Lifetimes count from before the call.
#[derive(Debug)]
pub struct Answer {
    /// The tokens.
    pub tokens: TokenSet,
    /// How long the access token lives, if the platform said so.
    pub access_lifetime: Option<Duration>,
    /// How long it usually lives at this platform, if that is known.
    pub usual_lifetime: Option<Duration>,
    /// How long the refresh token lives.
    pub refresh_lifetime: Option<Duration>,
    /// What was granted, if the platform said so.
    pub scopes: Option<Vec<String>>,
}

pub(super) fn client(
    (platform, endpoints): (&Platform, &Endpoints),
    credentials: &Credentials,
) -> Client {
    let secret = ClientSecret::new(credentials.client_secret.expose_secret().to_owned());
    oauth2::Client::new(ClientId::new(credentials.client_id.clone()))
        .set_client_secret(secret)
        .set_auth_type(match platform.client_auth {
            ClientAuth::Basic => AuthType::BasicAuth,
            ClientAuth::Body => AuthType::RequestBody,
        })
        .set_token_uri(TokenUrl::from_url(endpoints.token_url.clone()))
}

/// Our HTTP client as the `oauth2` crate wants it: one call, one deadline.
pub(super) struct OneCall<'a> {
    pub http: &'a PlatformHttp,
    pub deadline: Duration,
}

impl<'c> AsyncHttpClient<'c> for OneCall<'_> {
    type Error = CallError;
    type Future = futures_util::future::BoxFuture<'c, Result<HttpResponse, CallError>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async {
            let mut response = self.http.send(request, self.deadline).await?;
            let status = response.status();
            if status.is_client_error() && Refusal::inside(response.body()).is_none() {
                return Err(CallError::Status { status: status.as_u16(), retry_after: None });
            }
            // The crate takes tokens from a 200 alone; those of a 201 are as good.
            if status.is_success() {
                *response.status_mut() = http::StatusCode::OK;
            }
            Ok(response)
        })
    }
}

/// What a readable answer brings. Some platforms leave a member empty instead of leaving it out.
/// Whoever an ID token names does not count: nothing here could check it, and the identity is asked
/// for with the access token.
pub(super) fn answer(platform: &Platform, response: &TokenAnswer) -> Result<Answer, TokenError> {
    let access_token = response.access_token().secret();
    if access_token.is_empty() {
        let why = "an empty access token".to_owned();
        return Err(TokenError::Call(CallError::Unreadable(why)));
    }
    let refresh_token = response.refresh_token().map(|token| token.secret());
    let refresh_token = refresh_token.filter(|_| platform.refresh != RefreshModel::ReconsentOnly);
    let scopes: Vec<String> = (response.scopes().into_iter().flatten())
        .flat_map(|scope| scope.split(platform.scope_separator.as_ref()))
        .map(str::to_owned)
        .filter(|scope| !scope.is_empty())
        .collect();
    Ok(Answer {
        tokens: TokenSet {
            access_token: access_token.clone().into(),
            refresh_token: refresh_token.filter(|t| !t.is_empty()).map(|t| t.clone().into()),
        },
        access_lifetime: response.expires_in(),
        usual_lifetime: platform.token_lifetime,
        refresh_lifetime: response.extra_fields().refresh_token_expires_in.map(Duration::from_secs),
        scopes: Some(scopes).filter(|scopes| !scopes.is_empty()),
    })
}

/// What the crate's error means to us.
pub(super) fn token_error(error: RequestTokenError<CallError, BasicErrorResponse>) -> TokenError {
    match error {
        RequestTokenError::ServerResponse(response) => {
            let description = response.error_description().map(String::as_str);
            TokenError::Refused(Refusal::new(word(response.error()), description))
        }
        RequestTokenError::Request(error) => TokenError::Call(error),
        RequestTokenError::Parse(error, body) => match Refusal::inside(&body) {
            Some(refusal) => TokenError::Refused(refusal),
            None => TokenError::Call(CallError::Unreadable(format!("at `{}`", error.path()))),
        },
        RequestTokenError::Other(what) => TokenError::Call(CallError::Unreadable(what)),
    }
}

fn word(error: &BasicErrorResponseType) -> &str {
    error.as_ref()
}
