//! TLS towards upstreams: whom we believe.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::ClientTls;

/// Why a route's TLS cannot be set up. The operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The `ca` file cannot be read or is no PEM.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: pem::Error,
    },
    /// There is no certificate to trust: none in the `ca` file, or none on the system.
    #[error("no trusted certificates in {0}")]
    NoRoots(String),
    /// The cryptography library refuses its own defaults.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// How a route's connections are encrypted.
#[derive(Clone)]
pub(super) struct Tls {
    mode: ClientTls,
    connector: TlsConnector,
}

impl Tls {
    /// For a mode; `ca` names a PEM file to trust in place of the system's roots. `None` for [`ClientTls::Off`].
    pub(super) fn new(mode: ClientTls, ca: Option<&Path>) -> Result<Option<Self>, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder =
            ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
        let config = match mode {
            ClientTls::Off => return Ok(None),
            ClientTls::Opportunistic => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate { provider }))
                .with_no_client_auth(),
            ClientTls::Required => builder.with_root_certificates(roots(ca)?).with_no_client_auth(),
        };
        Ok(Some(Self { mode, connector: TlsConnector::from(Arc::new(config)) }))
    }

    /// Whether there may be no mail without it.
    pub(super) fn is_required(&self) -> bool {
        self.mode == ClientTls::Required
    }

    /// The handshake. `host` is the name or address that the certificate has to be for, where that matters.
    pub(super) async fn handshake(&self, host: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = match ServerName::try_from(host) {
            Ok(name) => name.to_owned(),
            // Where the certificate is not checked any name will do, and then none is better than a wrong one.
            Err(_) if !self.is_required() => ServerName::IpAddress(stream.peer_addr()?.ip().into()),
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidInput, error)),
        };
        self.connector.connect(name, stream).await
    }
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca else {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "a certificate of the system's cannot be loaded");
        }
        roots.add_parsable_certificates(found.certs);
        return if roots.is_empty() { Err(TlsError::NoRoots("the system's store".to_owned())) } else { Ok(roots) };
    };
    let file = |error| TlsError::File { path: path.to_owned(), error };
    for certificate in CertificateDer::pem_file_iter(path).map_err(file)? {
        roots.add(certificate.map_err(file)?)?;
    }
    if roots.is_empty() { Err(TlsError::NoRoots(path.display().to_string())) } else { Ok(roots) }
}

/// Opportunistic TLS (RFC 7435): encrypted towards whoever answers, since the alternative is no encryption at all.
/// The handshake's signatures are checked all the same.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
