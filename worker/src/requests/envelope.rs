//! What the properties of a request say: its type, its name, and where its answer may go.
//!
//! `reply_to` would let whoever may publish requests have us write into any queue of the broker, our own
//! included: so only queues that are made for answers may be named, and the answer to anything else goes
//! nowhere.

use latchkey_shared::broker::Topology;
use latchkey_shared::broker::consumer::Received;
use latchkey_shared::code::Code;
use latchkey_shared::messages::requests::{REQUEST_REJECTED, RequestKind};
use latchkey_shared::refused::Refused;

/// AMQP has no longer texts in properties.
const MAX_ID_LEN: usize = 255;
/// RabbitMQ's word for answers to whoever asked, and what it makes of it on the way.
const DIRECT: &str = "amq.rabbitmq.reply-to";
/// What the names begin with that RabbitMQ gives to queues.
const SERVER_NAMED: &str = "amq.gen-";

/// A request's properties and body, its answer allowed to go where it says.
#[derive(Clone, Debug)]
pub(super) struct Envelope {
    /// The user of the broker who sent it, as the broker vouches for it.
    pub(super) user: Option<String>,
    /// Where the answer goes; `None`: nobody waits for one.
    pub(super) reply_to: Option<String>,
    /// By what the answer is known; `None`: the request has neither a correlation id nor a message id.
    pub(super) correlation_id: Option<String>,
    /// As it was sent.
    pub(super) body: Vec<u8>,
    /// For the dead letters.
    pub(super) delivery: Received,
}

/// The AMQP `type`, or where it is missing the routing key.
pub(super) fn type_of(delivery: &Received) -> &str {
    delivery.kind.as_deref().filter(|kind| !kind.is_empty()).unwrap_or(&delivery.routing_key)
}

impl Envelope {
    /// # Errors
    /// `REPLY_TO_FORBIDDEN`, which is answered nowhere.
    pub(super) fn read(delivery: &Received, topology: &Topology) -> Result<Self, Refused> {
        if let Some(queue) = &delivery.reply_to
            && !may_be_answered(queue, &topology.replies())
        {
            let replies = topology.replies();
            let detail = format!(
                "`reply_to` may name {DIRECT}, a queue that RabbitMQ named ({SERVER_NAMED}…), or one whose \
                 name begins with {replies}"
            );
            return Err(Refused::new(Code::ReplyToForbidden, detail));
        }
        let known = delivery.correlation_id.as_ref().or(delivery.message_id.as_ref());
        Ok(Self {
            user: delivery.user_id.clone().filter(|user| !user.is_empty()),
            reply_to: delivery.reply_to.clone(),
            correlation_id: known.cloned(),
            body: delivery.body.clone(),
            delivery: delivery.clone(),
        })
    }

    /// What is asked for.
    ///
    /// # Errors
    /// `REQUEST_UNKNOWN`.
    pub(super) fn kind(&self) -> Result<RequestKind, Refused> {
        RequestKind::of(type_of(&self.delivery)).ok_or_else(|| {
            let known: Vec<&str> = RequestKind::ALL.iter().map(|kind| kind.as_str()).collect();
            let detail = format!(
                "Send one of these as the property `type`, and as the routing key: {}.",
                known.join(", ")
            );
            Refused::new(Code::RequestUnknown, detail)
        })
    }

    /// The type of the answer when nothing is done.
    pub(super) fn rejected(&self) -> &'static str {
        self.kind().map_or(REQUEST_REJECTED, RequestKind::rejected)
    }

    /// The id under which it is done once.
    ///
    /// # Errors
    /// `MESSAGE_ID_REQUIRED`.
    pub(super) fn message_id(&self) -> Result<&str, Refused> {
        let sane = |id: &&str| {
            (1..=MAX_ID_LEN).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
        };
        self.delivery.message_id.as_deref().filter(sane).ok_or_else(|| {
            let detail = format!(
                "Send the property `message_id`: 1 to {MAX_ID_LEN} visible ASCII characters, such as a UUID, \
                 new for each new request."
            );
            Refused::new(Code::MessageIdRequired, detail)
        })
    }
}

fn may_be_answered(queue: &str, replies: &str) -> bool {
    let below = |prefix: &str| queue.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty());
    queue == DIRECT || below(&format!("{DIRECT}.")) || below(SERVER_NAMED) || below(replies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_queues_made_for_answers_may_be_named() {
        let replies = Topology::new("latchkey").replies();
        for queue in [
            "amq.rabbitmq.reply-to",
            "amq.rabbitmq.reply-to.g1h2AAhyZXBseQ.abc==",
            "amq.gen-JzTY20BRgKO-HjmUJj0wLg",
            "latchkey.replies.shop",
            "latchkey.replies.shop.7",
        ] {
            assert!(may_be_answered(queue, &replies), "{queue}");
        }
        for queue in [
            "",
            " ",
            "latchkey.refresh",
            "latchkey.requests",
            "latchkey.replies",
            "latchkey.replies.",
            "latchkey.repliesx",
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
            assert!(!may_be_answered(queue, &replies), "{queue}");
        }
    }
}
