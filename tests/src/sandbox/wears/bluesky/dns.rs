//! A name server that knows one thing: the records of those whose name begins with `dns-`.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use hickory_resolver::proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::TXT;
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use super::{PLATFORM, people};
use crate::sandbox::faults::Endpoint;
use crate::sandbox::ledger::{Kind, LedgerEntry, fingerprint};
use crate::sandbox::state::Shared;

/// How long others may remember a record, in seconds.
const TTL: u32 = 1;

/// A name server under way. Dropping it stops it.
pub(in crate::sandbox) struct NameServer {
    pub(in crate::sandbox) address: SocketAddr,
    task: JoinHandle<()>,
}

impl NameServer {
    /// Binds UDP at the address, and serves.
    pub(in crate::sandbox) async fn start(
        address: SocketAddr,
        shared: Arc<Shared>,
    ) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind(address)
            .await
            .with_context(|| format!("cannot serve names at {address}"))?;
        let address = socket.local_addr()?;
        Ok(Self { address, task: tokio::spawn(serve(socket, shared)) })
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(socket: UdpSocket, shared: Arc<Shared>) {
    let mut packet = [0; 1500];
    loop {
        // An error here is about somebody who does not listen any more.
        let Ok((length, peer)) = socket.recv_from(&mut packet).await else {
            continue;
        };
        let reply = Message::from_vec(&packet[..length]).ok().and_then(|query| {
            let query =
                Some(query).filter(|query| query.metadata.message_type == MessageType::Query);
            reply(&query?, &shared)?.to_vec().ok()
        });
        if let Some(reply) = reply {
            drop(socket.send_to(&reply, peer).await);
        }
    }
}

fn reply(query: &Message, shared: &Shared) -> Option<Message> {
    let asked = query.queries.first()?.clone();
    let mut reply = Message::response(query.metadata.id, OpCode::Query);
    let name = asked.name().to_string().to_ascii_lowercase();
    let name = name.trim_end_matches('.');
    let user = name.strip_prefix("_atproto.").and_then(people::user_of_handle);
    match user.filter(|user| people::is_in_the_dns(user)) {
        None if name.ends_with(".test") => {}
        None => reply.metadata.response_code = ResponseCode::NXDomain,
        Some(user) if asked.query_type() == RecordType::TXT => {
            let data = TXT::new(vec![format!("did={}", tell(user, shared))]);
            reply.add_answer(Record::from_rdata(asked.name().clone(), TTL, RData::TXT(data)));
        }
        Some(_) => {}
    }
    reply.add_query(asked);
    Some(reply)
}

fn tell(user: &str, shared: &Shared) -> String {
    let now = shared.now();
    let mut books = shared.books();
    let did = books.bluesky.meet(user);
    books.ledger.append(LedgerEntry {
        platform: Some(PLATFORM.to_owned()),
        endpoint: Some(Endpoint::Resolve),
        user: Some(user.to_owned()),
        presented: Some(fingerprint(&people::handle(user))),
        ..LedgerEntry::new(Kind::Resolved, now)
    });
    did
}
