//! Servers on loopback for these tests.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::TXT;
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use serde_json::{Value, json};
use tokio::net::{TcpListener, UdpSocket};

/// What is answered at a path: status, a header, body.
#[derive(Clone, Debug, Default)]
pub(super) struct Page {
    pub(super) status: u16,
    pub(super) header: Option<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// An HTTP server that knows pages and remembers requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Web {
    pages: Arc<Mutex<HashMap<String, Page>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    pub(super) url: String,
    pub(super) port: u16,
}

impl Web {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let web = Self { url: format!("http://127.0.0.1:{port}"), port, ..Self::default() };
        let router = Router::new().fallback(answer).with_state(web.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        web
    }

    pub(super) fn put(&self, path: &str, page: Page) {
        self.pages.lock().unwrap().insert(path.to_owned(), page);
    }

    pub(super) fn text(&self, path: &str, status: u16, body: &str) {
        self.put(path, Page { status, body: body.into(), header: None });
    }

    pub(super) fn json(&self, path: &str, status: u16, body: &Value) {
        self.text(path, status, &body.to_string());
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn answer(
    State(web): State<Web>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path().to_owned();
    let page = web.pages.lock().unwrap().get(&path).cloned();
    web.seen.lock().unwrap().push(Seen { method, path, headers, body: body.to_vec() });
    let Some(page) = page else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let mut response = (StatusCode::from_u16(page.status).unwrap(), page.body).into_response();
    if let Some((name, value)) = page.header {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

/// A name server for TXT records; a name that it does not have does not exist.
pub(super) struct NameServer {
    pub(super) address: SocketAddr,
}

impl NameServer {
    /// Each name with the texts of its records.
    pub(super) async fn start(records: &[(&str, &[&str])]) -> Self {
        let records: HashMap<String, Vec<String>> = records
            .iter()
            .map(|(name, texts)| {
                (format!("{name}."), texts.iter().map(|text| (*text).to_owned()).collect())
            })
            .collect();
        Self::answering(move |name| match records.get(name) {
            Some(texts) => Ok(texts.clone()),
            None => Err(ResponseCode::NXDomain),
        })
        .await
    }

    pub(super) async fn answering(
        texts: impl Fn(&str) -> Result<Vec<String>, ResponseCode> + Send + 'static,
    ) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut packet = [0; 1500];
            loop {
                let (length, peer) = socket.recv_from(&mut packet).await.unwrap();
                let query = Message::from_vec(&packet[..length]).unwrap();
                let reply = reply(&query, &texts).to_vec().unwrap();
                socket.send_to(&reply, peer).await.unwrap();
            }
        });
        Self { address }
    }
}

fn reply(query: &Message, texts: impl Fn(&str) -> Result<Vec<String>, ResponseCode>) -> Message {
    let asked = query.queries[0].clone();
    let mut reply = Message::response(query.metadata.id, OpCode::Query);
    match texts(&asked.name().to_string()) {
        Err(code) => reply.metadata.response_code = code,
        Ok(texts) if asked.query_type() == RecordType::TXT => {
            // Long texts come in pieces.
            let pieces = |text: String| match text.split_at_checked(10) {
                Some((head, tail)) => vec![head.to_owned(), tail.to_owned()],
                None => vec![text],
            };
            reply.add_answers(texts.into_iter().map(|text| {
                let data = RData::TXT(TXT::new(pieces(text)));
                Record::from_rdata(asked.name().clone(), 60, data)
            }));
        }
        Ok(_) => {}
    }
    reply.add_query(asked);
    reply
}

/// The document of an account.
pub(super) fn document(did: &str, handle: &str, pds: &str) -> Value {
    json!({
        "id": did,
        "alsoKnownAs": [format!("at://{handle}")],
        "verificationMethod": [],
        "service": [{
            "id": "#atproto_pds",
            "type": "AtprotoPersonalDataServer",
            "serviceEndpoint": pds,
        }],
    })
}
