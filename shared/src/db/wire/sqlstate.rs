//! What follows from a SQLSTATE (PostgreSQL documentation, Appendix A).

/// Classes after which another session is needed: lost connections, resources, operators, the system, errors inside.
const OVER: [&str; 6] = ["08", "53", "57", "58", "F0", "XX"];

/// The same of single codes: a transaction that lost against another, a server that became read-only, a session or
/// transaction that was idle or open too long, a statement that is not there or there already, a plan that does not
/// fit a changed table, a lock that was not free in time.
const OVER_TOO: [&str; 9] =
    ["40001", "40P01", "25006", "25P03", "25P04", "0A000", "26000", "42P05", "55P03"];

/// Whether the session is of no use after this error, or the error says nothing against the statement: then the same
/// statement does better in another session, sooner or later.
pub(in crate::db) fn ends_session(code: &str) -> bool {
    OVER_TOO.contains(&code) || OVER.iter().any(|class| code.starts_with(class))
}

/// Whether the values are refused every time: what does not fit its type (22), or passes a limit (54).
pub(in crate::db) fn refuses_values(code: &str) -> bool {
    code.starts_with("22") || code.starts_with("54")
}

/// The SQLSTATE that stands before the words of an error.
pub(in crate::db) fn of(message: &str) -> Option<&str> {
    let (code, _) = message.split_once(": ")?;
    (code.len() == 5 && code.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(code)
}
