//! Accounts of the AT Protocol (Bluesky): who an identifier is, where that account's data live, and
//! sessions there. Without database and without retries.
//!
//! Every address in here comes from outsiders: from what a person typed, from the DNS of their domain,
//! from their DID document. It must never call one that the guard does not permit, follow a redirect,
//! or believe a server about any account but the one that names it in its document.

mod did;
mod dns;
mod handle;
mod http;
mod jwt;
mod resolve;
pub mod session;
#[cfg(test)]
mod tests;

pub(crate) use http::PATIENCE;
pub use http::{GuardedHttp, NotSent};
pub use resolve::{Directory, DirectoryError, ResolveError, Resolved};
pub use session::{Said, Session, SessionError};
