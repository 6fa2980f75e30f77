//! Who is calling, and what they may do and see.
//!
//! Handlers take [`Viewer`], [`Admin`] or [`Owner`] as their first argument: the role is judged before
//! anything else about the request, and an id out of reach is as unknown as one that never was. The
//! caller was found by `keyed`: on a route without that layer nobody is let in.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use diesel_async::AsyncPgConnection;
use latchkey_shared::db::api_keys::{self, ApiKey, Role};
use latchkey_shared::db::workspaces::{self, Workspace};
use latchkey_shared::ids::{ApiKeyId, OrganisationId, WorkspaceId};
use latchkey_shared::{authorize, random};

use crate::budget::Standing;
use crate::client_address::{self, Peer, household};
use crate::code::Code;
use crate::problem::Problem;
use crate::state::App;

const KEY_PREFIX: &str = "lk_";

/// A new API key: 32 random bytes. Only its SHA-256 is ever stored.
pub(crate) fn new_key() -> String {
    format!("{KEY_PREFIX}{}", random::token())
}

/// Who is calling.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The key.
    pub(crate) key_id: ApiKeyId,
    /// Whose key it is.
    pub(crate) organisation_id: OrganisationId,
    /// The one workspace that the key reaches; `None`: the whole organisation.
    pub(crate) workspace_id: Option<WorkspaceId>,
    role: Role,
}

/// A caller that may read.
#[derive(Debug)]
pub(crate) struct Viewer(pub(crate) Caller);

/// A caller that may connect and disconnect.
#[derive(Debug)]
pub(crate) struct Admin(pub(crate) Caller);

/// A caller that may hand out keys.
#[derive(Debug)]
pub(crate) struct Owner(pub(crate) Caller);

macro_rules! least_role {
    ($($name:ident),+) => {$(
        impl FromRequestParts<Arc<App>> for $name {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Problem> {
                let caller = parts.extensions.get::<Caller>().cloned().ok_or_else(unauthorized)?;
                caller.require(Role::$name)?;
                Ok(Self(caller))
            }
        }
    )+};
}

least_role!(Viewer, Admin, Owner);

impl Caller {
    /// Finds out who is calling, and takes the request from the key's budget. Only what fails is taken
    /// from the address's: many callers may stand behind one.
    pub(crate) async fn admit(
        parts: &Parts,
        app: &App,
    ) -> Result<(Self, Option<Standing>), Problem> {
        let hash = bearer(parts).map(authorize::hash);
        let (key, hash) = find_key(parts, app, hash).await?;
        Ok((Self::of(key), app.budgets.keys.take(hash)))
    }

    /// Who holds this key.
    pub(crate) fn of(key: ApiKey) -> Self {
        tracing::Span::current().record("api_key.id", key.id.as_str());
        Self {
            key_id: key.id,
            organisation_id: key.organisation_id,
            workspace_id: key.workspace_id,
            role: key.role,
        }
    }

    /// # Errors
    /// When the key's role is lower.
    pub(crate) fn require(&self, least: Role) -> Result<(), Problem> {
        if self.role.covers(least) {
            return Ok(());
        }
        let detail = format!("Use a key of role `{least}`; this one's role is `{}`.", self.role);
        Err(Problem::new(Code::ForbiddenRole, detail))
    }

    /// The workspace of this id, if the key reaches it.
    pub(crate) async fn workspace(
        &self,
        conn: &mut AsyncPgConnection,
        id: &WorkspaceId,
    ) -> Result<Workspace, Problem> {
        if self.workspace_id.as_ref().is_some_and(|own| own != id) {
            return Err(Problem::not_found());
        }
        workspaces::find(conn, &self.organisation_id, id).await?.ok_or_else(Problem::not_found)
    }

    /// The workspace that something new shall belong to: the one asked for if the key reaches it,
    /// the key's own if it has one, else none.
    pub(crate) async fn place(
        &self,
        conn: &mut AsyncPgConnection,
        asked: Option<WorkspaceId>,
    ) -> Result<Option<WorkspaceId>, Problem> {
        let Some(asked) = asked else {
            return Ok(self.workspace_id.clone());
        };
        match self.workspace(conn, &asked).await {
            Ok(workspace) => Ok(Some(workspace.id)),
            Err(problem) if problem.code() == Code::NotFound => Err(Problem::new(
                Code::WorkspaceNotFound,
                "Name a workspace that the key reaches, or none.",
            )
            .at("/workspaceId")),
            Err(problem) => Err(problem),
        }
    }
}

/// The key that somebody who wrote to a sign-in form means.
pub(crate) async fn find_written(parts: &Parts, app: &App, key: &str) -> Result<ApiKey, Problem> {
    let key = Some(key.trim()).filter(|key| key.starts_with(KEY_PREFIX));
    Ok(find_key(parts, app, key.map(authorize::hash)).await?.0)
}

/// The key of a hash, with the hash. A request without a valid key takes from its address's budget. A valid key passes
/// also when that budget is spent: then keys are looked up a few at a time.
async fn find_key(
    parts: &Parts,
    app: &App,
    hash: Option<Vec<u8>>,
) -> Result<(ApiKey, Vec<u8>), Problem> {
    let budgets = &app.budgets;
    let peer = parts.extensions.get::<Peer>();
    let address = peer.map(|peer| {
        household(client_address::of(*peer, &parts.headers, &app.limits.trusted_proxies))
    });
    let known = hash.as_ref().is_some_and(|hash| budgets.keys.knows(hash));
    let spent = address.and_then(|address| budgets.failures.empty_for(&address)).filter(|_| !known);
    let found = match (&hash, spent) {
        (Some(hash), None) => api_keys::authenticate(&mut *app.conn().await?, hash).await?,
        (Some(hash), Some(_)) => {
            let _turn = budgets.late_looks.acquire().await.ok();
            api_keys::authenticate(&mut *app.conn().await?, hash).await?
        }
        (None, _) => None,
    };
    found.zip(hash).ok_or_else(|| {
        if let Some(seconds) = spent {
            return too_many_failures(seconds);
        }
        address.map(|address| budgets.failures.take(address));
        unauthorized()
    })
}

fn unauthorized() -> Problem {
    Problem::new(
        Code::Unauthorized,
        "Send a key that is not revoked, as `Authorization: Bearer lk_…`.",
    )
}

fn too_many_failures(seconds: i64) -> Problem {
    let detail = format!(
        "Too many requests without a valid key came from your address: wait for {seconds} s."
    );
    Problem::new(Code::RateLimited, detail).retry_after(seconds)
}

fn bearer(parts: &Parts) -> Option<&str> {
    let value = parts.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("bearer") && key.starts_with(KEY_PREFIX)).then_some(key)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn key_in(header: &str) -> Option<String> {
        let request = Request::get("/").header(AUTHORIZATION, header).body(()).unwrap();
        bearer(&request.into_parts().0).map(ToOwned::to_owned)
    }

    #[test]
    fn a_key_is_a_bearer_token_of_ours() {
        assert_eq!(key_in("Bearer lk_abc").as_deref(), Some("lk_abc"));
        assert_eq!(key_in("bearer  lk_abc").as_deref(), Some("lk_abc"));
        for header in ["Basic lk_abc", "Bearer abc", "lk_abc", "Bearer", ""] {
            assert_eq!(key_in(header), None, "{header}");
        }
    }

    #[test]
    fn new_keys_differ() {
        assert_ne!(new_key(), new_key());
        assert_eq!(new_key().len(), KEY_PREFIX.len() + 43);
    }
}
