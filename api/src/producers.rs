//! `latchkey-api producers`: which users of the broker may ask for work, and by whose key. For operators at a
//! terminal: over HTTP a tenant could tie itself to somebody else's user.

use anyhow::{Context as _, bail, ensure};
use latchkey_shared::db::api_keys::{self, ApiKey, Role};
use latchkey_shared::db::{Db, producers};
use latchkey_shared::ids::ApiKeyId;

use crate::settings::DatabaseSettings;

/// AMQP has no longer texts in properties.
const MAX_USER_LEN: usize = 255;

/// What can be done about producers.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum ProducersCommand {
    /// Tie a user of the broker to an API key: it may do what the key may. A second time: to another key
    Link {
        /// Which database.
        #[command(flatten)]
        database: DatabaseSettings,
        /// The user's name at the broker
        #[arg(value_name = "USER")]
        user: String,
        /// The id of the key, as `GET /v1/api-keys` shows it: not the key itself
        #[arg(value_name = "KEY_ID")]
        key: String,
    },
    /// Print who is tied to which key
    List {
        /// Which database.
        #[command(flatten)]
        database: DatabaseSettings,
    },
    /// Untie a user of the broker
    Unlink {
        /// Which database.
        #[command(flatten)]
        database: DatabaseSettings,
        /// The user's name at the broker
        #[arg(value_name = "USER")]
        user: String,
    },
}

impl ProducersCommand {
    /// Which database.
    #[must_use]
    pub fn database(&self) -> &DatabaseSettings {
        match self {
            Self::Link { database, .. }
            | Self::List { database }
            | Self::Unlink { database, .. } => database,
        }
    }

    /// Does it; answers what there is to say of it.
    ///
    /// # Errors
    /// When it was not done, and what to do about that.
    pub async fn run(&self, db: &Db) -> anyhow::Result<String> {
        match self {
            Self::Link { user, key, .. } => link(db, user, key).await,
            Self::List { .. } => list(db).await,
            Self::Unlink { user, .. } => unlink(db, user).await,
        }
    }
}

async fn link(db: &Db, user: &str, key: &str) -> anyhow::Result<String> {
    check_user(user)?;
    ensure!(
        !key.starts_with("lk_"),
        "that is a key: give its id instead, which `GET /v1/api-keys` shows"
    );
    let id: ApiKeyId = key.parse().with_context(|| format!("`{key}` is not the id of a key"))?;
    let mut conn = db.conn().await?;
    let Some(key) = api_keys::find_in_any_organisation(&mut conn, &id).await? else {
        bail!("there is no key {id}: `GET /v1/api-keys` lists those of an organisation");
    };
    ensure!(key.revoked_at.is_none(), "the key {id} is revoked: make another one");
    if !key.role.covers(Role::Admin) {
        bail!("the key {id} has the role `{}`: producers need `{}`", key.role, Role::Admin);
    }
    let before = producers::find(&mut conn, user).await?;
    producers::link(&mut conn, user, &id).await?;
    let instead = match before.map(|producer| producer.key.id) {
        Some(old) if old != id => format!(", instead of {old}"),
        Some(_) => ", as before".to_owned(),
        None => String::new(),
    };
    Ok(format!("{user} acts with {}{instead}", told(&key)))
}

async fn list(db: &Db) -> anyhow::Result<String> {
    let producers = producers::list(&mut *db.conn().await?).await?;
    if producers.is_empty() {
        return Ok("no user of the broker is linked".to_owned());
    }
    let line = |producer: &producers::Producer| {
        let revoked = if producer.key.revoked_at.is_some() { ", revoked" } else { "" };
        format!("{} acts with {}{revoked}", producer.broker_user, told(&producer.key))
    };
    Ok(producers.iter().map(line).collect::<Vec<_>>().join("\n"))
}

async fn unlink(db: &Db, user: &str) -> anyhow::Result<String> {
    ensure!(
        producers::unlink(&mut *db.conn().await?, user).await?,
        "{user} is not linked: `latchkey-api producers list` shows who is"
    );
    Ok(format!("{user} acts with no key any more"))
}

fn told(key: &ApiKey) -> String {
    let reach = match &key.workspace_id {
        Some(workspace) => format!("{workspace} of {}", key.organisation_id),
        None => format!("all of {}", key.organisation_id),
    };
    format!("{} ({}, {reach})", key.id, key.role)
}

fn check_user(user: &str) -> anyhow::Result<()> {
    let sane = (1..=MAX_USER_LEN).contains(&user.len()) && !user.chars().any(char::is_control);
    ensure!(sane, "the user's name must be 1 to {MAX_USER_LEN} bytes, without control characters");
    Ok(())
}
