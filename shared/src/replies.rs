//! Replies to producers: made when they are sent, of the row of the request that they answer. What waits in
//! the outbox names that row and holds nothing of the reply, which may carry a live state and a link.

use serde::{Deserialize, Serialize};

use crate::broker::{self, topology};
use crate::clock::Clock;
use crate::db::outbox::Message;
use crate::db::requests::{self, Kept, Known, Name};
use crate::ids::OrganisationId;
use crate::keyring::SealError;
use crate::work::{Publishable, Store};

/// Which request is answered, and by what its producer knows the answer.
#[derive(Debug)]
pub struct Reply<'a> {
    /// The request.
    pub name: &'a Name,
    /// AMQP `correlation_id`.
    pub correlation_id: &'a str,
    /// Whose key its producer acts by, if by one.
    pub organisation: Option<&'a OrganisationId>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    producer: String,
    message_id: String,
    correlation_id: String,
}

impl Reply<'_> {
    /// What stands in the outbox.
    #[must_use]
    pub fn body(&self) -> String {
        let body = Body {
            producer: self.name.producer().to_owned(),
            message_id: self.name.message_id().to_owned(),
            correlation_id: self.correlation_id.to_owned(),
        };
        serde_json::to_string(&body).expect("a struct of texts is always JSON")
    }
}

/// An answer, ready to be published.
pub struct Answer {
    /// The queue that its asker named.
    pub to: String,
    /// AMQP `correlation_id`, if the request brought anything that could be one.
    pub correlation_id: Option<String>,
    /// AMQP `type`.
    pub kind: &'static str,
    /// JSON.
    pub body: Vec<u8>,
}

impl Answer {
    pub(crate) fn amqp(&self, id: &str, clock: &Clock) -> broker::Message {
        broker::Message {
            exchange: topology::DEFAULT,
            routing_key: self.to.clone(),
            id: id.to_owned(),
            kind: self.kind.to_owned(),
            correlation_id: self.correlation_id.clone(),
            body: self.body.clone(),
            timestamp: u64::try_from(clock.now().timestamp()).unwrap_or(0),
            // Whoever asked may be gone. With direct reply-to, moreover, RabbitMQ returns what it delivers.
            mandatory: false,
        }
    }
}

/// The reply that a row of the outbox speaks of; nothing when its request is gone, or can no longer be
/// opened because its workspace was deleted.
pub(crate) async fn build(store: &Store, message: &Message) -> Result<Publishable, SealError> {
    let Ok(body) = serde_json::from_str::<Body>(&message.body) else {
        return Ok(Publishable::Unreadable);
    };
    let name = Name::new(&body.producer, &body.message_id);
    let mut conn = store.conn().await?;
    let Some(known) = requests::find(&mut conn, &name).await? else {
        return Ok(Publishable::Gone);
    };
    let Known { kind, kept, .. } = known;
    let (kind, text) = match kept {
        Kept::Refused(refusal) => (kind.rejected(), refusal.to_string().into_bytes()),
        Kept::Done(workspace, sealed) => {
            match conn.decrypt(name.reply_aad(&workspace), &sealed).await {
                Ok(plain) => (kind.done(), plain.to_vec()),
                Err(SealError::OtherDataKey) => return Ok(Publishable::Gone),
                Err(error) => return Err(error),
            }
        }
    };
    let answer = Answer {
        to: message.routing_key.clone(),
        correlation_id: Some(body.correlation_id),
        kind,
        body: text,
    };
    Ok(Publishable::Message(answer.amqp(&message.id, store.clock())))
}
