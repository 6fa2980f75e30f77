//! Room on the stacks of this process's threads.
//!
//! Headers of a message may be nested as deep as a frame has bytes, and the AMQP client reads them by recursion:
//! on a thread with Rust's usual 2 MiB, 12 kB of headers end the process, which nothing can catch. A frame of
//! RabbitMQ has 128 KiB (`frame_max`), five bytes of it are one level, and a level takes 2 KiB,
//! unoptimised up to 20. Only what is used of a stack takes memory.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// The variable from which Rust's library reads the size: <https://doc.rust-lang.org/std/thread/#stack-size>.
const VARIABLE: &str = "RUST_MIN_STACK";
const BYTES: &str = "536870912";

/// Begins the process anew, under the same id, with deep stacks, unless it has them or the operator chose others.
/// To be called before there is any thread.
pub fn deepen() {
    if std::env::var_os(VARIABLE).is_some() {
        return;
    }
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let error = match std::env::current_exe() {
        Ok(own) => Command::new(own).arg0(name).args(arguments).env(VARIABLE, BYTES).exec(),
        Err(error) => error,
    };
    eprintln!(
        "cannot begin anew with deep stacks, going on without ({VARIABLE} sets them): {error}"
    );
}
