//! A producer that writes its frames by hand: a client library lets nobody send what another cannot read.
//! AMQP 0-9-1, <https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf>.

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use url::Url;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const END: u8 = 0xCE;
const BASIC: u16 = 60;

/// A connection with one open channel that waits for confirms.
pub(super) struct RawProducer {
    stream: TcpStream,
    vhost: Vec<u8>,
}

/// The properties of a message as bytes: which are there, and what they are, in the order of the flags.
#[derive(Clone)]
pub(super) struct RawProperties {
    pub(super) flags: u16,
    pub(super) values: Vec<u8>,
}

impl RawProperties {
    /// A `message_id` of these bytes.
    pub(super) fn message_id(id: &[u8]) -> Self {
        Self { flags: 1 << 7, values: short(id) }
    }

    /// A header whose name is of these bytes, and whose value is true.
    pub(super) fn header(name: &[u8]) -> Self {
        let entry = [short(name), vec![b't', 1]].concat();
        Self { flags: 1 << 13, values: long(&entry) }
    }

    /// A header of so many lists in each other.
    pub(super) fn nested_header(depth: usize) -> Self {
        // Each list says how long it is: the innermost has a value of two bytes.
        let lists = (0..depth).rev().flat_map(|inner| {
            let length = u32::try_from(2 + 5 * inner).expect("tests do not nest that deep");
            [vec![b'A'], length.to_be_bytes().to_vec()].concat()
        });
        let entry = short(b"deep").into_iter().chain(lists).chain([b't', 1]).collect::<Vec<_>>();
        Self { flags: 1 << 13, values: long(&entry) }
    }
}

impl RawProducer {
    /// Signs in at a broker with the user that the address names.
    pub(super) async fn connect(amqp_url: &str) -> anyhow::Result<Self> {
        let url: Url = amqp_url.parse()?;
        let address = (url.host_str().context("a host")?, url.port().unwrap_or(5672));
        let vhost = url.path().trim_start_matches('/').replace("%2f", "/").into_bytes();
        let mut producer = Self { stream: TcpStream::connect(address).await?, vhost };
        producer.stream.write_all(b"AMQP\0\0\x09\x01").await?;
        producer.until((10, 10)).await?;
        let password = url.password().unwrap_or_default();
        let sasl = format!("\0{}\0{password}", url.username());
        let answer = [long(b""), short(b"PLAIN"), long(sasl.as_bytes()), short(b"en_US")].concat();
        producer.call((10, 11), &answer).await?;
        // What the broker proposes is accepted, without heartbeats.
        let mut proposed = producer.until((10, 30)).await?;
        proposed.truncate(6);
        proposed.extend([0, 0]);
        producer.call((10, 31), &proposed).await?;
        let vhost = producer.vhost.clone();
        producer.call((10, 40), &[short(&vhost), short(b""), vec![0]].concat()).await?;
        producer.until((10, 41)).await?;
        producer.call((20, 10), &short(b"")).await?;
        producer.until((20, 11)).await?;
        producer.call((85, 10), &[0]).await?;
        producer.until((85, 11)).await?;
        Ok(producer)
    }

    /// Publishes, and waits for the broker's word that it has it.
    pub(super) async fn publish(
        &mut self,
        exchange: &str,
        properties: &RawProperties,
    ) -> anyhow::Result<()> {
        let body = b"{}";
        let to = [vec![0, 0], short(exchange.as_bytes()), short(b"connect.requested"), vec![0]];
        self.call((BASIC, 40), &to.concat()).await?;
        let mut header = [BASIC.to_be_bytes(), [0, 0]].concat();
        header.extend((body.len() as u64).to_be_bytes());
        header.extend(properties.flags.to_be_bytes());
        header.extend(&properties.values);
        self.send(HEADER, &header).await?;
        self.send(BODY, body).await?;
        self.until((BASIC, 80)).await.map(drop)
    }

    async fn call(&mut self, (class, method): (u16, u16), arguments: &[u8]) -> anyhow::Result<()> {
        let payload = [&class.to_be_bytes()[..], &method.to_be_bytes(), arguments].concat();
        self.send(METHOD, &payload).await
    }

    async fn send(&mut self, kind: u8, payload: &[u8]) -> anyhow::Result<()> {
        // The connection itself is channel 0; all else is done on channel 1.
        let channel = u16::from(kind != METHOD || payload[..2] != 10_u16.to_be_bytes());
        let mut frame = vec![kind];
        frame.extend(channel.to_be_bytes());
        frame.extend(u32::try_from(payload.len())?.to_be_bytes());
        frame.extend(payload);
        frame.push(END);
        Ok(self.stream.write_all(&frame).await?)
    }

    /// Reads up to a method of the broker; answers its arguments.
    async fn until(&mut self, (class, method): (u16, u16)) -> anyhow::Result<Vec<u8>> {
        let kind = self.stream.read_u8().await?;
        let _channel = self.stream.read_u16().await?;
        let length = self.stream.read_u32().await?;
        let mut payload = vec![0; usize::try_from(length)?];
        self.stream.read_exact(&mut payload).await?;
        ensure!(self.stream.read_u8().await? == END && kind == METHOD, "not a method");
        let wanted = [class.to_be_bytes(), method.to_be_bytes()].concat();
        ensure!(payload[..4] == wanted, "{}", String::from_utf8_lossy(&payload));
        Ok(payload.split_off(4))
    }
}

fn short(bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).expect("short strings of tests are short");
    [&[length], bytes].concat()
}

fn long(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("long strings of tests are not that long");
    [&length.to_be_bytes(), bytes].concat()
}
