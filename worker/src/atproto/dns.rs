//! The TXT record by which a handle's domain says whose it is
//! (<https://atproto.com/specs/handle#dns-txt-method>).

use std::net::SocketAddr;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};

use super::did::Did;
use super::resolve::LOOK_UP;

/// Asks name servers.
#[derive(Clone, Debug)]
pub(super) struct Dns(TokioResolver);

impl Dns {
    /// The system's name servers, or this one alone.
    pub(super) fn new(server: Option<SocketAddr>) -> Result<Self, NetError> {
        let mut builder = match server {
            None => TokioResolver::builder_tokio()?,
            Some(address) => {
                let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
                for connection in &mut connections {
                    connection.port = address.port();
                }
                let server = NameServerConfig::new(address.ip(), true, connections);
                let config = ResolverConfig::from_name_servers(vec![server]);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        let options = builder.options_mut();
        // One packet may get lost, and there is time to ask again.
        options.timeout = LOOK_UP / 3;
        options.attempts = 1;
        // Somebody who has just mended their record tries again at once.
        options.cache_size = 0;
        Ok(Self(builder.build()?))
    }

    /// Whom a handle's record names; none if there is no such record, or more than one.
    pub(super) async fn did(&self, handle: &str) -> Result<Option<Did>, String> {
        let answer = self.ask(&format!("_atproto.{handle}."), RecordType::TXT).await;
        let found = match answer {
            Ok(found) => found,
            Err(Failure::Nothing(_)) => return Ok(None),
            Err(Failure::Unknown(why)) => return Err(why),
        };
        let texts = found.answers().iter().filter_map(|record| match &record.data {
            RData::TXT(text) => String::from_utf8(text.txt_data.concat()).ok(),
            _ => None,
        });
        let dids: Vec<_> =
            texts.filter_map(|text| text.strip_prefix("did=").map(str::to_owned)).collect();
        match dids.as_slice() {
            [one] => Ok(Did::parse(one)),
            _ => Ok(None),
        }
    }

    /// Whether the DNS says for sure that there is no such name.
    pub(super) async fn lacks(&self, name: &str) -> bool {
        let answer = self.ask(&format!("{name}."), RecordType::A).await;
        matches!(answer, Err(Failure::Nothing(ResponseCode::NXDomain)))
    }

    async fn ask(&self, name: &str, kind: RecordType) -> Result<Lookup, Failure> {
        let answer = tokio::time::timeout(LOOK_UP, self.0.lookup(name, kind)).await;
        match answer {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(NetError::Dns(DnsError::NoRecordsFound(nothing))))
                if matches!(
                    nothing.response_code,
                    ResponseCode::NoError | ResponseCode::NXDomain
                ) =>
            {
                Err(Failure::Nothing(nothing.response_code))
            }
            Ok(Err(error)) => Err(Failure::Unknown(format!("the DNS gave no answer: {error}"))),
            Err(_) => Err(Failure::Unknown("the DNS did not answer in time".to_owned())),
        }
    }
}

/// Why there is no record.
enum Failure {
    /// There is none.
    Nothing(ResponseCode),
    /// Nobody knows.
    Unknown(String),
}
