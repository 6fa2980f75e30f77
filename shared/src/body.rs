//! Bodies of requests, as JSON without unknown fields: whatever is wrong is told with its place, and never
//! with the value that stood there.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use serde_json::error::Category;
use serde_path_to_error::Segment;

use crate::code::Code;
use crate::refused::{FieldError, Refused};

/// No body is larger, whether it comes over HTTP or from a queue.
pub const LIMIT: usize = 64 * 1024;

/// No body is nested deeper. What is stored of it is wrapped again, and JSON libraries refuse what is nested
/// very deep: serde_json beyond 128.
const MAX_DEPTH: usize = 32;
/// No field of ours has a longer name.
const MAX_NAME: usize = 32;

/// Reads a body.
///
/// # Errors
/// `INVALID_JSON`, also for one that is nested too deep, or `VALIDATION_FAILED` with the field that is wrong.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    if depth(body) > MAX_DEPTH {
        let detail = format!("Nest objects and arrays at most {MAX_DEPTH} deep.");
        return Err(Refused::new(Code::InvalidJson, detail));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let pointer = pointer(error.path(), &error.inner().to_string());
        // Anything but a text in the place of a word is called a fault of the syntax.
        let is_json = serde_json::from_slice::<IgnoredAny>(body).is_ok();
        if is_json && error.inner().classify() != Category::Data {
            let message = "must be one of the words that the document lists";
            return Refused::invalid(vec![FieldError::at(pointer, message)]);
        }
        refused(error.inner(), pointer)
    })?;
    reader.end().map_err(|error| refused(&error, String::new()))?;
    Ok(value)
}

/// JSON that is not nested too deep, whatever it says.
pub(crate) fn read_shallow(body: &[u8]) -> Option<Value> {
    (depth(body) <= MAX_DEPTH).then(|| serde_json::from_slice(body).ok()).flatten()
}

/// How deep objects and arrays stand in each other, as far as it is JSON.
fn depth(body: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn refused(error: &serde_json::Error, pointer: String) -> Refused {
    if error.classify() != Category::Data {
        return Refused::new(Code::InvalidJson, format!("Correct the JSON: {error}."));
    }
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(what, _)| what);
    Refused::invalid(vec![FieldError::at(pointer, without_value(message))])
}

/// An error message without the value that it complains of, which may be a secret in the wrong field. The part after
/// `expected` lists our own types and words.
#[must_use]
pub fn without_value(message: &str) -> String {
    let (told, expected) = match message.rsplit_once(", expected ") {
        Some((told, expected)) => (told, format!(", expected {expected}")),
        None => (message, String::new()),
    };
    let typed = |prefix: &str| {
        let kind = told.strip_prefix(prefix)?.split(['`', '"']).next()?.trim();
        Some(format!("{prefix}{kind}{expected}"))
    };
    let named = |field: &str| field.strip_suffix('`').is_some_and(is_name);
    match (told.strip_prefix("unknown field `"), told.strip_prefix("unknown variant `")) {
        (Some(field), _) if !named(field) => format!("unknown field{expected}"),
        (_, Some(_)) => format!("unknown word{expected}"),
        _ => typed("invalid type: ")
            .or_else(|| typed("invalid value: "))
            .unwrap_or_else(|| message.to_owned()),
    }
}

/// Whether a word looks like the name of a field, misspelt perhaps, and not like a secret.
fn is_name(word: &str) -> bool {
    (1..=MAX_NAME).contains(&word.len())
        && word.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_')
}

/// Where the error is (RFC 6901). An error about a field that is missing stands at its parent, and
/// only its message names the field.
fn pointer(path: &serde_path_to_error::Path, message: &str) -> String {
    let mut pointer = String::new();
    for segment in path.iter() {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } if is_name(key) => pointer.push_str(&format!("/{key}")),
            Segment::Map { .. } => {}
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    let missing = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    if let Some(field) = missing {
        pointer.push_str(&format!("/{field}"));
    }
    pointer
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[expect(dead_code, reason = "only read by the derived code")]
    struct Outer {
        name: String,
        inner: Option<Inner>,
        tags: Option<Vec<String>>,
        word: Option<Word>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase")]
    enum Word {
        Yes,
        No,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[expect(dead_code, reason = "only read by the derived code")]
    struct Inner {
        wide_number: u8,
    }

    fn told(body: &str) -> (String, String) {
        let refused = parse::<Outer>(body.as_bytes()).unwrap_err();
        let errors = serde_json::to_value(&refused.errors).unwrap();
        let pointer = errors[0]["pointer"].as_str().unwrap_or_default();
        (refused.code.as_str().to_owned(), pointer.to_owned())
    }

    #[test]
    fn an_error_points_at_its_field() {
        for (body, pointer) in [
            (r#"{}"#, "/name"),
            (r#"{"name":1}"#, "/name"),
            (r#"{"name":"a","colour":1}"#, "/colour"),
            (r#"{"name":"a","a/b~c":1}"#, ""),
            (r#"{"name":"a","tags":["a",2]}"#, "/tags/1"),
            (r#"{"name":"a","inner":{}}"#, "/inner/wideNumber"),
            (r#"{"name":"a","inner":{"wideNumber":1,"x":2}}"#, "/inner/x"),
            (r#"{"name":"a","inner":{"wideNumber":300}}"#, "/inner/wideNumber"),
            (r#"[]"#, ""),
        ] {
            let expected = ("VALIDATION_FAILED".to_owned(), pointer.to_owned());
            assert_eq!(told(body), expected, "{body}");
        }
    }

    #[test]
    fn what_is_no_json_is_told_apart() {
        for body in ["", "{", "nonsense", r#"{"name":"a"} more"#] {
            assert_eq!(told(body).0, "INVALID_JSON", "{body}");
        }
    }

    #[test]
    fn what_is_nested_too_deep_is_refused_and_a_text_full_of_brackets_is_not() {
        let nested = |depth: usize| {
            let inner = depth - 1;
            format!("{{\"name\": {}1{}}}", "[".repeat(inner), "]".repeat(inner))
        };
        assert_eq!(told(&nested(33)).0, "INVALID_JSON");
        assert_eq!(told(&nested(100_000)).0, "INVALID_JSON");
        assert_eq!(told(&nested(32)), ("VALIDATION_FAILED".to_owned(), "/name".to_owned()));
        let brackets = "[{\\\"".repeat(50);
        assert!(parse::<Outer>(format!("{{\"name\": \"{brackets}\"}}").as_bytes()).is_ok());
    }

    #[test]
    fn a_message_speaks_neither_of_lines_nor_of_the_value() {
        for (body, expected) in [
            (r#"{"name":12345}"#, "invalid type: integer, expected a string"),
            (r#"{"name":["secret"]}"#, "invalid type: sequence, expected a string"),
            (
                r#"{"name":"a","inner":"sec, expected ret"}"#,
                "invalid type: string, expected struct Inner",
            ),
            (r#"{"name":"a","inner":{"wideNumber":300}}"#, "invalid value: integer, expected u8"),
            (
                r#"{"name":"a","sec-ret1":1}"#,
                "unknown field, expected one of `name`, `inner`, `tags`, `word`",
            ),
            (
                r#"{"name":"a","sec`, expected ret":1}"#,
                "unknown field, expected one of `name`, `inner`, `tags`, `word`",
            ),
            (
                r#"{"name":"a","colour":1}"#,
                "unknown field `colour`, expected one of `name`, `inner`, `tags`, `word`",
            ),
            (r#"{"name":"a","word":"secret"}"#, "unknown word, expected `yes` or `no`"),
        ] {
            let refused = parse::<Outer>(body.as_bytes()).unwrap_err();
            let errors = serde_json::to_value(&refused.errors).unwrap();
            assert_eq!(errors[0]["message"], expected);
        }
    }
}
