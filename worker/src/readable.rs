//! Bodies as readers of JSON take them.

/// Half of a surrogate pair, which RFC 8259 §8.2 leaves to each reader, and bytes that are no UTF-8 become U+FFFD: a
/// name that was cut within an emoji does not cost the rest of the answer.
pub fn readable(body: Vec<u8>) -> Vec<u8> {
    let text = match String::from_utf8(body) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    };
    let mut mended = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        mended.push_str(before);
        let taken = match (unit(escape), unit(escape.get(6..).unwrap_or_default())) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
            (Some(0xD800..=0xDFFF), _) => {
                mended.push_str("\\ufffd");
                rest = &escape[6..];
                continue;
            }
            (Some(_), _) => 6,
            // An escaped character, or a backslash at the very end.
            (None, _) => escape.chars().take(2).map(char::len_utf8).sum(),
        };
        mended.push_str(&escape[..taken]);
        rest = &escape[taken..];
    }
    mended.push_str(rest);
    mended.into_bytes()
}

/// The UTF-16 unit that an escape begins with.
fn unit(escape: &str) -> Option<u32> {
    let digits = escape.strip_prefix("\\u")?.get(..4)?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u32::from_str_radix(digits, 16).ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_character_is_replaced_and_nothing_else() {
        for (body, mended) in [
            (r#""Ann \ud83d""#, r#""Ann \ufffd""#),
            (r#""\ude00 Ann""#, r#""\ufffd Ann""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\ud83d\u0041""#, r#""\ufffd\u0041""#),
            (r#""\uD83D\uDE00 \u00e9 \n \" 😀""#, r#""\uD83D\uDE00 \u00e9 \n \" 😀""#),
            (r#""\\ud83d""#, r#""\\ud83d""#),
            (r#""\u+123 \ud8""#, r#""\u+123 \ud8""#),
            ("\\", "\\"),
            ("\\é", "\\é"),
        ] {
            assert_eq!(String::from_utf8(readable(body.into())).unwrap(), mended, "{body}");
        }
        assert_eq!(readable(b"{\"n\":\"\xff\"}".to_vec()), "{\"n\":\"\u{fffd}\"}".as_bytes());
    }
}
