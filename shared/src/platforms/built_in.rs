//! The section of a platform that is built in: credentials, and whatever is in another place or
//! otherwise than usual.

use std::collections::BTreeMap;
use std::sync::Arc;

use url::Url;

use super::endpoints::{EndpointSource, Endpoints};
use super::provider::{self, AUTHORIZE_RESERVED};
use super::section::Section;
use super::{
    ClientAuth, DirectorySettings, Flow, OperatorClient, Pkce, Platform, Spec, atproto, bluesky,
};

/// Reads the section; `None` when it has problems, which are noted there.
pub(super) fn read(spec: &'static Spec, section: &mut Section<'_>) -> Option<Platform> {
    let version = version(spec, section);
    let places = Places::read(spec, section, version.as_deref().unwrap_or_default());
    let endpoints = endpoints(spec, section, &places);
    let directory = directory(spec, section, &places);
    let scopes = section.scopes("scopes");
    let refresh = provider::refresh(section, spec.refresh);
    let refresh_spacing = provider::refresh_spacing(section, spec.quirks.refresh_spacing);
    let daily_look = provider::daily_look(section);
    let dead_errors = provider::dead_errors(section);
    let pkce = match (section.take("pkce", "must be true or false"), spec.pkce) {
        (Some(false), _) => Pkce::None,
        (Some(true), Pkce::None) => Pkce::S256,
        (_, usual) => usual,
    };
    let given = section.parameters("authorize_parameters", AUTHORIZE_RESERVED);
    let client = match spec.client_auth {
        Some(_) => provider::client(section),
        None => Some(Some(OperatorClient::default())),
    };
    Some(Platform {
        id: spec.id.to_owned(),
        name: spec.name.to_owned(),
        flow: spec.flow,
        version: version.unwrap_or_default(),
        issuer: None,
        endpoints: EndpointSource::Known(Arc::new(endpoints?)),
        reach: spec.reach,
        client_auth: spec.client_auth.unwrap_or(ClientAuth::Body),
        pkce,
        scope_separator: spec.scope_separator.into(),
        default_scopes: scopes
            .unwrap_or_else(|| spec.default_scopes.iter().map(ToString::to_string).collect()),
        authorize_parameters: owned(spec.authorize_parameters).chain(given).collect(),
        token_parameters: BTreeMap::new(),
        token_lifetime: spec.token_lifetime,
        refresh,
        refresh_spacing,
        daily_look,
        dead_errors,
        identity_mapping: spec.identity_mapping.owned(),
        quirks: &spec.quirks,
        directory,
        client: client?,
    })
}

fn owned(
    parameters: &'static [(&'static str, &'static str)],
) -> impl Iterator<Item = (String, String)> {
    parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
}

/// Vendors retire the versions of their APIs: the operator may name a newer one.
fn version(spec: &Spec, section: &mut Section<'_>) -> Option<String> {
    const FORM: &str = "must be as the vendor writes it, such as \"v25.0\"";
    let usual = spec.version?;
    let given: Option<String> = section.take("api_version", FORM);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if given.as_ref().is_some_and(|text| text.is_empty() || !text.bytes().all(plain)) {
        section.wrong("api_version", FORM);
    }
    Some(given.unwrap_or_else(|| usual.to_owned()))
}

/// Where the vendor's hosts are: at their usual places, or all below one of the operator's.
struct Places {
    base: Option<Url>,
    version: String,
}

impl Places {
    fn read(spec: &Spec, section: &mut Section<'_>, version: &str) -> Self {
        if !spec.has_address() {
            section.require("base_url", "say where the platform is");
        }
        Self { base: section.url("base_url"), version: version.to_owned() }
    }

    /// Where a vendor's endpoints are. Where persons have hosts of their own, those are theirs.
    fn of(spec: &Spec, all: &Self) -> Self {
        let base = all.base.clone().filter(|_| !spec.quirks.own_host);
        Self { base, version: all.version.clone() }
    }

    /// Below a `base_url` a vendor's host is the first part of the path, so that one double can stand
    /// in for all of them.
    fn place(&self, url: &str) -> Option<Url> {
        let url = url.replace("{version}", &self.version);
        match (url.strip_prefix("https://"), &self.base) {
            (Some(_), None) => url.parse().ok(),
            (Some(below), Some(base)) => join(base, below),
            (None, base) => join(base.as_ref()?, &url),
        }
    }
}

fn endpoints(spec: &Spec, section: &mut Section<'_>, places: &Places) -> Option<Endpoints> {
    let (urls, places) = (&spec.urls, Places::of(spec, places));
    let mut place = |key: &'static str, usual: Option<&str>| {
        if usual.is_none() && section.has(key) {
            section.wrong(key, "must go: this platform has no such endpoint");
        }
        let given = section.url(key);
        usual.and_then(|usual| given.or_else(|| places.place(usual)))
    };
    let (authorize_url, token_url) =
        (place("authorize_url", Some(urls.authorize)), place("token_url", Some(urls.token)));
    let (refresh_url, long_lived_url) =
        (place("refresh_url", urls.refresh), place("long_lived_url", urls.long_lived));
    let (revoke_url, userinfo_url) =
        (place("revoke_url", urls.revoke), place("userinfo_url", Some(urls.identity)));
    let (accounts_url, inspect_url) =
        (place("accounts_url", urls.accounts), place("inspect_url", urls.inspect));
    Some(Endpoints {
        authorize_url: authorize_url?,
        token_url: token_url?,
        refresh_url,
        long_lived_url,
        revoke_url,
        userinfo_url: userinfo_url?,
        accounts_url,
        inspect_url,
        iss_required: false,
    })
}

fn directory(spec: &Spec, section: &mut Section<'_>, places: &Places) -> Option<DirectorySettings> {
    if spec.flow != Flow::AppPassword {
        return None;
    }
    atproto::read(section, places.place(bluesky::PLC))
}

fn join(base: &Url, path: &str) -> Option<Url> {
    let mut base = base.clone();
    if !base.path().ends_with('/') {
        base.set_path(&format!("{}/", base.path()));
    }
    base.join(path).ok()
}

#[cfg(test)]
mod tests {
    use super::super::{BUILT_IN, Endpoints, Platforms};
    use super::*;
    use crate::clock::Clock;

    async fn endpoints(spec: &Spec, keys: &str) -> Result<(Platform, Endpoints), String> {
        let client = match spec.client_auth {
            Some(_) => "client_id = \"c\"\nclient_secret = { value = \"s\" }\n",
            None => "",
        };
        let text = format!("[platforms.{}]\n{client}{keys}", spec.id);
        let platforms = Platforms::parse(&text).map_err(|error| error.to_string())?;
        let platform = platforms.get(spec.id).unwrap();
        let endpoints = platforms.endpoints(platform, &Clock::system()).await.unwrap();
        Ok((platform.clone(), endpoints.as_ref().clone()))
    }

    /// Each endpoint with its key; `None` where the platform has no such thing.
    fn named(endpoints: &Endpoints) -> [(&'static str, Option<&Url>); 8] {
        [
            ("authorize_url", Some(&endpoints.authorize_url)),
            ("token_url", Some(&endpoints.token_url)),
            ("refresh_url", endpoints.refresh_url.as_ref()),
            ("long_lived_url", endpoints.long_lived_url.as_ref()),
            ("revoke_url", endpoints.revoke_url.as_ref()),
            ("userinfo_url", Some(&endpoints.userinfo_url)),
            ("accounts_url", endpoints.accounts_url.as_ref()),
            ("inspect_url", endpoints.inspect_url.as_ref()),
        ]
    }

    #[tokio::test]
    async fn a_double_stands_in_for_all_hosts_of_a_vendor() {
        for spec in BUILT_IN.iter().filter(|spec| !spec.quirks.own_host) {
            let base = "base_url = \"http://127.0.0.1:9/double\"\n";
            let (_, moved) = endpoints(spec, base).await.unwrap();
            for (key, url) in named(&moved) {
                let Some(url) = url else { continue };
                assert!(url.as_str().starts_with("http://127.0.0.1:9/double/"), "{key}: {url}");
            }
        }
    }

    #[tokio::test]
    async fn every_endpoint_that_is_there_can_be_in_another_place() {
        for spec in BUILT_IN {
            let base = "base_url = \"http://127.0.0.1:9\"\n";
            let (_, usual) = endpoints(spec, base).await.unwrap();
            for (key, url) in named(&usual) {
                let given =
                    endpoints(spec, &format!("{base}{key} = \"https://x.example/y\"")).await;
                match url {
                    Some(_) => {
                        let (_, given) = given.unwrap();
                        let placed = named(&given).into_iter().find(|(name, _)| *name == key);
                        assert_eq!(placed.unwrap().1.unwrap().as_str(), "https://x.example/y");
                    }
                    None => assert!(given.unwrap_err().contains("has no such endpoint"), "{key}"),
                }
            }
        }
    }

    #[tokio::test]
    async fn a_version_is_a_setting_and_stands_wherever_it_is_due() {
        for spec in BUILT_IN {
            let base = "base_url = \"http://127.0.0.1:9\"\n";
            let (platform, usual) = endpoints(spec, base).await.unwrap();
            for (key, url) in named(&usual) {
                assert!(!url.is_some_and(|url| url.as_str().contains("version")), "{key}: {url:?}");
            }
            let given = endpoints(spec, &format!("{base}api_version = \"v999\"")).await;
            match spec.version {
                Some(version) => {
                    assert_eq!(platform.version, version);
                    assert_eq!(given.unwrap().0.version, "v999");
                }
                None => assert!(given.unwrap_err().contains("`api_version` is unknown here")),
            }
            let wrong = endpoints(spec, &format!("{base}api_version = \"../x\"")).await;
            assert!(wrong.unwrap_err().contains("`api_version`"));
        }
    }
}
