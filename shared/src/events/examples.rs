//! One example of each event, for documents.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{
    AboutAccount, AccountActionNeeded, AccountConnected, AccountDisconnected, AccountFact,
    AccountReauthDue, AccountRecovered, AccountRefreshOverdue, AccountRefreshed, AccountRevoked,
    AccountTokenExpired, AccountUpdated, ConnectData, DisconnectedBy, EventData, EventType,
    PlatformDegraded, PlatformRecovered, RecoveredBy, RequestRejectedData, WebhookEndpointDisabled,
};
use crate::code::Code;
use crate::timestamp::Timestamp;

const ULID: &str = "01JCZ5M2V8Q4T6W8Y0A2B4C6D8";
const WHAT_TO_DO: &str = "ask the person to connect the account again";

/// An example of what an event of this type tells.
#[must_use]
pub fn example(kind: EventType) -> EventData {
    match kind {
        EventType::ConnectStarted => EventData::ConnectStarted(connect(None)),
        EventType::ConnectSelecting => EventData::ConnectSelecting(connect(None)),
        EventType::ConnectFailed => EventData::ConnectFailed(connect(Some("ACCESS_DENIED"))),
        EventType::ConnectExpired => EventData::ConnectExpired(connect(None)),
        EventType::ConnectCancelled => EventData::ConnectCancelled(connect(None)),
        EventType::PlatformDegraded => EventData::PlatformDegraded(PlatformDegraded {
            platform: "X".to_owned(),
            app_id: None,
            reason: "http_503".to_owned(),
            since: at(0),
        }),
        EventType::PlatformRecovered => EventData::PlatformRecovered(PlatformRecovered {
            platform: "X".to_owned(),
            app_id: None,
            degraded_since: at(0),
        }),
        EventType::RequestRejected => EventData::RequestRejected(RequestRejectedData {
            message_id: Some("0d5c6b1e-8a52-4a6c-9a0e-3c1f6a1f2b77".to_owned()),
            request: "connect.requested".to_owned(),
            producer: Some("acme_producer".to_owned()),
            code: Code::ReplyToForbidden,
            message: "name a queue that is yours".to_owned(),
        }),
        EventType::WebhookEndpointDisabled => {
            EventData::WebhookEndpointDisabled(WebhookEndpointDisabled {
                endpoint_id: id("whe"),
                url: "https://app.example/webhooks".to_owned(),
                reason: "failing".to_owned(),
                failing_since: Some(at(0)),
            })
        }
        of_an_account => account_example(of_an_account),
    }
}

fn account_example(kind: EventType) -> EventData {
    let account = about();
    match kind {
        EventType::AccountRefreshed => EventData::AccountRefreshed(AccountRefreshed {
            account,
            token_generation: 2,
            token_expires_at: Some(at(7200)),
            next_refresh_at: Some(at(6480)),
        }),
        EventType::AccountRefreshOverdue => {
            EventData::AccountRefreshOverdue(AccountRefreshOverdue {
                account,
                error: "http_503".to_owned(),
            })
        }
        EventType::AccountActionNeeded => {
            let said =
                json!({ "error": "190", "subcode": "459", "description": "You must log in." });
            EventData::AccountActionNeeded(AccountActionNeeded::new(account, &said))
        }
        EventType::AccountReauthDue => EventData::AccountReauthDue(AccountReauthDue {
            reconnect: account.reconnect(&id("ws")),
            account,
            reauth_due_at: at(7 * 86_400),
            days_left: 7,
            what_to_do: format!("{WHAT_TO_DO} before then"),
        }),
        EventType::AccountTokenExpired => EventData::AccountTokenExpired(AccountTokenExpired {
            reconnect: account.reconnect(&id("ws")),
            account,
            reason: "refused_by_platform".to_owned(),
            error: Some(json!({ "error": "invalid_grant", "description": "Token was revoked." })),
            what_to_do: WHAT_TO_DO.to_owned(),
        }),
        EventType::AccountRecovered => {
            EventData::AccountRecovered(AccountRecovered { account, by: RecoveredBy::LateAnswer })
        }
        EventType::AccountUpdated => EventData::AccountUpdated(AccountUpdated {
            account,
            display_name: Some("Ann Smith".to_owned()),
            avatar_url: Some("https://cdn.example/ann.png".to_owned()),
            scopes: scopes(),
            missing_scopes: Vec::new(),
            changed: vec![AccountFact::DisplayName, AccountFact::ProfileId],
            previous_profile_id: None,
        }),
        EventType::AccountDisconnected => EventData::AccountDisconnected(AccountDisconnected {
            account,
            by: DisconnectedBy::Api,
            api_key_id: Some(id("key")),
        }),
        EventType::AccountRevoked => EventData::AccountRevoked(AccountRevoked {
            account,
            revocation: json!({ "status": "revoked", "at": at(0), "platformAnswer": { "status": 200 } }),
        }),
        _ => EventData::AccountConnected(AccountConnected {
            account,
            connect_id: id("con"),
            display_name: Some("Ann".to_owned()),
            avatar_url: Some("https://cdn.example/ann.png".to_owned()),
            scopes: scopes(),
            missing_scopes: Vec::new(),
            first_time: true,
            reconnected: false,
        }),
    }
}

fn about() -> AboutAccount {
    AboutAccount {
        account_id: id("acc"),
        platform: "X".to_owned(),
        platform_user_id: "2244994945".to_owned(),
        username: Some("ann".to_owned()),
        profile_id: Some(id("prof")),
        metadata: metadata(),
    }
}

fn connect(reason: Option<&str>) -> ConnectData {
    let denied = reason == Some("ACCESS_DENIED");
    ConnectData {
        connect_id: id("con"),
        platform: "X".to_owned(),
        profile_id: Some(id("prof")),
        account_id: None,
        reason: reason.map(ToOwned::to_owned),
        error: denied.then(|| json!({ "error": "access_denied" })),
        metadata: metadata(),
    }
}

fn metadata() -> Value {
    json!({ "customer": 42 })
}

fn scopes() -> Vec<String> {
    ["tweet.read", "tweet.write", "offline.access"].map(ToOwned::to_owned).to_vec()
}

fn id<T: std::str::FromStr>(prefix: &str) -> T {
    let id = format!("{prefix}_{ULID}").parse().ok();
    id.expect("the ULID above is one, and each kind has its prefix")
}

fn at(seconds: i64) -> Timestamp {
    let day = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(20_513);
    Timestamp::from(day + TimeDelta::seconds(34_200 + seconds))
}
