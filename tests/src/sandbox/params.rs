//! Parameters of a query or form, read as RFC 6749 §3.1 asks: an empty one counts as absent, and none
//! may come twice.

use url::form_urlencoded;

/// The decoded parameters in the order they came.
#[derive(Debug)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    pub(super) fn parse(encoded: &[u8]) -> Self {
        Self(form_urlencoded::parse(encoded).into_owned().collect())
    }

    /// The value, unless it is absent or empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The text fields of a `multipart/form-data` body (RFC 7578 §4).
    pub(super) fn multipart(boundary: &str, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let delimiter = format!("--{boundary}");
        let field = |part: &str| {
            let (head, value) = part.split_once("\r\n\r\n")?;
            let (name, _) = head.split_once("name=\"")?.1.split_once('"')?;
            Some((name.to_owned(), value.strip_suffix("\r\n")?.to_owned()))
        };
        Self(text.split(&delimiter).filter_map(field).collect())
    }

    /// Every parameter as it came.
    pub(super) fn all(&self) -> &[(String, String)] {
        &self.0
    }

    /// The first name that came more than once.
    pub(super) fn repeated(&self) -> Option<&str> {
        let came_before = |at: usize| self.0[..at].iter().any(|earlier| earlier.0 == self.0[at].0);
        (0..self.0.len()).find(|at| came_before(*at)).map(|at| self.0[at].0.as_str())
    }
}
