//! TLS towards the server that is measured: any certificate will do unless the user says whom to trust.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, HandshakeKind, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::options::{LoadOptions, TlsMode};

/// How connections are encrypted.
pub(crate) struct Tls {
    pub(crate) mode: TlsMode,
    config: ClientConfig,
    name: ServerName<'static>,
    resumption: bool,
}

/// One session's part: it resumes its own TLS sessions only, so that each finds a ticket whatever the others do.
#[derive(Clone)]
pub(crate) struct Connector {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    /// None without TLS. `host` is the server as it was named.
    ///
    /// # Errors
    ///
    /// When the certificates to trust cannot be read, or the name is none.
    pub(crate) fn new(options: &LoadOptions, host: &str) -> anyhow::Result<Option<Self>> {
        if options.tls == TlsMode::Off {
            return Ok(None);
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder =
            ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
        let mut config = match &options.ca {
            None => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate { provider }))
                .with_no_client_auth(),
            Some(path) => {
                let in_file = || format!("ca: {}", path.display());
                let mut roots = RootCertStore::empty();
                for certificate in CertificateDer::pem_file_iter(path).with_context(in_file)? {
                    roots.add(certificate.with_context(in_file)?).with_context(in_file)?;
                }
                ensure!(!roots.is_empty(), "{}: no certificate in it", in_file());
                builder.with_root_certificates(roots).with_no_client_auth()
            }
        };
        config.resumption = Resumption::disabled();
        let name = options.server_name.as_deref().unwrap_or_else(|| host.trim_matches(['[', ']']));
        let name = ServerName::try_from(name.to_owned()).with_context(|| format!("server_name: {name:?}"))?;
        Ok(Some(Self { mode: options.tls, config, name, resumption: !options.no_resumption }))
    }

    /// For a session.
    pub(crate) fn connector(&self) -> Connector {
        let mut config = self.config.clone();
        if self.resumption {
            config.resumption = Resumption::in_memory_sessions(1);
        }
        Connector { connector: TlsConnector::from(Arc::new(config)), name: self.name.clone() }
    }
}

impl Connector {
    /// Shakes hands.
    pub(crate) async fn handshake(&self, stream: TcpStream) -> std::io::Result<(Box<TlsStream<TcpStream>>, bool)> {
        let stream = self.connector.connect(self.name.clone(), stream).await?;
        let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
        Ok((Box::new(stream), resumed))
    }
}

/// Takes whatever certificate there is. The handshake's signatures are checked all the same.
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
