//! Identifiers: a prefix that says what it names, and a ULID, so that ids sort by age.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::Text;
use serde::{Deserialize, Deserializer, Serialize};
use ulid::Ulid;

use crate::clock::Clock;
use crate::random;

/// An id that does not have the form that its kind demands.
#[derive(Debug, thiserror::Error)]
#[error("an id of this kind is `{prefix}_` followed by 26 characters of Crockford base32")]
pub struct InvalidId {
    prefix: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, AsExpression, FromSqlRow)]
        #[diesel(sql_type = Text)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// A new id, stamped with the clock's present.
            #[must_use]
            pub fn new(clock: &Clock) -> Self {
                Self(format!("{}_{}", $prefix, new_ulid(clock)))
            }

            /// The id as text, prefix included.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix(concat!($prefix, "_"))
                    .filter(|rest| is_ulid(rest))
                    .map(|_| Self(text.to_owned()))
                    .ok_or(InvalidId { prefix: $prefix })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl FromSql<Text, Pg> for $name {
            fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
                <String as FromSql<Text, Pg>>::from_sql(value).map(Self)
            }
        }

        impl ToSql<Text, Pg> for $name {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
                <str as ToSql<Text, Pg>>::to_sql(&self.0, out)
            }
        }
    )+};
}

ids! {
    /// An organisation: the tenant.
    OrganisationId = "org",
    /// A workspace: the isolation boundary inside an organisation.
    WorkspaceId = "ws",
    /// A data key.
    DataKeyId = "dk",
    /// An API key (not the key itself).
    ApiKeyId = "key",
    /// A profile: the customer's label for one of its end users.
    ProfileId = "prof",
    /// An app: an OAuth client that a customer registered.
    AppId = "app",
    /// A client secret of an app (not the secret itself).
    AppSecretId = "sec",
    /// A connect: one attempt to connect an account.
    ConnectId = "con",
    /// A grant: one token set.
    GrantId = "grt",
    /// A connected account.
    AccountId = "acc",
    /// An event.
    EventId = "evt",
    /// A message on its way through the outbox.
    MessageId = "msg",
    /// A message that no outbox row stands for.
    NudgeId = "ndg",
    /// A dead letter.
    DeadLetterId = "dl",
    /// A webhook endpoint.
    EndpointId = "whe",
    /// One event on its way to one endpoint.
    DeliveryId = "dlv",
    /// A worker process.
    WorkerId = "wrk",
}

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident of $id:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub struct $name<'a> {
            /// Its workspace.
            pub workspace_id: &'a WorkspaceId,
            /// Its id.
            pub id: &'a $id,
        }
    )+};
}

keys! {
    /// Names one connect in one workspace.
    ConnectKey of ConnectId,
    /// Names one grant in one workspace.
    GrantKey of GrantId,
    /// Names one account in one workspace.
    AccountKey of AccountId,
}

fn new_ulid(clock: &Clock) -> Ulid {
    let millis = u64::try_from(clock.now().timestamp_millis()).unwrap_or(0);
    Ulid::from_parts(millis, u128::from_le_bytes(random::bytes()))
}

/// Whether a text has the form of an id of ours, of whatever kind.
pub(crate) fn is_id(text: &str) -> bool {
    let prefix = |prefix: &str| {
        (2..=4).contains(&prefix.len()) && prefix.bytes().all(|byte| byte.is_ascii_lowercase())
    };
    text.split_once('_').is_some_and(|(kind, rest)| prefix(kind) && is_ulid(rest))
}

/// When an id was made, by the clock of the process that made it; `None` of a text that is no id.
pub(crate) fn made_at(id: &str) -> Option<DateTime<Utc>> {
    let (_, ulid) = id.split_once('_')?;
    let millis = Ulid::from_string(ulid).ok()?.timestamp_ms();
    DateTime::from_timestamp_millis(i64::try_from(millis).ok()?)
}

fn is_ulid(text: &str) -> bool {
    Ulid::from_string(text).is_ok_and(|ulid| ulid.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_text_and_json() {
        let id = AccountId::new(&Clock::system());
        assert_eq!(id.as_str().parse::<AccountId>().unwrap(), id);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<AccountId>(&json).unwrap(), id);
    }

    #[test]
    fn another_kind_and_another_form_are_refused() {
        let id = ConnectId::new(&Clock::system());
        assert!(id.as_str().parse::<AccountId>().is_err());
        assert!(id.as_str().to_lowercase().parse::<ConnectId>().is_err());
        assert!("con_".parse::<ConnectId>().is_err());
        assert!("con_'; drop table connects".parse::<ConnectId>().is_err());
    }

    #[test]
    fn an_id_tells_when_it_was_made() {
        let clock = Clock::system();
        let made = made_at(EventId::new(&clock).as_str()).unwrap();
        assert!((clock.now() - made).abs() < chrono::TimeDelta::minutes(1), "{made}");
        for other in ["", "evt", "evt_", "evt_none", "01KAN7"] {
            assert_eq!(made_at(other), None, "{other}");
        }
    }

    #[test]
    fn ids_sort_by_age() {
        let clock = Clock::system();
        let older = EventId::new(&clock);
        clock.advance(chrono::TimeDelta::seconds(1));
        assert!(older < EventId::new(&clock));
    }
}
