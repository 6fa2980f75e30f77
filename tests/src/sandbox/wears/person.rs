//! What every vendor says of a person: made of the user name, so that it is always the same.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::sandbox::identity::display_name;

/// The smallest id: beyond what a double can hold (2^53), as Meta's are.
const SMALLEST_ID: u64 = 17_841_400_000_000_001;

/// A numeric id, odd, so that who reads it as a double gets another one.
pub(super) fn number(name: &str) -> u64 {
    let digest = Sha256::digest(name);
    let hashed = digest.iter().take(4).fold(0, |all, byte| all << 8 | u64::from(*byte));
    SMALLEST_ID + 2 * hashed
}

/// An id of letters and digits, which may differ from one `scope` to another.
pub(super) fn code(scope: &str, user: &str) -> String {
    hex::encode(&Sha256::digest(format!("{scope}/{user}"))[..10])
}

/// The name that is shown.
pub(super) fn name(user: &str) -> String {
    display_name(user)
}

pub(super) fn picture(url: &str, user: &str) -> String {
    format!("{url}/pictures/{user}")
}

/// Those members of `all` that were asked for, in a list with commas; `always` come unasked.
pub(super) fn only(all: Value, wanted: &str, always: &[&str]) -> Value {
    let Value::Object(members) = all else {
        return all;
    };
    let asked: Vec<&str> = wanted.split(',').map(str::trim).chain(always.iter().copied()).collect();
    let kept = members.into_iter().filter(|(name, _)| asked.contains(&name.as_str()));
    Value::Object(kept.collect::<Map<_, _>>())
}
