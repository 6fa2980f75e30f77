//! The first bytes of what a receiver said, as text that can be stored and shown anywhere.

/// So many bytes are kept.
pub(super) const KEPT: usize = 1024;

/// Bytes as text of at most [`KEPT`] bytes; what could steer a terminal or a page is replaced.
pub(super) fn text(bytes: &[u8]) -> String {
    let mut text = String::new();
    for char in String::from_utf8_lossy(bytes).chars() {
        let char = if is_harmless(char) { char } else { char::REPLACEMENT_CHARACTER };
        if text.len() + char.len_utf8() > KEPT {
            break;
        }
        text.push(char);
    }
    text
}

/// Neither a control character (but for the ends of lines and tabs), nor one that turns the direction of
/// what follows.
fn is_harmless(char: char) -> bool {
    let turns =
        matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    (!char.is_control() || matches!(char, '\n' | '\r' | '\t')) && !turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_is_replaced() {
        assert_eq!(text(b"ok\r\n\tfine"), "ok\r\n\tfine");
        assert_eq!(text(b"a\0b\x1b[31mc\x7f"), "a\u{fffd}b\u{fffd}[31mc\u{fffd}");
        assert_eq!(text("a\u{202e}b".as_bytes()), "a\u{fffd}b");
    }

    #[test]
    fn it_is_short_even_where_every_byte_is_replaced() {
        assert_eq!(text(&[b'x'; 4000]).len(), KEPT);
        assert!(text(&[0xff; KEPT]).len() <= KEPT);
        assert!(text("ä".repeat(600).as_bytes()).chars().all(|char| char == 'ä'));
    }
}
