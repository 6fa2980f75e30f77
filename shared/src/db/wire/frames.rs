//! The messages of a PostgreSQL server as they pass (PostgreSQL documentation, "Message Formats").
//!
//! The client keeps the SQLSTATE of an error to itself. What is to be done about an error follows from it, and from
//! nothing else: the words depend on the server's language. So it is put before the words.

/// A longer error is passed on as it is: no server sends one.
const LONGEST_ERROR: usize = 64 * 1024;
const HEADER: usize = 5;

/// What messages told of the session.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Told {
    /// `ReadyForQuery`: every question so far is answered.
    pub(super) is_ready: bool,
    /// An error after which the session is of no use.
    pub(super) is_useless: bool,
}

/// Where in the flow of messages a stream is.
#[derive(Debug, Default)]
pub(super) struct Frames {
    header: Vec<u8>,
    /// How much of the message's body is still to come.
    left: usize,
    /// The body of an error, while it comes.
    error: Option<Vec<u8>>,
}

impl Frames {
    /// Passes bytes on to `out`, errors with their SQLSTATE.
    pub(super) fn pass(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Told {
        let mut told = Told::default();
        while !bytes.is_empty() {
            let part = if self.header.len() < HEADER {
                bytes.split_at(bytes.len().min(HEADER - self.header.len()))
            } else {
                bytes.split_at(bytes.len().min(self.left))
            };
            bytes = part.1;
            if self.header.len() < HEADER {
                self.begin(part.0, out);
            } else {
                self.left -= part.0.len();
                self.error.as_mut().unwrap_or(out).extend_from_slice(part.0);
            }
            if self.header.len() == HEADER && self.left == 0 {
                self.end(out, &mut told);
            }
        }
        told
    }

    fn begin(&mut self, part: &[u8], out: &mut Vec<u8>) {
        self.header.extend_from_slice(part);
        if let &[kind, a, b, c, d] = self.header.as_slice() {
            self.left = (u32::from_be_bytes([a, b, c, d]) as usize).saturating_sub(4);
            if kind == b'E' && self.left <= LONGEST_ERROR {
                self.error = Some(Vec::with_capacity(self.left));
            } else {
                out.extend_from_slice(&self.header);
            }
        }
    }

    fn end(&mut self, out: &mut Vec<u8>, told: &mut Told) {
        told.is_ready = self.header.first() == Some(&b'Z');
        self.header.clear();
        let Some(body) = self.error.take() else { return };
        let code = field(&body, b'C').unwrap_or_default();
        let body = with_code(&body, &code);
        out.push(b'E');
        out.extend_from_slice(&u32::try_from(body.len() + 4).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(&body);
        told.is_useless |= super::sqlstate::ends_session(&String::from_utf8_lossy(&code));
    }
}

/// The fields of an error: a letter and a text each.
fn fields(body: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    body.split(|byte| *byte == 0).filter_map(|field| Some((*field.first()?, &field[1..])))
}

fn field(body: &[u8], wanted: u8) -> Option<Vec<u8>> {
    fields(body).find(|(letter, _)| *letter == wanted).map(|(_, text)| text.to_vec())
}

fn with_code(body: &[u8], code: &[u8]) -> Vec<u8> {
    let mut changed = Vec::with_capacity(body.len() + code.len() + 2);
    for (letter, text) in fields(body) {
        changed.push(letter);
        if letter == b'M' && !code.is_empty() {
            changed.extend_from_slice(code);
            changed.extend_from_slice(b": ");
        }
        changed.extend_from_slice(text);
        changed.push(0);
    }
    changed.push(0);
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[kind], length.to_be_bytes().as_slice(), body].concat()
    }

    const READY: Told = Told { is_ready: true, is_useless: false };

    /// Whole, and byte by byte.
    fn passed(bytes: &[u8]) -> (Vec<u8>, Told) {
        let (mut whole, mut out) = (Frames::default(), Vec::new());
        let told = whole.pass(bytes, &mut out);
        let (mut single, mut pieces, mut last) = (Frames::default(), Vec::new(), Told::default());
        for byte in bytes {
            let now = single.pass(&[*byte], &mut pieces);
            last = Told { is_useless: last.is_useless || now.is_useless, ..now };
        }
        assert_eq!((&pieces, last), (&out, told));
        (out, told)
    }

    #[test]
    fn an_error_gets_its_code_and_all_else_passes_as_it_is() {
        let row = message(b'D', b"\0\x01\0\0\0\x01x");
        let refused = message(b'E', b"SERROR\0C22P05\0Mwords\0\0");
        let told = message(b'E', b"SERROR\0C22P05\0M22P05: words\0\0");
        let (begin, ready) = (message(b'2', b""), message(b'Z', b"I"));
        let (out, last) = passed(&[begin.clone(), row.clone(), refused, ready.clone()].concat());
        assert_eq!((out, last), ([begin, row, told, ready].concat(), READY));
    }

    #[test]
    fn a_session_that_is_over_is_noticed_in_every_language() {
        let over = message(b'E', "SFATAL\0C57P01\0MVerbindung wird beendet\0\0".as_bytes());
        assert_eq!(passed(&over).1, Told { is_ready: false, is_useless: true });
        let plan = message(b'E', b"SERROR\0C0A000\0Mplan\0\0");
        let told = passed(&[plan, message(b'Z', b"I")].concat()).1;
        assert_eq!(told, Told { is_ready: true, is_useless: true });
        assert_eq!(passed(&message(b'E', b"C23505\0Mtwice\0\0")).1, Told::default());
        assert_eq!(passed(&message(b'E', b"\0")).1, Told::default());
    }

    #[test]
    fn what_no_server_sends_passes_as_it_is() {
        let long = message(b'E', &vec![b'x'; LONGEST_ERROR + 1]);
        for strange in [&long[..], b"E\0\0\0\0Z\0\0\0\x05I", b"HTTP/1.1 400 Bad Request"] {
            let (mut frames, mut out) = (Frames::default(), Vec::new());
            frames.pass(strange, &mut out);
            assert!(out.len() <= strange.len() + 8);
        }
        assert_eq!(passed(&long).0, long);
    }
}
