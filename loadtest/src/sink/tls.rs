//! TLS: with a certificate that is given, or with one made for the occasion.

use std::sync::Arc;

use anyhow::Context as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use super::options::Behaviour;

/// What shakes hands. Clients may resume their sessions: tickets, so that nothing is kept here.
///
/// # Errors
///
/// When a file does not hold what it should.
pub(super) fn acceptor(behaviour: &Behaviour) -> anyhow::Result<TlsAcceptor> {
    let (chain, key) = match (&behaviour.certificate, &behaviour.key) {
        (Some(certificate), Some(key)) => {
            let chain = CertificateDer::pem_file_iter(certificate)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .with_context(|| format!("{}", certificate.display()))?;
            (chain, PrivateKeyDer::from_pem_file(key).with_context(|| format!("{}", key.display()))?)
        }
        _ => {
            let made = rcgen::generate_simple_self_signed(vec![behaviour.name.clone()])
                .with_context(|| format!("a certificate for {:?}", behaviour.name))?;
            (vec![made.cert.der().clone()], PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into())
        }
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
