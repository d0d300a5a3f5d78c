//! A certificate authority of our own and server certificates it signed, as PEM files in a temporary directory.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

/// An authority that lives as long as the test.
pub struct Authority {
    directory: TempDir,
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    issued: usize,
}

/// A server certificate and its key, on disk.
#[derive(Debug, Clone)]
pub struct ServerCertificate {
    /// The chain's PEM file: the leaf alone, since the authority signs directly.
    pub certificate: PathBuf,
    /// The key's PEM file.
    pub key: PathBuf,
}

impl Authority {
    /// A new authority in a directory of its own.
    ///
    /// # Errors
    /// When the key cannot be made or the files not written.
    pub fn new() -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "mailweir test authority");
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        let directory = tempfile::Builder::new().prefix("mailweir-certificates-").tempdir()?;
        std::fs::write(directory.path().join("ca.pem"), &certificate)?;
        Ok(Self { directory, issuer: Issuer::new(params, key), certificate, issued: 0 })
    }

    /// The authority's certificate as a PEM file, what a client is told to trust.
    pub fn ca_file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// The authority's certificate, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.certificate
    }

    /// A certificate for these names; what parses as an IP address becomes one.
    ///
    /// # Errors
    /// When a name is no DNS name or the files cannot be written.
    pub fn issue(&mut self, names: &[&str]) -> anyhow::Result<ServerCertificate> {
        self.issued += 1;
        let stem = self.directory.path().join(format!("server-{}", self.issued));
        let issued = ServerCertificate { certificate: stem.with_extension("pem"), key: stem.with_extension("key") };
        self.issue_into(names, &issued.certificate, &issued.key)?;
        Ok(issued)
    }

    /// As `issue`, over files that may exist: how a test replaces a certificate under a running server.
    ///
    /// # Errors
    /// When a name is no DNS name or the files cannot be written.
    pub fn issue_into(&self, names: &[&str], certificate: &Path, key: &Path) -> anyhow::Result<()> {
        let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
            .context("certificate names")?;
        if let Some(name) = names.first() {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf_key = KeyPair::generate()?;
        let leaf = params.signed_by(&leaf_key, &self.issuer)?;
        std::fs::write(certificate, leaf.pem())?;
        std::fs::write(key, leaf_key.serialize_pem())?;
        Ok(())
    }
}

impl ServerCertificate {
    /// A rustls server configuration with this certificate.
    ///
    /// # Errors
    /// When the files do not hold what they should.
    pub fn server_config(&self) -> anyhow::Result<Arc<rustls::ServerConfig>> {
        let chain = CertificateDer::pem_file_iter(&self.certificate)?.collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_file(&self.key)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Ok(Arc::new(config))
    }
}

/// A rustls client configuration that trusts the authority in this PEM file and nothing else.
///
/// # Errors
/// When the file holds no certificate.
pub fn client_config(ca_file: &Path) -> anyhow::Result<Arc<rustls::ClientConfig>> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca_file)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The loopback names a test server usually answers to, beside its own.
pub fn loopback_names(name: &str) -> Vec<String> {
    let loopback = [IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
    let addresses = loopback.iter().map(ToString::to_string);
    [name.to_owned(), "localhost".to_owned()].into_iter().chain(addresses).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn a_client_that_trusts_the_authority_accepts_its_certificates() {
        let mut authority = Authority::new().unwrap();
        let issued = authority.issue(&["mx.example.test", "127.0.0.1"]).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(issued.server_config().unwrap());
        let connector = tokio_rustls::TlsConnector::from(client_config(&authority.ca_file()).unwrap());
        let (near, far) = tokio::io::duplex(1 << 14);
        let server = async {
            let mut stream = acceptor.accept(far).await.unwrap();
            stream.write_all(b"hello").await.unwrap();
            stream.shutdown().await.unwrap();
        };
        let client = async {
            let mut stream = connector.connect("mx.example.test".try_into().unwrap(), near).await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            text
        };
        let ((), text) = tokio::join!(server, client);
        assert_eq!(text, "hello");
    }
}
