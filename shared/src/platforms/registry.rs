//! The platforms file (TOML): credentials, endpoints in another place than usual, and providers that
//! are not built in. `docs/platforms.example.toml` shows all of it.
//!
//! ```toml
//! [platforms.SANDBOX]
//! base_url = "http://127.0.0.1:9090"
//! client_id = "latchkey-sandbox-client"
//! client_secret = { env = "LATCHKEY_SANDBOX_CLIENT_SECRET" }   # or { file = "/run/secrets/sandbox" }
//! ```

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use toml::{Table, Value};

use super::endpoints::EndpointSource;
use super::provider::OWN_APPS_ONLY;
use super::section::Section;
use super::{
    BUILT_IN, DirectorySettings, DiscoveryError, Endpoints, Platform, built_in, discovery,
    provider, scopes,
};
use crate::clock::Clock;
use crate::net_guard::Outbound;

/// Why the platforms file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlatformsError {
    /// The file cannot be read.
    #[error("the platforms file {0} cannot be read: {1}")]
    Unreadable(String, std::io::Error),
    /// The file is no TOML. The message shows nothing of it: it may hold secrets.
    #[error("the platforms file is malformed in line {line}: {what}")]
    Malformed {
        /// Where.
        line: usize,
        /// What is wrong there.
        what: String,
    },
    /// One or more settings are wrong.
    #[error("the platforms file has problems:\n  {}", .0.join("\n  "))]
    Problems(Vec<String>),
    /// Nothing can be discovered.
    #[error("TLS cannot be set up")]
    Tls(#[from] reqwest::Error),
}

/// The platforms that this installation can connect.
#[derive(Debug)]
pub struct Platforms {
    configured: BTreeMap<String, Platform>,
    http: reqwest::Client,
}

impl Platforms {
    /// Reads the platforms file.
    ///
    /// # Errors
    /// [`PlatformsError`], all problems together.
    pub fn load(path: &Path, outbound: &Outbound) -> Result<Self, PlatformsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| PlatformsError::Unreadable(path.display().to_string(), error))?;
        Self::read(&text, outbound)
    }

    /// Reads the text of a platforms file. Asks nobody anything: a platform that is away keeps no
    /// process from starting.
    ///
    /// # Errors
    /// [`PlatformsError`], all problems together.
    pub fn parse(text: &str) -> Result<Self, PlatformsError> {
        Self::read(text, &Outbound::default())
    }

    fn read(text: &str, outbound: &Outbound) -> Result<Self, PlatformsError> {
        let mut file: Table = toml::from_str(text).map_err(|error| malformed(text, &error))?;
        let mut problems = Vec::new();
        let sections = match file.remove("platforms") {
            None => Table::new(),
            Some(Value::Table(sections)) => sections,
            Some(_) => {
                problems.push("`platforms` must hold sections: write [platforms.ID]".to_owned());
                Table::new()
            }
        };
        for key in file.keys() {
            problems.push(format!("`{key}` is unknown: sections are called [platforms.ID]"));
        }
        let said = |(id, value): (&String, &Value)| value.get("scopes").map(|_| id.clone());
        let said = sections.iter().filter_map(said).collect();
        let mut configured = BTreeMap::new();
        for (id, value) in with_those_of_apps(sections) {
            if let Some(platform) = read(&id, value, &mut problems) {
                configured.insert(id, platform);
            }
        }
        scopes::agree(&mut configured, &said, &mut problems);
        if !problems.is_empty() {
            return Err(PlatformsError::Problems(problems));
        }
        Ok(Self { configured, http: discovery::client(outbound)? })
    }

    /// The platform of this id, if it is configured. Ids are upper case.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Platform> {
        self.configured.get(id)
    }

    /// The platforms that are not built in, by id.
    pub fn providers(&self) -> impl Iterator<Item = &Platform> {
        self.configured.values().filter(|platform| !is_built_in(&platform.id))
    }

    /// Whether the id names a platform at all, configured or not.
    #[must_use]
    pub fn is_known(&self, id: &str) -> bool {
        is_built_in(id) || self.configured.contains_key(id)
    }

    /// Where persons' own hosts are found, if a configured platform has such.
    #[must_use]
    pub fn directory(&self) -> Option<&DirectorySettings> {
        self.configured.values().find_map(|platform| platform.directory.as_ref())
    }

    /// Where a platform's endpoints are. May ask the platform: never call it in a transaction.
    ///
    /// # Errors
    /// [`DiscoveryError`] while the platform does not say.
    pub async fn endpoints(
        &self,
        platform: &Platform,
        clock: &Clock,
    ) -> Result<Arc<Endpoints>, DiscoveryError> {
        match &platform.endpoints {
            EndpointSource::Known(endpoints) => Ok(endpoints.clone()),
            EndpointSource::Discovered(issuer) => issuer.endpoints(&self.http, clock).await,
        }
    }

    /// What is known of them without asking.
    #[must_use]
    pub fn known_endpoints(&self, platform: &Platform) -> Option<Arc<Endpoints>> {
        match &platform.endpoints {
            EndpointSource::Known(endpoints) => Some(endpoints.clone()),
            EndpointSource::Discovered(issuer) => issuer.known(),
        }
    }
}

/// A complaint without the text that it is about.
fn malformed(text: &str, error: &toml::de::Error) -> PlatformsError {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    PlatformsError::Malformed { line, what: error.message().to_owned() }
}

fn is_built_in(id: &str) -> bool {
    BUILT_IN.iter().any(|spec| spec.id == id)
}

/// A built-in platform without a section is open to apps of customers, if their people are asked at the vendor's.
fn with_those_of_apps(mut sections: Table) -> Table {
    let own_apps_only = Table::from_iter([(OWN_APPS_ONLY.to_owned(), true.into())]);
    for spec in BUILT_IN.iter().filter(|spec| spec.has_clients() && spec.has_address()) {
        sections.entry(spec.id).or_insert_with(|| own_apps_only.clone().into());
    }
    sections
}

fn read(id: &str, value: Value, problems: &mut Vec<String>) -> Option<Platform> {
    let before = problems.len();
    let spec = BUILT_IN.iter().find(|spec| spec.id == id);
    if spec.is_none() && !provider::is_id(id) {
        problems.push(format!(
            "[platforms.{id}] must be called by upper-case letters, digits and `_`, a letter first"
        ));
        return None;
    }
    let mut section = Section::new(format!("platforms.{id}"), value, problems);
    let platform = match spec {
        Some(spec) => built_in::read(spec, &mut section),
        None => provider::read(id, &mut section),
    };
    section.finish();
    if problems.len() > before && spec.is_none() {
        let known: Vec<&str> = BUILT_IN.iter().map(|spec| spec.id).collect();
        problems.push(format!(
            "[platforms.{id}] is not built in (that is {}): it must describe the provider wholly",
            known.join(", ")
        ));
    }
    platform.filter(|_| problems.len() == before)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platforms::{ClientAuth, Pkce, Reach, RefreshModel};

    const CLIENT: &str = "client_id = \"c\"\nclient_secret = { value = \"shh\" }\n";

    fn parse(sections: &[(&str, &str)]) -> Result<Platforms, PlatformsError> {
        let text = sections.iter().map(|(id, keys)| format!("[platforms.{id}]\n{CLIENT}{keys}\n"));
        Platforms::parse(&text.collect::<String>())
    }

    fn problems(sections: &[(&str, &str)]) -> String {
        let problems = parse(sections).unwrap_err().to_string();
        assert!(!problems.contains("shh"), "{problems}");
        problems
    }

    async fn endpoints(platforms: &Platforms, id: &str) -> Arc<Endpoints> {
        let platform = platforms.get(id).unwrap();
        platforms.endpoints(platform, &Clock::system()).await.unwrap()
    }

    #[tokio::test]
    async fn the_sandbox_needs_a_base_url_and_credentials() {
        let platforms = parse(&[("SANDBOX", "base_url = \"http://127.0.0.1:9\"")]).unwrap();
        let endpoints = endpoints(&platforms, "SANDBOX").await;
        assert_eq!(endpoints.token_url.as_str(), "http://127.0.0.1:9/token");
        assert!(problems(&[("SANDBOX", "")]).contains("`base_url` is missing"));
        let message = Platforms::parse("[platforms.SANDBOX]").unwrap_err().to_string();
        for key in ["base_url", "client_id", "client_secret"] {
            assert!(
                message.contains(&format!("[platforms.SANDBOX] `{key}` is missing")),
                "{message}"
            );
        }
    }

    #[test]
    fn the_operator_says_how_tokens_stay_alive() {
        let model = |more: &str| {
            let keys = format!("base_url = \"https://s.example\"\n{more}");
            parse(&[("SANDBOX", &keys)]).unwrap().get("SANDBOX").unwrap().refresh
        };
        let grace = Some(std::time::Duration::from_secs(30));
        assert_eq!(model(""), RefreshModel::Rotating { grace: None });
        assert_eq!(model("rotation_grace_seconds = 30"), RefreshModel::Rotating { grace });
        assert_eq!(model("rotation_grace_seconds = 0"), RefreshModel::Rotating { grace: None });
        assert_eq!(model("refresh = \"stable\""), RefreshModel::Stable);
    }

    #[test]
    fn the_operator_says_how_often_and_what_is_death() {
        let built_in = |id: &str, more: &str| {
            let keys = format!("base_url = \"https://s.example\"\n{more}");
            parse(&[(id, &keys)]).map(|platforms| platforms.get(id).unwrap().clone())
        };
        let spacing = |id, more| built_in(id, more).unwrap().refresh_spacing.as_secs();
        assert_eq!((spacing("X", ""), spacing("SANDBOX", "")), (60, 0));
        assert_eq!(spacing("X", "refresh_spacing_seconds = 0"), 0);
        assert_eq!(spacing("SANDBOX", "refresh_spacing_seconds = 3600"), 3600);
        let named = built_in("X", "dead_errors = [\"Gone\", \" some words \"]").unwrap();
        assert_eq!(named.dead_errors, ["gone", "some words"]);
        assert!(built_in("X", "").unwrap().dead_errors.is_empty());
        let (long, many) = ("x".repeat(101), "\"x\",".repeat(51));
        for wrong in [
            "refresh_spacing_seconds = 3601",
            "refresh_spacing_seconds = -1",
            "refresh_spacing_seconds = \"60\"",
            "dead_errors = \"gone\"",
            "dead_errors = [\"\"]",
            "dead_errors = [\"  \"]",
            "dead_errors = [\"Invalid_Client\"]",
            &format!("dead_errors = [\"{long}\"]"),
            &format!("dead_errors = [{many}]"),
        ] {
            assert!(built_in("X", wrong).is_err(), "{wrong}");
        }
    }

    /// Customers bring their own clients; nobody else is led to a platform that the operator knows nothing of.
    #[test]
    fn without_a_section_a_built_in_platform_is_open_to_apps_of_customers() {
        let platforms = Platforms::parse("").unwrap();
        let open: Vec<&str> = BUILT_IN
            .iter()
            .filter(|spec| platforms.get(spec.id).is_some_and(|platform| platform.client.is_none()))
            .map(|spec| spec.id)
            .collect();
        assert_eq!(open.len(), BUILT_IN.len() - 2, "{open:?}");
        assert!(!open.contains(&"SANDBOX"), "nobody knows where it is");
        assert!(!open.contains(&"BLUESKY"), "it has no clients");
    }

    #[test]
    fn a_section_may_be_for_apps_of_customers_alone() {
        let text = "[platforms.X]\nown_apps_only = true\nscopes = [\"tweet.read\"]";
        let platforms = Platforms::parse(text).unwrap();
        let x = platforms.get("X").unwrap();
        assert!(x.client.is_none());
        assert_eq!(x.default_scopes, ["tweet.read"]);
        let told = problems(&[("X", "own_apps_only = true")]);
        assert!(told.contains("`client_id` is unknown here"), "a client that is not used: {told}");
        let told =
            Platforms::parse("[platforms.X]\nown_apps_only = false").unwrap_err().to_string();
        assert!(told.contains("[platforms.X] `client_id` is missing"), "{told}");
    }

    #[tokio::test]
    async fn a_provider_needs_no_more_than_its_addresses() {
        let keys = "name = \"Mine\"\nscopes = []\nauthorize_url = \"https://p.example/a\"\n\
                    token_url = \"https://p.example/t\"\nuserinfo_url = \"https://p.example/u\"";
        let platforms = parse(&[("MY_PROVIDER2", keys)]).unwrap();
        let mine = platforms.get("MY_PROVIDER2").unwrap();
        assert_eq!((mine.client_auth, mine.pkce), (ClientAuth::Basic, Pkce::S256));
        assert_eq!(mine.refresh, RefreshModel::Rotating { grace: None });
        assert_eq!((mine.reach, mine.scope_separator.as_ref()), (Reach::Person, " "));
        assert_eq!(mine.refresh_spacing.as_secs(), 60);
        assert!(mine.dead_errors.is_empty());
        assert_eq!(endpoints(&platforms, "MY_PROVIDER2").await.revoke_url, None);
        assert!(platforms.is_known("MY_PROVIDER2") && platforms.is_known("SANDBOX"));
        assert!(!platforms.is_known("OTHER"));
        assert_eq!(platforms.providers().count(), 1);
    }

    /// An operator mends the file once.
    #[test]
    fn all_problems_are_told_at_once() {
        let keys = "base_url = \"http://example.com\"\nscopes = \"profile\"\nname = \"X\"";
        let mine = "issuer = \"http://example.com\"\nscopes = [\"two words\"]\npkce = \"S256\"\n\
                    refresh = \"stable\"\nrotation_grace_seconds = 5\nclient_authentication = \"jwt\"\n\
                    authorize_parameters = { state = \"x\" }\nuserinfo = { id = \"sub\", mail = \"/m\" }";
        let told = problems(&[("SANDBOX", keys), ("MINE", mine), ("lower", "")]);
        for problem in [
            "[platforms.SANDBOX] `base_url` must be https",
            "[platforms.SANDBOX] `scopes` must be a list",
            "[platforms.SANDBOX] `name` is unknown here",
            "[platforms.MINE] `name` is missing",
            "[platforms.MINE] `issuer` must be https",
            "[platforms.MINE] `scopes` must be a list",
            "[platforms.MINE] `pkce` must be true or false",
            "[platforms.MINE] `rotation_grace_seconds` goes with",
            "[platforms.MINE] `client_authentication` must be",
            "[platforms.MINE] `authorize_parameters` must leave out `state`",
            "[platforms.MINE.userinfo] `id` must be a JSON pointer",
            "[platforms.MINE.userinfo] `mail` is unknown here",
            "[platforms.MINE] is not built in (that is X, ",
            "[platforms.lower] must be called by upper-case letters",
        ] {
            assert!(told.contains(problem), "{problem} is not among:\n{told}");
        }
        assert!(
            !told.contains("`authorize_url` is missing"),
            "an issuer is named, if wrongly:\n{told}"
        );
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let told = problems(&[(
            "MINE",
            "name = \"X\"\nscopes = []\niss_required = true\nrevocation_reach = \"token\"",
        )]);
        for problem in [
            "`authorize_url` is missing: give it, or an `issuer`",
            "`token_url` is missing: give it, or an `issuer`",
            "`userinfo_url` is missing: give it, or an `issuer`",
            "`iss_required` needs an `issuer`",
            "`revocation_reach` says what `revoke_url` ends",
        ] {
            assert!(told.contains(problem), "{problem} is not among:\n{told}");
        }
    }

    /// What the example offers can be taken as it stands.
    #[test]
    fn the_example_is_good_with_every_line_of_it() {
        const EXAMPLE: &str = include_str!("../../../docs/platforms.example.toml");
        let setting = |line: &'static str| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|char: char| !char.is_whitespace()) => rest,
            _ => line,
        };
        let text = EXAMPLE.lines().map(setting).collect::<Vec<_>>().join("\n");
        let at_hand = |line: &str| match line.split_once(" = {") {
            Some(("client_secret", _)) => "client_secret = { value = \"shh\" }".to_owned(),
            _ => line.to_owned(),
        };
        let text = text.lines().map(at_hand).collect::<Vec<_>>().join("\n");
        let platforms = Platforms::parse(&text).unwrap();
        let ids: Vec<&str> = platforms.providers().map(|platform| platform.id.as_str()).collect();
        assert_eq!(ids, ["ANOTHER_PROVIDER", "A_THIRD_PROVIDER", "MY_PROVIDER"]);
        let (another, mine) = (platforms.get(ids[0]).unwrap(), platforms.get(ids[2]).unwrap());
        assert_eq!((another.client_auth, another.pkce), (mine.client_auth, mine.pkce));
        assert_eq!((another.refresh, another.reach), (mine.refresh, mine.reach));
        assert_eq!(another.refresh_spacing, mine.refresh_spacing);
        assert_eq!(another.dead_errors, mine.dead_errors);
        assert_eq!(another.scope_separator, mine.scope_separator);
        let mappings = [another, mine].map(|platform| format!("{:?}", platform.identity_mapping));
        assert_eq!(mappings[0], mappings[1], "the values that are shown are what holds anyway");
    }

    #[test]
    fn a_complaint_shows_no_secret() {
        for text in [
            "[platforms.SANDBOX]\nclient_secret = \"shh\"",
            "[platforms.SANDBOX]\nclient_secret = { vaule = \"shh\" }",
            "[platforms.SANDBOX]\nclient_secret = { value = \"shh }",
            "[platforms.SANDBOX]\nclient_secret = shh",
            "platforms = \"shh\"",
            "[platforms]\nSANDBOX = \"shh\"",
        ] {
            let told = Platforms::parse(text).unwrap_err().to_string();
            assert!(!told.contains("shh"), "{told}");
            assert!(
                told.contains("client_secret")
                    || told.contains("line 2")
                    || text.starts_with("platforms")
                    || told.contains("must be a section"),
                "{told}"
            );
        }
        let keys = "base_url = \"https://s.example\"";
        assert!(!format!("{:?}", parse(&[("SANDBOX", keys)]).unwrap()).contains("shh"));
    }
}
