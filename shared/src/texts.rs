//! Texts that people and platforms write: made fit to be stored, shown and compared.

/// Whether a character shows nothing, or turns the direction in which the text after it is read: marks that come
/// along where a text is copied from a page (Unicode Standard Annex #9 §2). What joins emoji is none of them.
#[must_use]
pub fn is_unseen(char: char) -> bool {
    matches!(
        char,
        '\u{ad}'
            | '\u{61c}'
            | '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2064}'
            | '\u{2066}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
    )
}

/// A name in one line of at most so many characters, without control characters and what [`is_unseen`]. `None`:
/// nothing is left to be seen.
#[must_use]
pub fn name(text: &str, longest: usize) -> Option<String> {
    let seen: String = text
        .chars()
        .filter(|char| !is_unseen(*char))
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect();
    let line = seen.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown: String = line.chars().take(longest).collect();
    let joins = |char| matches!(char, '\u{200c}' | '\u{200d}' | '\u{fe0e}' | '\u{fe0f}');
    Some(shown).filter(|shown| !shown.chars().all(|char| char.is_whitespace() || joins(char)))
}

/// A handle or a DID as a person pastes it: with marks that nobody sees, with the sign before it, or as the address
/// of the profile.
#[must_use]
pub fn handle(pasted: &str) -> String {
    let seen: String = pasted.chars().filter(|char| !is_unseen(*char)).collect();
    let seen = seen.trim();
    let after_scheme = seen.split_once("://").map_or(seen, |(_, rest)| rest);
    let of_profile = after_scheme.split_once("/profile/").map(|(_, rest)| rest);
    let handle = of_profile.unwrap_or(after_scheme);
    let handle = handle.split(['/', '?', '#']).next().unwrap_or_default().trim();
    handle.strip_prefix('@').unwrap_or(handle).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_line_of_what_is_seen() {
        let shown = |text| name(text, 10);
        for (text, clear) in [
            ("Ann", Some("Ann")),
            (" Ann\r\n\tLee\u{7} ", Some("Ann Lee")),
            ("\u{202e}nnA\u{202c}\u{200b}", Some("nnA")),
            ("👩\u{200d}🔬", Some("👩\u{200d}🔬")),
            ("abcdefghijklm", Some("abcdefghij")),
            ("\u{200b} \u{7}", None),
            ("\u{200d}", None),
            ("", None),
        ] {
            assert_eq!(shown(text).as_deref(), clear, "{text:?}");
        }
    }

    #[test]
    fn a_pasted_handle_is_the_handle() {
        for pasted in [
            "ann.bsky.social",
            "@ann.bsky.social",
            " \u{202a}@ann.bsky.social\u{202c} ",
            "\u{2068}ann.bsky.social\u{2069}",
            "\u{200b}@\u{200b}ann.bsky.social\u{200b}",
            "https://bsky.app/profile/ann.bsky.social",
            "bsky.app/profile/ann.bsky.social/",
            "https://bsky.app/profile/ann.bsky.social/post/3k?ref=1#top",
            "at://ann.bsky.social/app.bsky.actor.profile/self",
            "https://ann.bsky.social/",
        ] {
            assert_eq!(handle(pasted), "ann.bsky.social", "{pasted:?}");
        }
        assert_eq!(handle("https://bsky.app/profile/did:plc:abc"), "did:plc:abc");
        assert_eq!(handle("ann@example.com"), "ann@example.com");
    }
}
