//! The secrets of an app: one, or two while it is being changed at the platform. They go in sealed
//! and never come out.

use axum::Json;
use axum::http::StatusCode;
use latchkey_shared::db::app_secrets::{self, AppSecret};
use latchkey_shared::db::apps;
use latchkey_shared::ids::{AppId, AppSecretId};
use latchkey_shared::work::Work;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

use super::{AppView, SecretView, lock};
use crate::auth::Caller;
use crate::code::Code;
use crate::idempotency::Once;
use crate::problem::Problem;
use crate::state::App;
use crate::validate::Checks;

/// The old one and the new one.
const MAX_SECRETS: usize = 2;

pub(super) fn check(checks: &mut Checks, secret: &SecretString) {
    checks.credential("/clientSecret", secret.expose_secret());
}

/// Seals a secret for an app of the caller's and stores it.
pub(super) async fn store(
    app: &App,
    work: &mut Work,
    of: &apps::App,
    secret: &SecretString,
) -> Result<AppSecret, Problem> {
    let organisation = &of.organisation_id;
    let id = AppSecretId::new(app.clock());
    let aad = app_secrets::secret_aad(organisation, &id);
    let sealed = work.encrypt(aad, secret.expose_secret().as_bytes()).await?;
    Ok(app_secrets::insert(work, organisation, &of.id, &id, &sealed).await?)
}

pub(super) async fn add(
    app: &App,
    caller: &Caller,
    once: &Once,
    id: &AppId,
    secret: &SecretString,
) -> Result<SecretView, Problem> {
    let mut checks = Checks::default();
    check(&mut checks, secret);
    checks.finish()?;
    let mut work = app.store.begin().await?;
    let found = lock(&mut work, caller, id).await?;
    let secrets = app_secrets::of_apps(&mut work, &found.organisation_id, &[&found.id]).await?;
    if secrets.len() >= MAX_SECRETS {
        return Err(Problem::new(
            Code::TooManySecrets,
            "The app has two: delete the one that the platform does not take any more first.",
        ));
    }
    let added = store(app, &mut work, &found, secret).await?.into();
    once.keep(&mut work, StatusCode::CREATED, &added).await?;
    work.commit().await?;
    Ok(added)
}

/// A secret for an app.
pub(crate) struct NewSecret<'a> {
    pub(crate) app: &'a AppId,
    pub(crate) secret: &'a SecretString,
}

/// Puts a secret in place of the newest, which stays beside it as the older one; one older than that goes. `answer`
/// words what is answered, and kept.
pub(crate) async fn replace<T: Serialize>(
    app: &App,
    caller: &Caller,
    once: &Once,
    new: NewSecret<'_>,
    answer: impl FnOnce(AppView) -> Result<T, Problem>,
) -> Result<Json<T>, Problem> {
    let mut checks = Checks::default();
    check(&mut checks, new.secret);
    checks.finish()?;
    let mut work = app.store.begin().await?;
    let found = lock(&mut work, caller, new.app).await?;
    let organisation = &found.organisation_id;
    let newest_first = app_secrets::of_apps(&mut work, organisation, &[&found.id]).await?;
    for old in newest_first.iter().skip(MAX_SECRETS - 1) {
        app_secrets::delete(&mut work, organisation, &found.id, &old.id).await?;
    }
    store(app, &mut work, &found, new.secret).await?;
    let secrets = app_secrets::of_apps(&mut work, organisation, &[&found.id]).await?;
    let answer = answer(AppView::of(found, secrets))?;
    once.keep(&mut work, StatusCode::OK, &answer).await?;
    work.commit().await?;
    Ok(Json(answer))
}

pub(super) async fn remove(
    app: &App,
    caller: &Caller,
    id: &AppId,
    secret: &AppSecretId,
) -> Result<(), Problem> {
    let mut work = app.store.begin().await?;
    let found = lock(&mut work, caller, id).await?;
    let organisation = &found.organisation_id;
    let secrets = app_secrets::of_apps(&mut work, organisation, &[&found.id]).await?;
    if !app_secrets::delete(&mut work, organisation, &found.id, secret).await? {
        return Err(Problem::not_found());
    }
    if secrets.len() == 1 {
        return Err(Problem::new(
            Code::LastSecret,
            "Add the new secret first, or delete the app: without a secret no token stays alive.",
        ));
    }
    Ok(work.commit().await?)
}
