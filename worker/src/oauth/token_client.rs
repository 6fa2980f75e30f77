//! The token endpoint, through the `oauth2` crate: what exchange and refresh have in common.

use std::time::Duration;

use latchkey_shared::credentials::Credentials;
use latchkey_shared::platforms::quirks::Wire;
use latchkey_shared::platforms::{ClientAuth, Platform, RefreshModel};
use latchkey_shared::tokens::TokenSet;
use oauth2::basic::{
    BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse,
    BasicTokenType,
};
use oauth2::{
    AsyncHttpClient, AuthType, ClientId, ClientSecret, EndpointNotSet, EndpointSet, HttpRequest,
    HttpResponse, RequestTokenError, StandardRevocableToken, StandardTokenResponse,
    TokenResponse as _, TokenUrl,
};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use url::Url;

use super::refusal::{Refusal, TokenError};
use super::secrets::Secrets;
use super::{CallError, PlatformHttp, wire};

/// Longer lifetimes are not believed.
pub(crate) const MAX_LIFETIME: Duration = Duration::from_secs(10 * 366 * 86_400);

/// What platforms add to RFC 6749 §5.1.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Extra {
    refresh_token_expires_in: Option<u64>,
    subject: Option<String>,
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
    /// How long the refresh token lives.
    pub refresh_lifetime: Option<Duration>,
    /// Whether the refresh token is the one that was presented.
    pub refresh_token_stayed: bool,
    /// What was granted, if the platform said so.
    pub scopes: Option<Vec<String>>,
    /// Why the account cannot be connected although there are tokens, if so: as a reason code.
    pub unfit: Option<&'static str>,
}

pub(super) fn client(platform: &Platform, url: &Url, credentials: &Credentials) -> Client {
    let secret = ClientSecret::new(credentials.client_secret.expose_secret().to_owned());
    oauth2::Client::new(ClientId::new(credentials.client_id.clone()))
        .set_client_secret(secret)
        .set_auth_type(match platform.client_auth {
            ClientAuth::Basic => AuthType::BasicAuth,
            ClientAuth::Body => AuthType::RequestBody,
        })
        .set_token_uri(TokenUrl::from_url(url.clone()))
}

/// Our HTTP client as the `oauth2` crate wants it: one call, one deadline, in the vendor's form.
pub(super) struct OneCall<'a> {
    pub http: &'a PlatformHttp,
    pub platform: &'a Platform,
    pub wire: &'a Wire,
    pub deadline: Duration,
}

impl<'c> AsyncHttpClient<'c> for OneCall<'_> {
    type Error = TokenError;
    type Future = futures_util::future::BoxFuture<'c, Result<HttpResponse, TokenError>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async {
            let request = wire::dress(self.platform, self.wire, request)
                .map_err(|error| CallError::Unreadable(error.to_string()))?;
            let secrets = Secrets::of_request(&request);
            let answer = self.http.send(self.platform, request, self.deadline).await;
            let answer = answer.map_err(|error| TokenError::of_call(self.platform, error))?;
            wire::undress(self.platform, answer, secrets)
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
    let scopes = (response.scopes().into_iter().flatten())
        .flat_map(|scope| scope.split(platform.scope_separator.as_ref()));
    let scopes = wire::sound_scopes(scopes);
    Ok(Answer {
        tokens: TokenSet {
            access_token: access_token.clone().into(),
            refresh_token: refresh_token.filter(|t| !t.is_empty()).map(|t| t.clone().into()),
            subject: response.extra_fields().subject.clone(),
            host: None,
        },
        access_lifetime: response.expires_in(),
        refresh_lifetime: response.extra_fields().refresh_token_expires_in.map(Duration::from_secs),
        refresh_token_stayed: false,
        scopes: Some(scopes).filter(|scopes| !scopes.is_empty()),
        unfit: None,
    })
}

/// What the crate's error means to us.
pub(super) fn token_error(error: RequestTokenError<TokenError, BasicErrorResponse>) -> TokenError {
    match error {
        RequestTokenError::Request(error) => error,
        RequestTokenError::ServerResponse(response) => {
            let description = response.error_description().map(String::as_str);
            TokenError::Refused(Refusal::new(response.error().as_ref(), description))
        }
        RequestTokenError::Parse(error, _) => {
            CallError::Unreadable(format!("at `{}`", error.path())).into()
        }
        RequestTokenError::Other(what) => CallError::Unreadable(what).into(),
    }
}
