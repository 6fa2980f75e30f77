//! Handles: the domain names that accounts go by (<https://atproto.com/specs/handle>).

const MAX_HANDLE: usize = 253;
const MAX_LABEL: usize = 63;

/// Names that no account may have; `.test` is left for development.
const RESERVED: [&str; 8] =
    ["alt", "arpa", "example", "internal", "invalid", "local", "localhost", "onion"];

/// Whether a lower-case text is a handle that an account may have.
pub(super) fn is_handle(text: &str) -> bool {
    let mut labels = text.split('.');
    let last = labels.next_back().unwrap_or_default();
    text.len() <= MAX_HANDLE
        && text.split('.').all(is_label)
        && labels.next().is_some()
        && last.starts_with(|first: char| first.is_ascii_lowercase())
        && !RESERVED.contains(&last)
}

fn is_label(text: &str) -> bool {
    let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    (1..=MAX_LABEL).contains(&text.len())
        && text.bytes().all(plain)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_of_the_specification() {
        let long = format!("{}.test", "a".repeat(63));
        for good in ["sam.test", "8.cn", "4chan.org", "xn--fiq8b.com", "a-b.c1", "sam.bsky.social"]
            .into_iter()
            .chain([long.as_str()])
        {
            assert!(is_handle(good), "{good}");
        }
        let label_too_long = format!("{}.test", "a".repeat(64));
        let too_long = format!("{}test", "abcdefg.".repeat(32));
        for bad in [
            "",
            "sam",
            "sam.",
            ".test",
            "sam..test",
            "-sam.test",
            "sam-.test",
            "sam.4u",
            "127.0.0.1",
            "sam_x.test",
            "sam test",
            "säm.test",
            "Sam.test",
            "sam.test:80",
            "sam.test/",
            "sam@sam.test",
            "sam.local",
            "sam.localhost",
            "sam.example",
            "sam.onion",
        ]
        .into_iter()
        .chain([label_too_long.as_str(), too_long.as_str()])
        {
            assert!(!is_handle(bad), "{bad}");
        }
    }
}
