//! The form of an app password, by which an account's own password is refused before it goes anywhere.

/// Whether the text has the form: four groups of four, of lower-case letters and the digits 2 to 7,
/// joined by dashes. An account's password almost never has it.
#[must_use]
pub fn looks_like_app_password(text: &str) -> bool {
    let base32 = |byte: u8| byte.is_ascii_lowercase() || (b'2'..=b'7').contains(&byte);
    let mut groups = 0;
    let all = text.split('-').all(|group| {
        groups += 1;
        group.len() == 4 && group.bytes().all(base32)
    });
    all && groups == 4
}

#[cfg(test)]
mod tests {
    use super::looks_like_app_password;

    #[test]
    fn four_groups_of_four() {
        assert!(looks_like_app_password("abcd-efgh-2345-z7z7"));
        for text in [
            "",
            "hunter2",
            "abcd-efgh-2345",
            "abcd-efgh-2345-z7z7-aaaa",
            "abcd-efgh-2345-z7z",
            "abcd-efgh-2345-z7z8",
            "ABCD-efgh-2345-z7z7",
            "abcdefgh2345z7z7",
            " abcd-efgh-2345-z7z7",
            "äbc-efgh-2345-z7z7",
        ] {
            assert!(!looks_like_app_password(text), "{text}");
        }
    }
}
