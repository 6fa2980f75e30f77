//! Who is trusted to be PostgreSQL, RabbitMQ, a platform or a receiver of webhooks when they are spoken to over TLS:
//! whomever the system's roots vouch for, and the operator's own certificate authority. There is one provider of
//! cryptography, and no way to skip the check of chain and host name.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// The operator's own certificates, which are trusted beside the system's roots.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// As text, too: the broker's client takes them so.
    pem: Option<String>,
    own: Vec<CertificateDer<'static>>,
}

impl Trust {
    /// Reads the certificates of a PEM file, if there is one.
    ///
    /// # Errors
    /// A sentence for the operator: the file cannot be read, or holds no certificate.
    pub fn read(file: Option<&Path>) -> Result<Self, String> {
        let Some(file) = file else {
            return Ok(Self::default());
        };
        let shown = file.display();
        let pem = std::fs::read_to_string(file)
            .map_err(|error| format!("{shown} cannot be read: {error}"))?;
        let own: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| format!("{shown} is not PEM: {error}"))?;
        if own.is_empty() {
            return Err(format!("{shown} holds no certificate (-----BEGIN CERTIFICATE-----)"));
        }
        let mut roots = RootCertStore::empty();
        for (at, certificate) in own.iter().enumerate() {
            roots.add(certificate.clone()).map_err(|error| {
                format!("certificate {} of {shown} cannot be used: {error}", at + 1)
            })?;
        }
        Ok(Self { pem: Some(pem), own })
    }

    /// The operator's own certificates.
    pub(crate) fn own(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        self.own.iter()
    }

    /// The operator's own certificates as text.
    pub(crate) fn pem(&self) -> Option<&str> {
        self.pem.as_deref()
    }

    /// What a connection that verifies needs.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(crate) fn client_config(&self) -> Result<ClientConfig, String> {
        let mut roots = RootCertStore::empty();
        // Some system's roots are always older than the rules: what cannot be read is left out.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots.add_parsable_certificates(self.own.iter().cloned());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?;
        Ok(config.with_root_certificates(roots).with_no_client_auth())
    }
}
