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

/// Sections for these platforms, for [`Options::platforms`](super::Options::platforms): the sandbox's
/// own client everywhere.
#[must_use]
pub fn worn(ids: &[&str]) -> String {
    let SandboxConfig { client_id, client_secret, .. } = SandboxConfig::default();
    let section = |id: &&str| {
        let client = match *id {
            "BLUESKY" => {
                "handle_url = \"{sandbox}/handles/{handle}\"\ndns_server = \"{dns}\"\n".to_owned()
            }
            _ => format!(
                "client_id = \"{client_id}\"\nclient_secret = {{ value = \"{client_secret}\" }}\n"
            ),
        };
        // A test that asks for a refresh need not wait for a minute, and no look comes in between.
        format!(
            "[platforms.{id}]\nbase_url = \"{{sandbox}}\"\nrefresh_spacing_seconds = 0\ndaily_look = false\n{client}"
        )
    };
    ids.iter().map(section).collect()
}

/// The same where the operator has no client: customers bring their own.
#[must_use]
pub fn worn_for_own_apps(ids: &[&str]) -> String {
    let section = |id: &&str| {
        format!(
            "[platforms.{id}]\nbase_url = \"{{sandbox}}\"\nrefresh_spacing_seconds = 0\ndaily_look = false\nown_apps_only = true\n"
        )
    };
    ids.iter().map(section).collect()
}
