//! Where the answer to a request may go.
//!
//! With `reply_to` a producer could have us publish to any queue of the broker, our own and other producers'
//! included. So a producer is answered by direct reply-to, in a queue that RabbitMQ named, or in
//! one that bears its own name as a user of the broker.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use latchkey_shared::broker::Topology;
use latchkey_shared::broker::consumer::Received;
use latchkey_shared::code::Code;
use latchkey_shared::refused::Refused;

/// The name of RabbitMQ's direct reply-to. The broker appends the producer's channel on the way.
const DIRECT: &str = "amq.rabbitmq.reply-to";
/// What the names begin with that RabbitMQ gives to queues.
const SERVER_NAMED: &str = "amq.gen-";

/// # Errors
/// `REPLY_TO_FORBIDDEN`.
pub(super) fn check(delivery: &Received, topology: &Topology, trust: bool) -> Result<(), Refused> {
    let Some(queue) = &delivery.reply_to else { return Ok(()) };
    let user = delivery.user_id.as_deref().filter(|user| !user.is_empty());
    if may_be_answered(queue, &topology.replies(), user, trust) {
        return Ok(());
    }
    let replies = topology.replies();
    let detail = format!(
        "`reply_to` may name {DIRECT}, a queue that RabbitMQ named ({SERVER_NAMED}…), or {replies} followed by the \
         name of the producer's user of the broker, which `user_id` says, and by a dot and more as you like"
    );
    Err(Refused::new(Code::ReplyToForbidden, detail))
}

/// A producer without a `user_id` has reply queues only under `LATCHKEY_TRUST_PRODUCERS`.
fn may_be_answered(queue: &str, replies: &str, user: Option<&str>, trust: bool) -> bool {
    let rest = |prefix: &str| queue.strip_prefix(prefix).filter(|rest| !rest.is_empty());
    let own = |rest: &str| match user {
        Some(user) => {
            rest.strip_prefix(user).is_some_and(|more| more.is_empty() || more.starts_with('.'))
        }
        None => trust,
    };
    queue == DIRECT
        || rest(&format!("{DIRECT}.")).is_some_and(is_a_channel)
        || rest(SERVER_NAMED).is_some()
        || rest(replies).is_some_and(own)
}

/// RabbitMQ closes the connection that publishes to a direct reply-to which does not decode: the process of a
/// channel in Erlang's external term format (<https://www.erlang.org/doc/apps/erts/erl_ext_dist.html>, `NEW_PID_EXT`
/// and `PID_EXT`), and a key.
fn is_a_channel(encoded: &str) -> bool {
    let Some((process, key)) = encoded.split_once('.') else { return false };
    let is_key = STANDARD.decode(key).is_ok_and(|key| !key.is_empty());
    is_key && STANDARD.decode(process).is_ok_and(|process| is_process(&process))
}

fn is_process(term: &[u8]) -> bool {
    let (numbers, node) = match term {
        [131, 88, node @ ..] => (12, node),
        [131, 103, node @ ..] => (9, node),
        _ => return false,
    };
    let (length, rest) = match node {
        [119 | 115, length, rest @ ..] => (usize::from(*length), rest),
        [118 | 100, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        _ => return false,
    };
    length > 0 && rest.len() == length + numbers && rest[..length].is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLIES: &str = "latchkey.replies.";

    fn direct(term: &[u8]) -> String {
        format!("{DIRECT}.{}.{}", STANDARD.encode(term), STANDARD.encode("key"))
    }

    fn process() -> Vec<u8> {
        [&[131, 88, 118, 0, 8][..], b"reply@42", &[0; 12]].concat()
    }

    #[test]
    fn a_producer_is_answered_where_it_is_at_home() {
        for queue in [
            DIRECT.to_owned(),
            direct(&process()),
            direct(&[&[131, 103, 100, 0, 1, b'n'][..], &[0; 9]].concat()),
            "amq.gen-JzTY20BRgKO-HjmUJj0wLg".to_owned(),
            "latchkey.replies.shop".to_owned(),
            "latchkey.replies.shop.7".to_owned(),
        ] {
            assert!(may_be_answered(&queue, REPLIES, Some("shop"), false), "{queue}");
        }
        assert!(may_be_answered("latchkey.replies.any", REPLIES, None, true));
    }

    #[test]
    fn nobody_is_answered_in_another_s_queue() {
        for queue in [
            "",
            " ",
            "latchkey.refresh",
            "latchkey.requests",
            "latchkey.replies",
            "latchkey.replies.",
            "latchkey.repliesx",
            "latchkey.replies.rival",
            "latchkey.replies.shop2",
            "latchkey.replies.Shop",
            "latchkey.dead",
            "other.replies.shop",
            "xlatchkey.replies.shop",
            " latchkey.replies.shop",
            "Latchkey.replies.shop",
            "amq.rabbitmq.trace",
            "amq.rabbitmq.log",
            "amq.rabbitmq.reply-to.",
            "amq.rabbitmq.reply-tox",
            "amq.gen-",
            "amq.gen",
            "amq.topic",
            "orders",
        ] {
            assert!(!may_be_answered(queue, REPLIES, Some("shop"), true), "{queue}");
        }
        assert!(!may_be_answered("latchkey.replies.shop", REPLIES, None, false));
    }

    #[test]
    fn what_rabbitmq_could_not_decode_is_not_sent_to_it() {
        let good = process();
        for term in
            [&good[..5], &good[..good.len() - 1], &[&good[..], &[0]].concat(), b"\x83h\x00", b""]
        {
            assert!(!may_be_answered(&direct(term), REPLIES, None, true), "{term:?}");
        }
        for rest in ["g1h3", "g1h3.", ".abc=", "!.abc=", "g1h2AAhyZXBseQ.abc=="] {
            assert!(!may_be_answered(&format!("{DIRECT}.{rest}"), REPLIES, None, true), "{rest}");
        }
    }
}
