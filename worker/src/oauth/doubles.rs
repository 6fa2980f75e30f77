//! A platform that answers every call in one way, for tests. It runs on a thread of its own, so that it
//! goes on while a test's runtime stands still.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How calls are answered.
#[derive(Clone, Debug, Default)]
struct Way {
    /// All of the answer, head and body; empty: the connection is cut.
    raw: String,
    after: Duration,
}

/// The platform.
#[derive(Debug)]
pub(super) struct Double {
    pub(super) url: String,
    way: Arc<Mutex<Way>>,
}

impl Double {
    /// Cuts every connection, until it is told otherwise.
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let way = Arc::<Mutex<Way>>::default();
        let of_thread = Arc::clone(&way);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = [0; 16 * 1024];
                let _ = stream.read(&mut request).unwrap();
                let way = of_thread.lock().unwrap().clone();
                std::thread::sleep(way.after);
                // The caller may have given up.
                let _ = stream.write_all(way.raw.as_bytes());
            }
        });
        Self { url, way }
    }

    /// Answers so from now on.
    pub(super) fn answer(&self, status: u16, headers: &[(&str, &str)], body: &str) {
        let headers: String =
            headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        self.raw(&format!(
            "HTTP/1.1 {status} X\r\n{headers}content-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        ));
    }

    /// Answers with just these bytes.
    pub(super) fn raw(&self, raw: &str) {
        self.way.lock().unwrap().raw = raw.to_owned();
    }

    /// Answers only after so long.
    pub(super) fn after(&self, after: Duration) {
        self.way.lock().unwrap().after = after;
    }
}
