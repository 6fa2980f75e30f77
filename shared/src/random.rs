//! The one place that draws random bytes, from the operating system.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// `N` random bytes.
///
/// # Panics
/// When the operating system has no randomness to give: nothing safe can be done without it.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the home of randomness")]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system provides randomness");
    bytes
}

/// 32 random bytes as 43 characters of base64url: states, keys, codes, cookies.
#[must_use]
pub fn token() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<32>())
}

/// A number drawn evenly from 0 (included) to 1 (excluded).
#[must_use]
pub fn unit() -> f64 {
    let high = u32::from_le_bytes(bytes::<4>());
    f64::from(high) / (f64::from(u32::MAX) + 1.0)
}
