//! Changing an endpoint: where it is, what it hears, and whether anything is delivered to it.

use latchkey_shared::db;
use latchkey_shared::db::webhook_endpoints::{self, DisabledReason, Endpoint, EndpointChange};
use latchkey_shared::events::EventType;
use latchkey_shared::ids::EndpointId;
use serde::Deserialize;
use utoipa::ToSchema;

use super::view::{self, EndpointView};
use super::{check_types, lock, url};
use crate::auth::Caller;
use crate::code::Code;
use crate::problem::Problem;
use crate::state::App;
use crate::validate::Checks;

/// What is to be changed; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = UpdateWebhookEndpoint)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct UpdateEndpoint {
    /// Where it is: https, or http on a loopback address that the operator allows.
    #[schema(max_length = 2048)]
    url: Option<String>,
    /// Which types it shall hear; empty: all.
    #[schema(value_type = Option<Vec<EventType>>)]
    event_types: Option<Vec<String>>,
    /// True: nothing is delivered any more, and what waits is given up. False: it begins anew, and
    /// nothing is held against it.
    disabled: Option<bool>,
}

impl UpdateEndpoint {
    fn check(mut self, app: &App) -> Result<Self, Problem> {
        let mut checks = Checks::default();
        if let Some(text) = &self.url {
            match url::check(text, &app.net_guard) {
                Ok(url) => self.url = Some(url.into()),
                Err(message) => checks.wrong("/url", message),
            }
        }
        if let Some(types) = &mut self.event_types {
            check_types(&mut checks, types);
        }
        checks.finish()?;
        Ok(self)
    }
}

pub(super) async fn run(
    app: &App,
    caller: &Caller,
    id: &EndpointId,
    wanted: UpdateEndpoint,
) -> Result<EndpointView, Problem> {
    let wanted = wanted.check(app)?;
    let mut work = app.store.begin().await?;
    let seen = lock(&mut work, caller, id).await?;
    let mut change = EndpointChange {
        url: wanted.url.as_deref(),
        event_types: wanted.event_types.as_deref(),
        ..EndpointChange::default()
    };
    if change.url.is_some_and(|url| url != seen.url) {
        // Another receiver.
        change.forgive();
    }
    match wanted.disabled {
        Some(true) if seen.disabled_at.is_none() => {
            change.disabled_at = Some(Some(db::read_now(&mut work).await?));
            change.disabled_reason = Some(Some(DisabledReason::Requested));
        }
        Some(false) => {
            change.disabled_at = Some(None);
            change.disabled_reason = Some(None);
            change.forgive();
        }
        _ => {}
    }
    let changed = if changes(&change) {
        webhook_endpoints::update(&mut work, &seen, &change).await?
    } else {
        seen
    };
    let view = view::with_replay(&mut work, changed).await?;
    work.commit().await?;
    Ok(view)
}

/// A statement that sets nothing is none.
fn changes(change: &EndpointChange<'_>) -> bool {
    change.url.is_some() || change.event_types.is_some() || change.disabled_at.is_some()
}

/// # Errors
/// `ENDPOINT_DISABLED`.
pub(super) fn must_be_enabled(endpoint: &Endpoint) -> Result<(), Problem> {
    if endpoint.disabled_at.is_none() {
        return Ok(());
    }
    Err(Problem::new(
        Code::EndpointDisabled,
        "Enable the endpoint first: PATCH it with `{\"disabled\": false}`.",
    ))
}
