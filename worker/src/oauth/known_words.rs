//! What providers say alike, whoever they are: RFC 6749's codes, and the codes and words that vendors put
//! in their place.
//!
//! A death must be said of the grant in clear words. What may as well be said of our client, of a
//! parameter or of a server is never taken for one.

use latchkey_shared::platforms::quirks::Meaning;

// Lists, the words parted by commas.

/// Our client is refused (RFC 6749 §5.2), whatever else is said. Compared without case and separators.
const OF_THE_CLIENT: &str = "invalidclient, invalidclientid, invalidclientsecret, invalidclientcredentials, badclientid, \
    badclientsecret, badclientcredentials, incorrectclientcredentials, \
    clientauthenticationfailed, clientnotfound, unknownclient, inactiveclient, clientdisabled, \
    disabledclient, deletedclient, clientsuspended, invalidapp, invalidappid, invalidappsecret, \
    invalidapplication, invalidapplicationid, invalidapikey, appdisabled, appsuspended, \
    applicationdisabled, applicationsuspended";
/// Our request or our client is refused, unless the words say otherwise. Compared to the letter.
const OF_THE_REQUEST: &str =
    "unauthorized_client, invalid_request, unsupported_grant_type, invalid_scope";
/// It was not done, and will be later.
const BUSY: &str = "temporarilyunavailable, slowdown, serviceunavailable, unavailable, overloaded, busy, \
    serverbusy, systembusy, tryagainlater, maintenance, ratelimit, ratelimited, \
    ratelimitexceeded, toomanyrequests, toomanyrequestsexception, quotaviolation, \
    spikearrestviolation, throttled, throttling, throttlingexception, requestthrottled, \
    limitexceededexception";
/// The same, and an allowance of hours or days is used up.
const USED_UP: &str =
    "quotaexceeded, dailylimitexceeded, dailyquotaexceeded, monthlylimitexceeded, usagecapexceeded";
/// It broke on the way, and may have been done.
const BROKEN: &str = "servererror, internalerror, internalservererror, internalfailure, internal, systemerror, \
    unexpectederror, upstreamfailure, upstreamtimeout, timeout, requesttimeout, gatewaytimeout, \
    badgateway";
/// The person is wanted (OpenID Connect Core 1.0 §3.1.2.6), or gave less than is needed (RFC 6750 §3.1).
const CONSENT: &str = "interactionrequired, consentrequired, loginrequired, accountselectionrequired, \
    reauthrequired, reauthenticationrequired, reauthorizationrequired, insufficientscope";
/// Deaths that are not put together from [`SUBJECTS`] and [`FLAWS`].
const DEAD: &str = "badrefreshtoken, accessrevoked, userrevoked, accountinactive, accountdeleted, \
    accountdeactivated, accountdisabled, userinactive, userdeleted, userdeactivated, \
    userdisabled";

/// What a dead grant may be called.
const SUBJECTS: &str = "refresh token, refreshtoken, token, tokens, grant, authorization, authorisation, consent, \
    session";
/// What is said of it then.
const FLAWS: &str = "invalid, not valid, no longer valid, isnt valid, expired, revoked, inactive, not active, \
    no longer active, not found, not be found, no such, unknown, does not exist, doesnt exist, \
    do not exist, not exist, no longer exists, already used, been used, was used, reused, reuse, \
    consumed, not recognized, not recognised, unrecognized, malformed, incorrect, wrong, \
    deactivated, deleted, disabled, removed, cancelled, canceled, deauthorized, blacklisted";
/// Words beside which the rest may be about something else.
const ABOUT_OTHERS: &str = "client, clients, secret, credential, credentials, app, application, api key, apikey, header, \
    redirect, redirection, scope, scopes, token type, csrf, xsrf, state, audience, endpoint, \
    service, server, host, database, gateway, upstream, url, uri, route, certificate";
/// The request lacks something.
const MISSING: &str = "missing, grant type, required parameter, parameter required, parameter is required, \
    token is required, token required, not provided, must be provided, not specified, \
    cannot be empty, must not be empty";
const PASSING: &str = "try again, retry later, temporarily, temporary, too many, rate limit, rate limited, \
    throttle, throttled, throttling, unavailable, overloaded, busy, maintenance, quota";
const BREAKING: &str = "internal error, internal server error, server error, unexpected error, something went wrong, \
    timeout, timed out, upstream";
const PERSONS: &str = "user, users, member, owner, person, customer, merchant";
const TAKEN_BACK: &str =
    "revoked, removed, deauthorized, withdrawn, withdrew, uninstalled, disconnected";
const GONE: &str = "inactive, not active, deactivated, deleted, disabled, closed, does not exist, \
    no longer exists";
const CLIENTS: &str = "client, client id, client secret, client credentials, client authentication, app id, \
    app secret, application id, application secret, api key, consumer key, this app, your app, \
    the app, this application, your application, the application";
const CLIENT_FLAWS: &str = "suspended, not allowed, not authorized, unauthorized, failed";

/// Phrases that would be taken for something else, and what takes their place.
const MISLEADING: &[(&str, &str)] = &[
    ("authorization server", "platform"),
    ("missing or invalid", "invalid"),
    ("invalid or missing", "invalid"),
    ("refresh token grant", "grant type"),
    ("to refresh token", "to renew"),
    ("to refresh the token", "to renew"),
    ("refreshing token", "renewing"),
    ("refreshing the token", "renewing"),
    ("not refresh token", "not renew"),
    ("not refresh the token", "not renew"),
    ("unknown error", "error"),
];

/// What an error means, if that is known of every provider.
pub fn meaning(code: &str, subcode: Option<&str>, words: &str) -> Option<Meaning> {
    let squashed = [squash(code), squash(code.rsplit(['.', ':', '/', '#']).next().unwrap_or(code))];
    let is = |list| squashed.iter().any(|code| lists(list, code));
    if is(OF_THE_CLIENT) {
        return Some(Meaning::OurFault);
    }
    if is(USED_UP) {
        return Some(Meaning::UsedUp);
    }
    if is(BUSY) {
        return Some(Meaning::Transient);
    }
    if is(CONSENT) || subcode.is_some_and(|subcode| lists(CONSENT, &squash(subcode))) {
        return Some(Meaning::NeedsConsent);
    }
    let (name, words) = (Text::new(code), Text::new(words));
    if is(DEAD) || name.says_dead() || words.says_dead() {
        return Some(Meaning::Dead);
    }
    if is(BROKEN) || words.has(BREAKING) || name.has(BREAKING) {
        return Some(Meaning::Broken);
    }
    if words.has(PASSING) || name.has(PASSING) {
        return Some(Meaning::Transient);
    }
    let ours = lists(OF_THE_REQUEST, code) || words.refuses_a_client() || name.refuses_a_client();
    ours.then_some(Meaning::OurFault)
}

fn lists(list: &str, wanted: &str) -> bool {
    list.split(", ").any(|listed| listed == wanted)
}

/// A code without case and separators.
fn squash(code: &str) -> String {
    code.chars().filter(char::is_ascii_alphanumeric).map(|char| char.to_ascii_lowercase()).collect()
}

/// Words in lower case, one space before and after each.
struct Text(String);

impl Text {
    /// Separators and a change of case part words: `refresh_token`, `RefreshToken`.
    fn new(text: &str) -> Self {
        let mut words = String::from(" ");
        let mut lower = false;
        for char in text.chars().filter(|char| !matches!(char, '\'' | '’')) {
            if !char.is_alphanumeric() || (lower && char.is_uppercase()) {
                words.push(' ');
            }
            if char.is_alphanumeric() {
                words.extend(char.to_lowercase());
            }
            lower = char.is_lowercase();
        }
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        Self(MISLEADING.iter().fold(format!(" {words} "), |words, (misleading, clear)| {
            words.replace(&format!(" {misleading} "), &format!(" {clear} "))
        }))
    }

    fn has(&self, phrases: &str) -> bool {
        phrases.split(", ").any(|phrase| contains(&self.0, phrase))
    }

    fn says_dead(&self) -> bool {
        if self.has(MISSING) {
            return false;
        }
        if self.flaws_a_refresh_token() || self.tells_of_a_withdrawal() {
            return true;
        }
        let others = self.has(ABOUT_OTHERS) || self.has(PASSING) || self.has(BREAKING);
        let gone = self.has("account, user") && self.has(GONE);
        !others && (gone || (self.has(SUBJECTS) && self.has(FLAWS)))
    }

    /// The flaw stands right beside the refresh token: whatever else is spoken of, it is of that.
    fn flaws_a_refresh_token(&self) -> bool {
        const BEFORE: usize = 2;
        const AFTER: usize = 6;
        let text = self.0.replace(" refreshtoken ", " refresh token ");
        let words: Vec<&str> = text.split_whitespace().collect();
        let beside = |at: usize| {
            let before = words[at.saturating_sub(BEFORE)..at].join(" ");
            let after = words[at + 2..(at + 2 + AFTER).min(words.len())].join(" ");
            [before, after].into_iter().any(|text| Self(format!(" {text} ")).has(FLAWS))
        };
        let pairs = words.windows(2).enumerate();
        let mut tokens =
            pairs.filter(|(_, pair)| pair[0] == "refresh" && pair[1].starts_with("token"));
        tokens.any(|(at, _)| beside(at))
    }

    fn tells_of_a_withdrawal(&self) -> bool {
        const NOT_OURS: &str = "client, secret, credentials";
        self.has(TAKEN_BACK) && self.has(PERSONS) && !self.has(NOT_OURS)
    }

    fn refuses_a_client(&self) -> bool {
        self.has(CLIENTS) && !self.has(PERSONS) && (self.has(FLAWS) || self.has(CLIENT_FLAWS))
    }
}

fn contains(text: &str, phrase: &str) -> bool {
    let borders = |at: usize| {
        let (before, after) = (&text[..at], &text[at + phrase.len()..]);
        before.ends_with(' ') && after.starts_with(' ')
    };
    text.match_indices(phrase).any(|(at, _)| borders(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: &str, words: &str) -> Option<Meaning> {
        meaning(code, None, words)
    }

    #[test]
    fn codes_that_say_death() {
        for code in [
            "invalid_grant",
            "bad_refresh_token",
            "invalid_refresh_token",
            "refresh_token_expired",
            "expired_refresh_token",
            "refresh_token_invalid",
            "refresh_token_revoked",
            "token_revoked",
            "revoked_token",
            "token_expired",
            "expired_token",
            "ExpiredToken",
            "InvalidToken",
            "invalid_token",
            "token_inactive",
            "authorization_revoked",
            "access_revoked",
            "account_inactive",
            "BAD_REFRESH_TOKEN",
            "grant_expired",
            "grant_revoked",
            "user_revoked",
            "InvalidRefreshToken",
            "refresh_token_not_found",
            "refreshTokenReused",
            "INVALID-GRANT",
            "keymanagement.service.invalid_refresh_token",
            "Invalid Grant",
            "session_not_found",
        ] {
            assert_eq!(of(code, ""), Some(Meaning::Dead), "{code}");
        }
    }

    #[test]
    fn words_that_say_death() {
        for words in [
            "refresh_token is invalid",
            "Value passed for the token was invalid.",
            "Invalid refresh token",
            "missing or invalid refresh token",
            "The refresh token has already been used",
            "Refresh Token has expired",
            "No such refresh token",
            "Unknown refresh token.",
            "The token does not exist",
            "Token is no longer valid",
            "Session not active",
            "Invalid Token!",
            "The provided authorization grant (e.g., authorization code, resource owner credentials) or \
             refresh token is invalid, expired, revoked, or was issued to another client.",
            "The app was uninstalled by the user",
            "User account has been deactivated",
            "Invalid refresh token, please log in and try again",
            "The authorization server does not recognize this: the grant has been revoked",
        ] {
            assert_eq!(of("invalid_request", words), Some(Meaning::Dead), "{words}");
            assert_eq!(of("x9", words), Some(Meaning::Dead), "{words}");
            assert_eq!(of("invalid_client", words), Some(Meaning::OurFault), "{words}");
        }
    }

    #[test]
    fn words_that_say_it_of_others() {
        for words in [
            "Missing required parameter: refresh_token",
            "refresh_token is required",
            "Missing valid authorization header",
            "Invalid client secret",
            "Unknown client: token refused",
            "The client is not allowed to use the refresh_token grant type",
            "Application with this identifier was not found",
            "The requested scope is invalid",
            "Invalid authorization header",
            "The client credentials are invalid or expired",
        ] {
            assert_eq!(of("unauthorized_client", words), Some(Meaning::OurFault), "{words}");
            assert_ne!(of("x9", words), Some(Meaning::Dead), "{words}");
        }
        for words in ["Token service unavailable", "Could not refresh the token: try again later"] {
            assert_eq!(of("x9", words), Some(Meaning::Transient), "{words}");
        }
        for words in ["Internal error: token not found", "The token store timed out"] {
            assert_eq!(of("x9", words), Some(Meaning::Broken), "{words}");
        }
        for words in [
            "Failed to refresh token: unknown error",
            "",
            "Authentication failed.",
            "Bad Request",
            "You cannot do this",
            "said",
        ] {
            assert_eq!(of("x9", words), None, "{words}");
        }
    }

    #[test]
    fn a_suberror_may_want_consent() {
        let wanted = meaning("invalid_grant", Some("consent_required"), "");
        assert_eq!(wanted, Some(Meaning::NeedsConsent));
    }
}
