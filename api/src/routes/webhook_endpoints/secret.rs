//! The secret that deliveries to an endpoint are signed with: shown once, when it is made.

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use latchkey_shared::db::webhook_endpoints;
use latchkey_shared::ids::EndpointId;
use latchkey_shared::keyring::Aad;
use latchkey_shared::random;
use latchkey_shared::timestamp::Timestamp;
use latchkey_shared::work::Work;
use serde::Serialize;
use utoipa::ToSchema;

use super::lock;
use crate::auth::Caller;
use crate::idempotency::Once;
use crate::problem::Problem;
use crate::state::App;

/// For so long the secret before signs along: receivers learn the new one meanwhile.
const OVERLAP: TimeDelta = TimeDelta::hours(24);

/// A new secret, shown this once.
#[derive(Serialize, ToSchema)]
#[schema(as = RotatedWebhookSecret)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RotatedSecret {
    /// What deliveries are signed with from now on (Standard Webhooks). It cannot be shown again.
    #[schema(example = "whsec_…")]
    secret: String,
    /// Until when the secret before it signs along.
    old_secret_until: Timestamp,
}

/// A new secret, in the clear and encrypted.
pub(super) async fn make(work: &mut Work, aad: Aad<'_>) -> Result<(String, Vec<u8>), Problem> {
    let secret = format!("whsec_{}", STANDARD.encode(random::bytes::<32>()));
    let sealed = work.encrypt(aad, secret.as_bytes()).await?;
    Ok((secret, sealed))
}

pub(super) async fn rotate(
    app: &App,
    caller: &Caller,
    once: &Once,
    id: &EndpointId,
) -> Result<RotatedSecret, Problem> {
    let mut work = app.store.begin().await?;
    let endpoint = lock(&mut work, caller, id).await?;
    let organisation = &endpoint.organisation_id;
    let generation = endpoint.secret_generation + 1;
    let aad = webhook_endpoints::secret_aad(organisation, &endpoint.id, generation);
    let (secret, sealed) = make(&mut work, aad).await?;
    let rotated = webhook_endpoints::rotate(&mut work, &endpoint, &sealed, OVERLAP).await?;
    let until = rotated.old_secret_until.expect("a rotation leaves an old secret");
    let rotated = RotatedSecret { secret, old_secret_until: until.into() };
    once.keep(&mut work, StatusCode::OK, &rotated).await?;
    work.commit().await?;
    Ok(rotated)
}
