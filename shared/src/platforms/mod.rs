//! Platforms: data in a closed vocabulary of quirks.
//!
//! Code matches on a quirk, never on a platform's name; a platform that needs a word the vocabulary
//! lacks gets a new word. Names are an open set: the platforms file adds providers of its own.

mod built_in;
mod discovery;
mod endpoints;
mod provider;
mod registry;
mod sandbox;
mod section;
mod vocabulary;

pub use discovery::{DEADLINE as DISCOVERY_DEADLINE, DiscoveryError};
pub use endpoints::Endpoints;
pub use registry::{Platforms, PlatformsError};
pub use vocabulary::{ClientAuth, IdentityMapping, Pkce, Platform, Reach, RefreshModel, Spec};

/// The platforms that are built in; each is usable once the platforms file names its credentials.
pub const BUILT_IN: &[Spec] = &[sandbox::SANDBOX];
