//! Every error code, in one table: what the API answers with, and what producers are told. Codes are
//! stable: applications match on them.

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $status:ident, $word:tt, $title:literal;)+) => {
        /// What went wrong, for machines.
        #[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ToSchema)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $word)] $variant),+
        }

        impl Code {
            /// Every code, in order of status.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word that stands in `code`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The HTTP status that comes with it.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status),+ }
            }

            /// What it means, for people; the same for every occurrence.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),+ }
            }
        }
    };
}

codes! {
    /// The body cannot be read as JSON.
    InvalidJson = BAD_REQUEST, "INVALID_JSON", "The body is not JSON";
    /// A field or a parameter is missing, unknown or wrong.
    ValidationFailed = BAD_REQUEST, "VALIDATION_FAILED", "The request is not valid";
    /// The platform id names no platform.
    PlatformUnknown = BAD_REQUEST, "PLATFORM_UNKNOWN", "There is no such platform";
    /// The browser may not be sent there.
    RedirectNotAllowed = BAD_REQUEST, "REDIRECT_NOT_ALLOWED", "The redirect URL is not allowed";
    /// The password does not have the form of an app password.
    AppPasswordRequired = BAD_REQUEST, "APP_PASSWORD_REQUIRED", "An app password is needed";
    /// The scopes belong to the client: no connect may ask for others.
    ScopesFixed = BAD_REQUEST, "SCOPES_FIXED", "The scopes cannot be chosen";
    /// The browser came back with a state that is not ours.
    StateUnknown = BAD_REQUEST, "STATE_UNKNOWN", "The link is unknown";
    /// The browser came back with neither a code nor an error.
    CallbackIncomplete = BAD_REQUEST, "CALLBACK_INCOMPLETE", "The platform's answer is incomplete";
    /// The browser came back by the callback of another platform than it was sent to.
    CallbackMismatch = BAD_REQUEST, "CALLBACK_MISMATCH", "That was another platform's callback";
    /// The `Idempotency-Key` does not have the form of one.
    IdempotencyKeyInvalid = BAD_REQUEST, "IDEMPOTENCY_KEY_INVALID", "The Idempotency-Key is malformed";
    /// A request over RabbitMQ came without a `message_id`, or with one that is too long or not visible ASCII.
    MessageIdRequired = BAD_REQUEST, "MESSAGE_ID_REQUIRED", "A message id is needed";
    /// A request over RabbitMQ has a type that is none of ours.
    RequestUnknown = BAD_REQUEST, "REQUEST_UNKNOWN", "There is no such request";
    /// A request over RabbitMQ wants its answer where none may go. Never answered: it stands with dead letters.
    ReplyToForbidden = BAD_REQUEST, "REPLY_TO_FORBIDDEN", "No answer may go there";
    /// No key, or none that is valid.
    Unauthorized = UNAUTHORIZED, "UNAUTHORIZED", "A valid API key is needed";
    /// A request over RabbitMQ came from a user that no API key stands behind.
    ProducerUnknown = FORBIDDEN, "PRODUCER_UNKNOWN", "The producer is unknown";
    /// The key's role is too low.
    ForbiddenRole = FORBIDDEN, "FORBIDDEN_ROLE", "The key's role does not allow this";
    /// The key is limited to one workspace.
    ForbiddenReach = FORBIDDEN, "FORBIDDEN_REACH", "The key's reach does not allow this";
    /// A form was sent from a page that is not ours.
    OriginForeign = FORBIDDEN, "ORIGIN_FOREIGN", "The form was sent from another page";
    /// The connect is bound to another browser.
    BrowserMismatch = FORBIDDEN, "BROWSER_MISMATCH", "The connect belongs to another browser";
    /// The claim is not the one that the redirect carried.
    ClaimWrong = FORBIDDEN, "CLAIM_WRONG", "The claim is not this connect's";
    /// Nothing of this id that the key may see.
    NotFound = NOT_FOUND, "NOT_FOUND", "There is no such thing";
    /// The body names a workspace that is not there.
    WorkspaceNotFound = NOT_FOUND, "WORKSPACE_NOT_FOUND", "There is no such workspace";
    /// The body names a profile that is not there.
    ProfileNotFound = NOT_FOUND, "PROFILE_NOT_FOUND", "There is no such profile";
    /// The body names an app that is not there.
    AppNotFound = NOT_FOUND, "APP_NOT_FOUND", "There is no such app";
    /// The body names an account that is not there.
    AccountNotFound = NOT_FOUND, "ACCOUNT_NOT_FOUND", "There is no such account";
    /// The path knows other methods.
    MethodNotAllowed = METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "The path does not take this method";
    /// The body did not arrive in time.
    RequestTimeout = REQUEST_TIMEOUT, "REQUEST_TIMEOUT", "The body did not arrive in time";
    /// The connect has ended.
    ConnectEnded = CONFLICT, "CONNECT_ENDED", "The connect has ended";
    /// There is nothing to choose in the connect, not yet or not any more.
    ConnectNotSelecting = CONFLICT, "CONNECT_NOT_SELECTING", "There is nothing to choose";
    /// There is nothing to claim in the connect, not yet or not any more.
    ConnectNotClaiming = CONFLICT, "CONNECT_NOT_CLAIMING", "There is nothing to claim";
    /// The connect is exclusive, and an account of its platform is there already.
    AccountAlreadyConnected = CONFLICT, "ACCOUNT_ALREADY_CONNECTED", "An account of the platform is connected already";
    /// More than one account of a platform is in use.
    AccountPolicyBroken = CONFLICT, "ACCOUNT_POLICY_BROKEN", "The accounts break the policy";
    /// Somebody has chosen already.
    SelectionMade = CONFLICT, "SELECTION_MADE", "The choice was made already";
    /// The workspace has too many connects open at once.
    TooManyOpenConnects = CONFLICT, "TOO_MANY_OPEN_CONNECTS", "Too many connects are open";
    /// Something that the request names was deleted at this moment.
    ReferenceGone = CONFLICT, "REFERENCE_GONE", "Something that the request names is gone";
    /// Another profile has this external id.
    ExternalIdTaken = CONFLICT, "EXTERNAL_ID_TAKEN", "The external id is taken";
    /// Something that has not ended names the profile.
    ProfileInUse = CONFLICT, "PROFILE_IN_USE", "The profile is in use";
    /// Something that has not ended needs the app.
    AppInUse = CONFLICT, "APP_IN_USE", "The app is in use";
    /// Another app is the same client and asks for other scopes.
    ScopesDiffer = CONFLICT, "SCOPES_DIFFER", "The client asks for other scopes already";
    /// The app has an old and a new secret already.
    TooManySecrets = CONFLICT, "TOO_MANY_SECRETS", "The app has too many secrets";
    /// Without it the app would have none.
    LastSecret = CONFLICT, "LAST_SECRET", "It is the app's last secret";
    /// The account is not connected.
    AccountNotConnected = CONFLICT, "ACCOUNT_NOT_CONNECTED", "The account is not connected";
    /// The account's tokens cannot be refreshed.
    NothingToRefresh = CONFLICT, "NOTHING_TO_REFRESH", "There is nothing to refresh";
    /// The refresh token may be spent: it is not presented before its time.
    RefreshInDoubt = CONFLICT, "REFRESH_IN_DOUBT", "The refresh token is in doubt";
    /// The browser came back a second time, or the connect was taken back.
    StateUsed = CONFLICT, "STATE_USED", "The link was used already";
    /// The organisation has as many webhook endpoints as it may.
    TooManyWebhookEndpoints = CONFLICT, "TOO_MANY_WEBHOOK_ENDPOINTS", "There are too many webhook endpoints";
    /// Nothing is delivered to the endpoint.
    EndpointDisabled = CONFLICT, "ENDPOINT_DISABLED", "The webhook endpoint is disabled";
    /// A replay to the endpoint is under way.
    ReplayRunning = CONFLICT, "REPLAY_RUNNING", "A replay is under way";
    /// A request with this `Idempotency-Key` is running.
    IdempotencyKeyInUse = CONFLICT, "IDEMPOTENCY_KEY_IN_USE", "A request with this Idempotency-Key is running";
    /// The link to a connect's first page was traded for another browser's cookie.
    LinkUsed = CONFLICT, "LINK_USED", "The link was used already";
    /// The browser came back too late.
    StateExpired = GONE, "STATE_EXPIRED", "The link has expired";
    /// The body is too large.
    BodyTooLarge = PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", "The body is too large";
    /// The body is not declared as JSON.
    UnsupportedMediaType = UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", "The body must be JSON";
    /// The operator has not set the platform up.
    PlatformNotConfigured = UNPROCESSABLE_ENTITY, "PLATFORM_NOT_CONFIGURED", "The platform is not configured";
    /// The `Idempotency-Key` came with another request before.
    IdempotencyKeyReused = UNPROCESSABLE_ENTITY, "IDEMPOTENCY_KEY_REUSED", "The Idempotency-Key stands for another request";
    /// The platform did not let the account be connected.
    ConnectFailed = UNPROCESSABLE_ENTITY, "CONNECT_FAILED", "The account was not connected";
    /// Too many requests within a short time.
    RateLimited = TOO_MANY_REQUESTS, "RATE_LIMITED", "Too many requests";
    /// A failure of ours; the log has it under the request id.
    Internal = INTERNAL_SERVER_ERROR, "INTERNAL", "Something went wrong on our side";
    /// The platform does not say where its endpoints are.
    PlatformUnavailable = SERVICE_UNAVAILABLE, "PLATFORM_UNAVAILABLE", "The platform is unavailable for the moment";
    /// Too many messages wait to be published or handled.
    OutboxFull = SERVICE_UNAVAILABLE, "OUTBOX_FULL", "Too much work waits already";
    /// The database is away.
    Unavailable = SERVICE_UNAVAILABLE, "UNAVAILABLE", "The service is unavailable for the moment";
    /// The platform took longer than the caller is kept waiting.
    ConnectTimeout = GATEWAY_TIMEOUT, "CONNECT_TIMEOUT", "The platform took too long";
}

impl Code {
    /// The problem type (RFC 9457 §3.1.1), one for each code.
    #[must_use]
    pub fn urn(self) -> String {
        let name = self.as_str().to_ascii_lowercase().replace('_', "-");
        format!("urn:latchkey:problem:{name}")
    }
}
