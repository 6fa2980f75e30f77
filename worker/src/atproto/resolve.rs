//! From a handle or DID to the account's server, in both directions: a handle counts only if the DID
//! document claims it (<https://atproto.com/specs/handle>, <https://atproto.com/specs/did>).

use std::time::Duration;

use hickory_resolver::net::NetError;
use latchkey_shared::net_guard::{NetGuard, Refused};
use latchkey_shared::platforms::DirectorySettings;
use reqwest::StatusCode;
use url::Url;

use super::did::{Did, Document};
use super::dns::Dns;
use super::handle::is_handle;
use super::http::{Body, CallError, GuardedHttp, NotSent, PATIENCE};

/// How long each look-up may take; the reference resolver gives as much.
pub(super) const LOOK_UP: Duration = Duration::from_secs(3);
/// Documents are read up to this.
const MAX_DOCUMENT: usize = 64 * 1024;
/// What a handle's host may say before the DID on the first line has to be over.
const MAX_WELL_KNOWN: usize = 2 * 1024;
/// Where a handle stands in [`DirectorySettings::handle_url`].
const HANDLE: &str = "{handle}";

/// Why there is no [`Directory`].
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The handles' template makes no URL.
    #[error("the handle resolver must be an http or https URL with {{handle}} in it: {0}")]
    HandleUrl(String),
    /// TLS cannot be set up.
    #[error("no HTTP client can be made")]
    Http(#[source] reqwest::Error),
    /// The system does not say who its name servers are.
    #[error("the system's DNS settings cannot be read")]
    Dns(#[source] NetError),
}

/// An account, and where it lives.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Resolved {
    /// Names the account for good.
    pub did: String,
    /// What it goes by, if handle and document agree on it.
    pub handle: Option<String>,
    /// The origin of its personal data server.
    pub pds: Url,
}

/// Why an identifier leads nowhere.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// An e-mail address, for instance.
    #[error("this is neither a handle nor a DID of the methods plc and web")]
    NotAnIdentifier,
    /// Neither the DNS nor the handle's host names an account.
    #[error("no account goes by this handle")]
    HandleNotFound,
    /// There is no document, or one of somebody else.
    #[error("there is no account of this DID")]
    DidNotFound,
    /// The handle's domain names an account that does not go by it.
    #[error("the account that this handle leads to does not claim it")]
    HandleNotClaimed,
    /// The document names none.
    #[error("the account has no personal data server")]
    NoPds,
    /// The address of a host may not be called.
    #[error("an address on the way to the account may not be called")]
    NotAllowed(#[from] Refused),
    /// Nobody answered, or not with what can be read.
    #[error("the account could not be looked up: {0}")]
    Unavailable(String),
}

impl ResolveError {
    /// Whether it is worth asking again.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// Looks accounts up.
#[derive(Clone, Debug)]
pub struct Directory {
    settings: DirectorySettings,
    http: GuardedHttp,
    dns: Dns,
}

impl Directory {
    /// A directory that calls what the guard permits.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub fn new(settings: DirectorySettings, guard: NetGuard) -> Result<Self, DirectoryError> {
        if let Some(template) = &settings.handle_url {
            let fits = Url::parse(&template.replace(HANDLE, "sam.test"))
                .is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
            if !fits || !template.contains(HANDLE) {
                return Err(DirectoryError::HandleUrl(template.clone()));
            }
        }
        // A look-up may spend all its time on connecting: whether it was sent matters to nobody.
        let http = GuardedHttp::new(guard, 2 * LOOK_UP).map_err(DirectoryError::Http)?;
        let dns = Dns::new(settings.dns_server).map_err(DirectoryError::Dns)?;
        Ok(Self { settings, http, dns })
    }

    /// Finds the account that goes by a handle (with or without a leading `@`) or DID.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub async fn resolve(&self, identifier: &str) -> Result<Resolved, ResolveError> {
        let late = |_| ResolveError::Unavailable("its hosts take too long".to_owned());
        tokio::time::timeout(PATIENCE, self.find(identifier)).await.map_err(late)?
    }

    async fn find(&self, identifier: &str) -> Result<Resolved, ResolveError> {
        let identifier = identifier.trim();
        if let Some(did) = Did::parse(identifier) {
            return self.resolve_did(&did).await;
        }
        let handle = identifier.strip_prefix('@').unwrap_or(identifier).to_ascii_lowercase();
        if !is_handle(&handle) {
            return Err(ResolveError::NotAnIdentifier);
        }
        let did = self.did_of(&handle).await?;
        let document = self.document(&did).await?;
        if !document.claims(&handle) {
            return Err(ResolveError::HandleNotClaimed);
        }
        let pds = document.pds(self.http.guard())?;
        Ok(Resolved { did: did.as_str().to_owned(), handle: Some(handle), pds })
    }

    /// The account is certain, its handle is not: one that does not lead back is left out.
    async fn resolve_did(&self, did: &Did) -> Result<Resolved, ResolveError> {
        let document = self.document(did).await?;
        let pds = document.pds(self.http.guard())?;
        let handle = match document.handle() {
            Some(handle) if self.did_of(&handle).await.is_ok_and(|found| found == *did) => {
                Some(handle)
            }
            _ => None,
        };
        Ok(Resolved { did: did.as_str().to_owned(), handle, pds })
    }

    /// The DNS first, then the handle's host. That a handle does not exist is said only when both have
    /// said so.
    async fn did_of(&self, handle: &str) -> Result<Did, ResolveError> {
        let by_dns = self.dns.did(handle).await;
        if let Ok(Some(did)) = by_dns {
            return Ok(did);
        }
        match self.well_known(handle).await {
            Ok(Some(did)) => Ok(did),
            Ok(None) => Err(match by_dns {
                Ok(_) => ResolveError::HandleNotFound,
                Err(why) => ResolveError::Unavailable(why),
            }),
            // A slip of the pen: there is no such domain at all, and so nobody to connect to.
            Err(error)
                if error.may_pass()
                    && self.settings.handle_url.is_none()
                    && self.dns.lacks(handle).await =>
            {
                Err(ResolveError::HandleNotFound)
            }
            Err(error) => Err(error),
        }
    }

    /// Whom the handle's host names; none if it names nobody.
    async fn well_known(&self, handle: &str) -> Result<Option<Did>, ResolveError> {
        let template = self.settings.handle_url.as_deref().unwrap_or("https://{handle}");
        let origin = template.replace(HANDLE, handle);
        let url = format!("{}/.well-known/atproto-did", origin.trim_end_matches('/'));
        let url = Url::parse(&url).map_err(|_| ResolveError::NotAnIdentifier)?;
        let Some(body) = self.fetch(url, MAX_WELL_KNOWN).await? else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&body.bytes);
        Ok(text.lines().next().and_then(|line| Did::parse(line.trim())))
    }

    async fn document(&self, did: &Did) -> Result<Document, ResolveError> {
        let url = did.document_url(&self.settings.plc_url, self.http.guard())?;
        let body = self.fetch(url, MAX_DOCUMENT).await?.ok_or(ResolveError::DidNotFound)?;
        if !body.whole {
            let why = format!("its document has more than {MAX_DOCUMENT} bytes");
            return Err(ResolveError::Unavailable(why));
        }
        let document: Document = serde_json::from_slice(&body.bytes)
            .map_err(|_| ResolveError::Unavailable("its document cannot be read".to_owned()))?;
        if document.is_of(did.as_str()) { Ok(document) } else { Err(ResolveError::DidNotFound) }
    }

    /// What stands at a URL. None is nothing: 404, 410, a redirect (which is not followed, lest it lead
    /// elsewhere), and every other refusal that does not pass by itself.
    async fn fetch(&self, url: Url, most: usize) -> Result<Option<Body>, ResolveError> {
        let request = self.http.client().get(url);
        let answer = self.http.call(request, most, LOOK_UP).await.map_err(|error| match error {
            CallError::NotSent(NotSent::NotAllowed(refused)) => ResolveError::NotAllowed(refused),
            CallError::NotSent(unreached) => ResolveError::Unavailable(unreached.to_string()),
            CallError::Lost(why) => ResolveError::Unavailable(why),
        })?;
        match answer.status {
            status if status.is_success() => {
                answer.body.map(Some).map_err(ResolveError::Unavailable)
            }
            status @ (StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) => {
                Err(ResolveError::Unavailable(format!("HTTP {status}")))
            }
            status if status.is_redirection() || status.is_client_error() => Ok(None),
            status => Err(ResolveError::Unavailable(format!("HTTP {status}"))),
        }
    }
}
