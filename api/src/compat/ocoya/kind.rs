//! Ocoya has one word for LinkedIn: its members and its organisations, which are two platforms here. The person says
//! which is meant.

use latchkey_shared::operations::start_connect::operator_client;

use super::words;
use crate::compat::words::Word as _;
use crate::problem::Problem;
use crate::routes::connects::find_platform;
use crate::state::App;
use crate::web::sign_in::Kind;

/// What a person can connect of LinkedIn, in their words.
const LINKEDIN: [Kind; 2] = [
    Kind { platform: "LINKEDIN_PERSON", told: "Your own profile" },
    Kind { platform: "LINKEDIN_COMPANY", told: "Organisations that you administer" },
];

/// The word for a platform of ours.
pub(super) fn provider(platform: &str) -> Option<words::Ocoya> {
    let linkedin = LINKEDIN.iter().any(|kind| kind.platform == platform);
    if linkedin { Some(words::Ocoya::Linkedin) } else { words::Ocoya::of(platform) }
}

/// What can be connected of a provider here: one of these is what the person means.
///
/// # Errors
/// `PLATFORM_NOT_CONFIGURED` where nothing can.
pub(super) fn all(app: &App, provider: words::Ocoya) -> Result<Vec<Kind>, Problem> {
    let usual = [Kind { platform: provider.ours(), told: "" }];
    let kinds: &[Kind] = if provider == words::Ocoya::Linkedin { &LINKEDIN } else { &usual };
    let is_there = |kind: &Kind| {
        find_platform(app, kind.platform).is_ok_and(|platform| operator_client(platform).is_ok())
    };
    let there: Vec<Kind> = kinds.iter().copied().filter(is_there).collect();
    if there.is_empty() {
        operator_client(find_platform(app, provider.ours())?)?;
    }
    Ok(there)
}
