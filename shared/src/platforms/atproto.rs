//! How a person's host is found on the AT Protocol's network, where everybody may bring their own.

use std::net::SocketAddr;

use url::Url;

use super::section::Section;

/// Where is asked whose handle is whose, and where somebody's data live.
#[derive(Clone, Debug)]
pub struct DirectorySettings {
    /// The directory of `did:plc`.
    pub plc_url: Url,
    /// Where a handle's own server is, `{handle}` standing for it; `None`: `https://{handle}`.
    pub handle_url: Option<String>,
    /// Who is asked for DNS records; `None`: whom the system asks.
    pub dns_server: Option<SocketAddr>,
}

/// Reads the keys of the directory; `plc_url` unless the operator says otherwise.
pub(super) fn read(section: &mut Section<'_>, plc_url: Option<Url>) -> Option<DirectorySettings> {
    let given = section.url("plc_url");
    let handle_url: Option<String> =
        section.take("handle_url", "must be a URL with {handle} in it");
    if let Some(url) = &handle_url
        && (!url.contains("{handle}")
            || super::endpoints::check(&url.replace("{handle}", "a.test")).is_err())
    {
        section.wrong("handle_url", "must be https, or http on loopback, with {handle} in it");
    }
    let dns_server = section.take("dns_server", "must be an address with a port, in quotes");
    Some(DirectorySettings { plc_url: given.or(plc_url)?, handle_url, dns_server })
}
