//! Where RabbitMQ is, and how it is spoken to: `amqp` in plain, `amqps` over TLS with chain and host
//! name verified.

use std::fmt;

use lapin::tcp::OwnedTLSConfig;
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties};
use url::{Host, Url};

use crate::net_guard::is_this_machine;
use crate::tls::Trust;

/// A frozen broker is noticed after twice this; the server's own suggestion would take minutes.
const HEARTBEAT_SECONDS: u16 = 5;
const SHAPE: &str = "must be amqp://user:password@host:port/vhost, or amqps:// for TLS";

/// A RabbitMQ server.
#[derive(Clone)]
pub struct Server {
    uri: AMQPUri,
    tls: OwnedTLSConfig,
}

impl Server {
    /// Reads a URL.
    ///
    /// # Errors
    /// A sentence for the operator, without the URL's content.
    pub fn new(url: &str, trust: &Trust) -> Result<Self, String> {
        let mut uri: AMQPUri = url.parse().map_err(|_| SHAPE.to_owned())?;
        // The client overlooks IPv6 addresses, and would go to localhost.
        match url.parse::<Url>().as_ref().map(Url::host) {
            Ok(Some(Host::Ipv6(address))) => uri.authority.host = address.to_string(),
            Ok(Some(_)) => {}
            _ => return Err(SHAPE.to_owned()),
        }
        uri.query.heartbeat = Some(HEARTBEAT_SECONDS);
        let tls = OwnedTLSConfig {
            cert_chain: trust.pem().map(ToOwned::to_owned),
            ..OwnedTLSConfig::default()
        };
        Ok(Self { uri, tls })
    }

    /// Whether it is on another machine and spoken to in plain.
    #[must_use]
    pub fn is_plain_and_elsewhere(&self) -> bool {
        matches!(self.uri.scheme, AMQPScheme::AMQP) && !is_this_machine(&self.uri.authority.host)
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// When the server cannot be reached, is not the one that was meant, or refuses.
    pub async fn connect(&self, properties: ConnectionProperties) -> lapin::Result<Connection> {
        let uri = self.uri.clone();
        let runtime = lapin::runtime::default_runtime()?;
        Connection::connect_uri_with_config(uri, properties, self.tls.clone(), runtime).await
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("host", &self.uri.authority.host).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Result<Server, String> {
        Server::new(url, &Trust::default())
    }

    #[test]
    fn the_host_of_the_url_is_the_one_that_is_called() {
        for (url, host) in [
            ("amqp://u:p@mq.example", "mq.example"),
            ("amqps://u:p@10.0.0.7:5671/v", "10.0.0.7"),
            ("amqp://u:p@[2001:db8::7]:5672", "2001:db8::7"),
        ] {
            assert_eq!(server(url).unwrap().uri.authority.host, host);
        }
    }

    #[test]
    fn what_is_said_of_a_wrong_url_does_not_show_it() {
        for url in
            ["shh:5672", "http://u:shh@h", "amqp:///shh", "amqp://u:shh@h/?heartbeat=shh", "shh"]
        {
            let why = server(url).unwrap_err();
            assert!(!why.contains("shh"), "{url}: {why}");
        }
        assert!(!format!("{:?}", server("amqp://u:shh@h").unwrap()).contains("shh"));
    }

    #[test]
    fn plain_to_another_machine_is_noticed() {
        assert!(server("amqp://mq.example").unwrap().is_plain_and_elsewhere());
        assert!(!server("amqps://mq.example").unwrap().is_plain_and_elsewhere());
        assert!(!server("amqp://localhost").unwrap().is_plain_and_elsewhere());
    }
}
