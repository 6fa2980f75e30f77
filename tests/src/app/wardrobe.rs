//! Sections of the platforms file that lead to the sandbox, whatever it wears.

use crate::SandboxConfig;

/// Every vendor's platform that the sandbox wears.
pub const WORN: [&str; 11] = [
    "X",
    "LINKEDIN_PERSON",
    "LINKEDIN_COMPANY",
    "INSTAGRAM",
    "FACEBOOK_PAGE",
    "THREADS",
    "TIKTOK_PERSONAL",
    "TIKTOK_BUSINESS",
    "YOUTUBE",
    "PINTEREST",
    "BLUESKY",
];

const CLIENT_ID: &str = "latchkey-sandbox-client";
/// A test that asks for a refresh need not wait for a minute, and no look comes in between.
const FOR_TESTS: &str = "refresh_spacing_seconds = 0\ndaily_look = false\n";

/// Sections for these platforms, for [`Options::platforms`](super::Options::platforms): the sandbox's
/// own client everywhere.
#[must_use]
pub fn worn(ids: &[&str]) -> String {
    let SandboxConfig { client_secret, .. } = SandboxConfig::default();
    sections(ids, &format!("{{ value = \"{client_secret}\" }}"), FOR_TESTS)
}

/// The same where the operator has no client: customers bring their own.
#[must_use]
pub fn worn_for_own_apps(ids: &[&str]) -> String {
    let section = |id: &&str| format!("{}{FOR_TESTS}own_apps_only = true\n", head(id));
    ids.iter().map(section).collect()
}

/// Sections that lead to the sandbox, `{sandbox}` standing for its URL and `{dns}` for its address as a name server;
/// with the place of the client's secret, and more keys.
#[must_use]
pub fn sections(ids: &[&str], secret: &str, more: &str) -> String {
    let section = |id: &&str| {
        let client = match *id {
            "BLUESKY" => {
                "handle_url = \"{sandbox}/handles/{handle}\"\ndns_server = \"{dns}\"\n".to_owned()
            }
            _ => format!("client_id = \"{CLIENT_ID}\"\nclient_secret = {secret}\n"),
        };
        format!("{}{more}{client}", head(id))
    };
    ids.iter().map(section).collect()
}

fn head(id: &str) -> String {
    format!("[platforms.{id}]\nbase_url = \"{{sandbox}}\"\n")
}
