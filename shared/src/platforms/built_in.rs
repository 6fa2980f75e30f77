//! The section of a platform that is built in: credentials, and endpoints in another place than usual.

use std::collections::BTreeMap;
use std::sync::Arc;

use url::Url;

use super::endpoints::{EndpointSource, Endpoints, Given};
use super::section::Section;
use super::{Platform, Reach, Spec, provider};

/// Reads the section; `None` when it has problems, which are noted there.
pub(super) fn read(spec: &Spec, section: &mut Section<'_>) -> Option<Platform> {
    let endpoints = endpoints(spec, section);
    let scopes = section.scopes("scopes");
    let refresh = provider::refresh(section, spec.refresh);
    let client_id = section.need_text("client_id", "give the id of your OAuth client there");
    let client_secret = section.secret("client_secret");
    Some(Platform {
        id: spec.id.to_owned(),
        name: spec.name.to_owned(),
        issuer: None,
        endpoints: EndpointSource::Known(Arc::new(endpoints?)),
        reach: spec.revoke.map_or(Reach::Person, |(_, reach)| reach),
        client_auth: spec.client_auth,
        pkce: spec.pkce,
        scope_separator: spec.scope_separator.into(),
        default_scopes: scopes
            .unwrap_or_else(|| spec.default_scopes.iter().map(ToString::to_string).collect()),
        authorize_parameters: BTreeMap::new(),
        token_parameters: BTreeMap::new(),
        token_lifetime: Some(spec.token_lifetime),
        refresh,
        identity_mapping: spec.identity_mapping.clone(),
        client_id: client_id?,
        client_secret: client_secret?,
    })
}

fn endpoints(spec: &Spec, section: &mut Section<'_>) -> Option<Endpoints> {
    if spec.base_url.is_none() {
        section.require("base_url", "say where the platform is");
    }
    let usual = spec.base_url.and_then(|url| url.parse().ok());
    let base = section.url("base_url").or(usual);
    let given = Given::read(section);
    if spec.revoke.is_none() && given.revoke_url.is_some() {
        section.wrong("revoke_url", "must go: this platform revokes nothing");
    }
    let place = |given: Option<Url>, path| given.or_else(|| join(base.as_ref()?, path));
    Some(Endpoints {
        authorize_url: place(given.authorize_url, spec.authorize)?,
        token_url: place(given.token_url, spec.token)?,
        revoke_url: spec.revoke.and_then(|(path, _)| place(given.revoke_url, path)),
        userinfo_url: place(given.userinfo_url, spec.identity)?,
        iss_required: false,
    })
}

fn join(base: &Url, path: &str) -> Option<Url> {
    let mut base = base.clone();
    if !base.path().ends_with('/') {
        base.set_path(&format!("{}/", base.path()));
    }
    base.join(path).ok()
}
