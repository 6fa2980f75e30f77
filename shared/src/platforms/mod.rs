//! Platforms: data in a closed vocabulary of quirks.
//!
//! Code matches on a quirk, never on a platform's name; a platform that needs a word the vocabulary
//! lacks gets a new word. Names are an open set: the platforms file adds providers of its own.

mod atproto;
mod bluesky;
mod built_in;
mod discovery;
mod endpoints;
mod error_rules;
mod facebook_page;
mod instagram;
mod linkedin;
mod linkedin_company;
mod linkedin_person;
mod meta;
mod pinterest;
mod provider;
pub mod quirks;
mod registry;
mod sandbox;
mod scopes;
mod section;
mod threads;
mod tiktok_business;
mod tiktok_personal;
mod vocabulary;
mod x;
mod youtube;

pub use atproto::DirectorySettings;
pub use discovery::{DEADLINE as DISCOVERY_DEADLINE, DiscoveryError};
pub use endpoints::{Endpoints, with_subject};
pub use quirks::Quirks;
pub use registry::{Platforms, PlatformsError};
pub use scopes::{Brought, missing_scopes};
pub use vocabulary::{
    ClientAuth, Flow, IdentityMapping, OperatorClient, Pkce, Platform, Reach, RefreshModel, Spec,
    Urls,
};

/// The platforms that are built in. Each is open to apps of customers, and to everybody once the platforms file names
/// the operator's client.
pub const BUILT_IN: &[Spec] = &[
    x::X,
    linkedin_person::LINKEDIN_PERSON,
    linkedin_company::LINKEDIN_COMPANY,
    instagram::INSTAGRAM,
    facebook_page::FACEBOOK_PAGE,
    threads::THREADS,
    tiktok_personal::TIKTOK_PERSONAL,
    tiktok_business::TIKTOK_BUSINESS,
    youtube::YOUTUBE,
    pinterest::PINTEREST,
    bluesky::BLUESKY,
    sandbox::SANDBOX,
];
