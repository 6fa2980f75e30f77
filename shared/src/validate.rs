//! What the types of a body cannot say: collected, so that a caller learns of all of it at once.

use serde_json::Value;

use crate::refused::{FieldError, Refused};

const NAME_CHARS: usize = 200;
const CREDENTIAL_CHARS: usize = 1000;
const MAX_SCOPES: usize = 100;
const MAX_SCOPE_BYTES: usize = 200;
/// How many errors one answer lists.
const MAX_ERRORS: usize = 20;
const METADATA_BYTES: usize = 4 * 1024;

/// The fields found wrong so far.
#[derive(Debug, Default)]
pub struct Checks {
    errors: Vec<FieldError>,
}

impl Checks {
    /// Notes what is wrong with a field. Of very many errors the first ones are listed.
    pub fn wrong(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(FieldError::at(pointer, message));
        }
    }

    /// Notes what is wrong with each element of a list, and only with its length if it is too long.
    pub fn elements<T>(
        &mut self,
        pointer: &str,
        most: usize,
        elements: &[T],
        wrong: impl Fn(&T) -> Option<String>,
    ) {
        if elements.len() > most {
            return self.wrong(pointer, format!("must have at most {most} elements"));
        }
        for (index, element) in elements.iter().enumerate() {
            if let Some(message) = wrong(element) {
                self.wrong(format!("{pointer}/{index}"), message);
            }
        }
    }

    /// A name for people: short, on one line.
    pub fn name(&mut self, pointer: &str, name: &str) {
        let length = name.chars().count();
        if !(1..=NAME_CHARS).contains(&length) || name.chars().any(char::is_control) {
            let message = format!("must be 1 to {NAME_CHARS} characters on one line");
            self.wrong(pointer, message);
        }
    }

    /// What a platform gave: RFC 6749 appendix A has visible ASCII, and a space is a slip of the hand.
    /// The message never repeats it.
    pub fn credential(&mut self, pointer: &str, credential: &str) {
        let visible = credential.bytes().all(|byte| byte.is_ascii_graphic());
        if !(1..=CREDENTIAL_CHARS).contains(&credential.len()) || !visible {
            let message = format!("must be 1 to {CREDENTIAL_CHARS} visible ASCII characters");
            self.wrong(pointer, format!("{message}, without spaces"));
        }
    }

    /// What to ask a platform for. RFC 6749 §3.3: printable ASCII without space, `"` and `\`.
    pub fn scopes(&mut self, scopes: &[String]) {
        if scopes.is_empty() {
            self.wrong("/scopes", format!("must be 1 to {MAX_SCOPES}, or left out"));
        }
        self.elements("/scopes", MAX_SCOPES, scopes, |scope| {
            let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
            let good = (1..=MAX_SCOPE_BYTES).contains(&scope.len()) && scope.bytes().all(plain);
            (!good).then(|| format!("must be 1 to {MAX_SCOPE_BYTES} characters of a scope token"))
        });
    }

    /// Whatever an application wants to keep: small, and without NUL, which PostgreSQL cannot store.
    pub fn metadata(&mut self, pointer: &str, metadata: &Value) {
        if metadata.to_string().len() > METADATA_BYTES {
            self.wrong(pointer, format!("must be at most {METADATA_BYTES} bytes"));
        }
        if holds_nul(metadata) {
            self.wrong(pointer, "must not hold the character U+0000");
        }
    }

    /// # Errors
    /// `VALIDATION_FAILED` with everything that was noted.
    pub fn finish(self) -> Result<(), Refused> {
        if self.errors.is_empty() { Ok(()) } else { Err(Refused::invalid(self.errors)) }
    }
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(holds_nul),
        Value::Object(members) => {
            members.iter().any(|(name, value)| name.contains('\0') || holds_nul(value))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_wrong_is_told_at_once() {
        let mut checks = Checks::default();
        checks.name("/name", "two\nlines");
        checks.metadata("/metadata", &json!({ "a": ["b\0"] }));
        checks.metadata("/other", &json!({ "a": "x".repeat(METADATA_BYTES) }));
        checks.credential("/clientSecret", "se cret");
        let expected = ["/name", "/metadata", "/other", "/clientSecret"];
        let told = serde_json::to_value(&checks.errors).unwrap();
        let pointers: Vec<_> = told.as_array().unwrap().iter().map(|e| &e["pointer"]).collect();
        assert_eq!(pointers, expected);
        assert!(!told.to_string().contains("se cret"), "{told}");
        assert!(checks.finish().is_err());
    }

    #[test]
    fn scopes_are_tokens() {
        let wrong = |scopes: &[&str]| {
            let mut checks = Checks::default();
            let scopes: Vec<String> = scopes.iter().map(ToString::to_string).collect();
            checks.scopes(&scopes);
            checks.finish().is_err()
        };
        assert!(!wrong(&["profile", "https://www.example/auth/upload", "a:b.c"]));
        for scopes in [&[][..], &[""], &["two words"], &["a\"b"], &["ü"], &["a\0"]] {
            assert!(wrong(scopes), "{scopes:?}");
        }
    }

    #[test]
    fn good_values_pass() {
        let mut checks = Checks::default();
        checks.name("/name", "Grüße");
        checks.metadata("/metadata", &json!({ "order": 7 }));
        checks.credential("/clientSecret", "GOCSPX-a_b~c.d/e+f=");
        assert!(checks.finish().is_ok());
    }
}
