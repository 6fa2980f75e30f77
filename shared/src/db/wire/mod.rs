//! What passes between us and PostgreSQL. A session that is of no use any more ends here, where its bytes pass, so
//! that all above sees one thing: a connection that was lost.

mod frames;
mod socket;
pub(super) mod sqlstate;
mod stream;

pub(super) use socket::open;
pub(super) use stream::Watch;
