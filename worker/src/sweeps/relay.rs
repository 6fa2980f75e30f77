//! Publishes what was committed and is not done.

use latchkey_shared::relay;

use crate::context::Context;
use crate::outcome::Failure;

pub(super) async fn run(context: &Context) -> Result<usize, Failure> {
    Ok(relay::run_once(&context.store).await?)
}
