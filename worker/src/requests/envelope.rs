//! What the properties of a request say: its type, its name, and where its answer goes.

use latchkey_shared::broker::consumer::Received;
use latchkey_shared::code::Code;
use latchkey_shared::messages::requests::{REQUEST_REJECTED, RequestKind};
use latchkey_shared::refused::Refused;

use super::{Terms, reply_to};

/// AMQP has no longer texts in properties.
const MAX_ID_LEN: usize = 255;

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
    pub(super) fn read(delivery: &Received, terms: &Terms) -> Result<Self, Refused> {
        reply_to::check(delivery, &terms.topology, terms.trust)?;
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
