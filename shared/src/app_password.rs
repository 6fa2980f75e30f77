//! What an app password looks like, so that an account's own password is refused before it is kept
//! or sent.
//!
//! It must never be taken for proof: who chose such a password for the account itself is found out by
//! the session's scope.

/// Whether a text has the form of an app password: four groups of four, joined by dashes, in the
/// alphabet of lower-case base32 (`createAppPassword` of the reference PDS draws 16 of
/// `[a-z2-7]`: `bluesky-social/atproto`, `packages/pds/src/account-manager/helpers/password.ts`).
#[must_use]
pub fn looks_like_app_password(text: &str) -> bool {
    let drawn = |byte: u8| matches!(byte, b'a'..=b'z' | b'2'..=b'7');
    let groups = text.split('-').collect::<Vec<_>>();
    groups.len() == 4 && groups.iter().all(|group| group.len() == 4 && group.bytes().all(drawn))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_groups_of_four() {
        assert!(looks_like_app_password("abcd-efgh-2345-67zz"));
        for other in [
            "",
            "hunter2",
            "abcd-efgh-2345",
            "abcd-efgh-2345-67zz-abcd",
            "abcd-efgh-2345-67z",
            "abcdefgh234567zz",
            "ABCD-efgh-2345-67zz",
            "abcd-efgh-2345-0189",
            " abcd-efgh-2345-67zz",
            "äcd-efgh-2345-67zz",
        ] {
            assert!(!looks_like_app_password(other), "{other}");
        }
    }
}
