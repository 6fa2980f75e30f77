//! What follows from a person's name: handle, DID, and how their account stands.

use sha2::{Digest as _, Sha256};

/// Lower-case base32, of which DIDs and app passwords are made.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Which of a person's passwords it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sandbox) enum Password {
    /// Made for an app.
    App,
    /// The account's own.
    Own,
    /// The account's own, which happens to look like one made for an app.
    Disguised,
}

impl Password {
    pub(super) const ALL: [Self; 3] = [Self::App, Self::Own, Self::Disguised];

    pub(super) fn scope(self) -> &'static str {
        match self {
            Self::App => "com.atproto.appPass",
            Self::Own | Self::Disguised => "com.atproto.access",
        }
    }
}

/// Whether somebody of that name can have a handle.
pub(super) fn is_person(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(plain)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

pub(super) fn handle(user: &str) -> String {
    format!("{user}.test")
}

/// Whose handle it is.
pub(super) fn user_of_handle(handle: &str) -> Option<&str> {
    handle.strip_suffix(".test").filter(|user| is_person(user))
}

pub(super) fn did(user: &str) -> String {
    format!("did:plc:{}", base32(&Sha256::digest(format!("bluesky/{user}")), 24))
}

/// Only the DNS knows such a handle; of all others it knows nothing.
pub(super) fn is_in_the_dns(user: &str) -> bool {
    user.starts_with("dns-")
}

pub(super) fn has_second_factor(user: &str) -> bool {
    user.starts_with("2fa-")
}

pub(super) fn is_taken_down(user: &str) -> bool {
    user.starts_with("takendown-")
}

/// Why an account is not in use.
pub(super) fn status(user: &str) -> Option<&'static str> {
    ["suspended", "deactivated"]
        .into_iter()
        .find(|status| user.strip_prefix(status).is_some_and(|rest| rest.starts_with('-')))
}

/// Whom somebody's server says that they are: anybody may run one.
pub(super) fn pretends(user: &str) -> &str {
    user.strip_prefix("impostor-").unwrap_or(user)
}

/// Four groups of four.
pub(super) fn grouped(bytes: &[u8]) -> String {
    let text = base32(bytes, 16);
    [&text[..4], &text[4..8], &text[8..12], &text[12..]].join("-")
}

/// One character a byte.
fn base32(bytes: &[u8], length: usize) -> String {
    bytes.iter().take(length).map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()
}
