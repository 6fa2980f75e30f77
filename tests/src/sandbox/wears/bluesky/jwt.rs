//! Tokens of three parts, as a personal data server makes them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

/// A key that nobody else has.
#[derive(Debug)]
pub(super) struct Key([u8; 32]);

impl Key {
    pub(super) fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// 32 bytes that follow from a text, for who has the key.
    pub(super) fn digest(&self, text: &str) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any size");
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// A signed token of a type such as `at+jwt`.
    pub(super) fn sign(&self, kind: &str, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&json!({ "typ": kind, "alg": "HS256" })), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.digest(&signed));
        format!("{signed}.{signature}")
    }
}
