//! Certificates and TLS settings of a listener. Each listener has tickets of its own, so that a session of one never
//! resumes on another; a certificate's files are read again when they change, and no session of the old one resumes then.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, ServerConfig};
use thiserror::Error;

use crate::config::Certificate;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(10);

/// Why a certificate cannot be used; the operator's to mend.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read, or is not PEM.
    #[error("{path}: {problem}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The key does not fit the certificate, or its kind is not supported.
    #[error("{certificate} and {key} cannot be used together: {problem}")]
    Pair {
        /// The chain's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong with them.
        problem: String,
    },
}

/// The certificates in use. Cheap to clone.
#[derive(Clone)]
pub struct CertificateStore {
    provider: Arc<CryptoProvider>,
    watched: Arc<Mutex<WatchedByFiles>>,
}

/// By the paths of certificate and key.
type WatchedByFiles = BTreeMap<(PathBuf, PathBuf), Arc<Watched>>;

/// A certificate whose files are looked at now and then.
#[derive(Debug)]
struct Watched {
    files: Certificate,
    key: ArcSwap<CertifiedKey>,
    modified: Mutex<[Option<SystemTime>; 2]>,
}

impl Default for CertificateStore {
    fn default() -> Self {
        Self { provider: Arc::new(provider()), watched: Arc::default() }
    }
}

/// The library's own, with AES-128 first. It is as far out of reach as AES-256 and costs a fifth less, and its handshake
/// uses SHA-256, for which processors have instructions, in place of SHA-384.
fn provider() -> CryptoProvider {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| match suite.suite() {
        CipherSuite::TLS13_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => 0,
        _ => 1,
    });
    provider
}

/// Whether AES is cheap here. Where it is not, the client's order counts: it may want ChaCha20.
fn has_fast_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

impl CertificateStore {
    /// TLS settings for one listener with this certificate.
    ///
    /// # Errors
    ///
    /// `TlsError` says which file is at fault.
    pub fn server_config(&self, files: &Certificate) -> Result<Arc<ServerConfig>, TlsError> {
        let watched = self.watched(files)?;
        let pair_error = |error: rustls::Error| pair_error(files, &error);
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(pair_error)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&watched) as Arc<dyn ResolvesServerCert>);
        config.ticketer = Arc::new(Tickets::new(watched).map_err(pair_error)?);
        config.ignore_client_order = has_fast_aes();
        // Each costs a derivation and an encryption. Mail clients remember one session of a server.
        config.send_tls13_tickets = 1;
        // Sessions resume by ticket or not at all: what is kept here would outlive the certificate.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Arc::new(config))
    }

    /// Looks at the files for as long as it is polled, and takes what has changed.
    pub async fn watch(self) {
        let mut ticks = tokio::time::interval(LOOK);
        loop {
            ticks.tick().await;
            let store = self.clone();
            if tokio::task::spawn_blocking(move || store.refresh()).await.is_err() {
                return;
            }
        }
    }

    /// Takes certificates whose files have changed. One that cannot be used is logged, and the old one stays.
    pub fn refresh(&self) {
        let watched: Vec<Arc<Watched>> =
            self.watched.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for certificate in watched {
            let now = certificate.files.modified();
            let mut seen = certificate.modified.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == now {
                continue;
            }
            match load(&self.provider, &certificate.files) {
                Ok(key) => {
                    certificate.key.store(Arc::new(key));
                    *seen = now;
                    tracing::info!(certificate = %certificate.files.certificate.display(), "certificate reloaded");
                }
                // Looked at again next time: the key's file may be the one that is written second.
                Err(error) => tracing::warn!(%error, "a changed certificate cannot be used; the old one stays"),
            }
        }
    }

    fn watched(&self, files: &Certificate) -> Result<Arc<Watched>, TlsError> {
        let mut all = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (files.certificate.clone(), files.key.clone());
        if let Some(watched) = all.get(&place) {
            return Ok(Arc::clone(watched));
        }
        let modified = Mutex::new(files.modified());
        let key = ArcSwap::from_pointee(load(&self.provider, files)?);
        let watched = Arc::new(Watched { files: files.clone(), key, modified });
        all.insert(place, Arc::clone(&watched));
        Ok(watched)
    }
}

thread_local! {
    /// The name in the hello that was read last on this thread. rustls' interface without buffers gives it to whoever
    /// chooses the certificate, and to nobody else.
    static SERVER_NAME: Cell<Option<Box<str>>> = const { Cell::new(None) };
}

/// The name that a client asked for in a hello which this thread has read since the last call.
pub(crate) fn take_server_name() -> Option<Box<str>> {
    SERVER_NAME.take()
}

impl ResolvesServerCert for Watched {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        SERVER_NAME.set(hello.server_name().map(Into::into));
        Some(self.key.load_full())
    }
}

/// A listener's tickets. A session that began under one certificate does not resume under another, which the client has
/// never seen: with the certificate, the key that tickets are made with changes too.
#[derive(Debug)]
struct Tickets {
    watched: Arc<Watched>,
    current: ArcSwap<Ticketer>,
}

/// What makes the tickets of sessions under one certificate.
#[derive(Debug)]
struct Ticketer {
    certificate: Arc<CertifiedKey>,
    ticketer: Arc<dyn ProducesTickets>,
}

impl Ticketer {
    fn new(certificate: Arc<CertifiedKey>) -> Result<Self, rustls::Error> {
        Ok(Self { certificate, ticketer: rustls::crypto::aws_lc_rs::Ticketer::new()? })
    }
}

impl Tickets {
    fn new(watched: Arc<Watched>) -> Result<Self, rustls::Error> {
        let current = ArcSwap::from_pointee(Ticketer::new(watched.key.load_full())?);
        Ok(Self { watched, current })
    }

    /// The ticketer of the certificate in use; none when it cannot be made, and then no session resumes.
    fn current(&self) -> Option<Arc<dyn ProducesTickets>> {
        let certificate = self.watched.key.load_full();
        let current = self.current.load_full();
        if Arc::ptr_eq(&current.certificate, &certificate) {
            return Some(Arc::clone(&current.ticketer));
        }
        let fresh = Arc::new(Ticketer::new(certificate).ok()?);
        // Two handshakes at once: the later ticketer stays, and the tickets of the other are good for nothing.
        self.current.store(Arc::clone(&fresh));
        Some(Arc::clone(&fresh.ticketer))
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.current.load().ticketer.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.current()?.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.current()?.decrypt(cipher)
    }
}

impl Certificate {
    fn modified(&self) -> [Option<SystemTime>; 2] {
        [&self.certificate, &self.key].map(|path| std::fs::metadata(path).and_then(|file| file.modified()).ok())
    }
}

fn load(provider: &CryptoProvider, files: &Certificate) -> Result<CertifiedKey, TlsError> {
    let file_error = |path: &PathBuf| {
        let path = path.clone();
        move |error: rustls::pki_types::pem::Error| TlsError::File { path, problem: error.to_string() }
    };
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(file_error(&files.certificate))?;
    if chain.is_empty() {
        let problem = "there is no certificate in it".to_owned();
        return Err(TlsError::File { path: files.certificate.clone(), problem });
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(file_error(&files.key))?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| pair_error(files, &error))
}

fn pair_error(files: &Certificate, error: &rustls::Error) -> TlsError {
    TlsError::Pair { certificate: files.certificate.clone(), key: files.key.clone(), problem: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(directory: &std::path::Path, names: &[&str]) -> Certificate {
        let made = rcgen::generate_simple_self_signed(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
            .unwrap();
        let files = Certificate { certificate: directory.join("c.pem"), key: directory.join("k.pem") };
        std::fs::write(&files.certificate, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        files
    }

    #[test]
    fn a_changed_certificate_is_taken_and_a_broken_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let files = write(directory.path(), &["one.example"]);
        let store = CertificateStore::default();
        store.server_config(&files).unwrap();
        let watched = store.watched(&files).unwrap();
        let first = watched.key.load_full();
        store.refresh();
        assert!(Arc::ptr_eq(&first, &watched.key.load_full()), "unchanged files are not read again");

        write(directory.path(), &["two.example"]);
        *watched.modified.lock().unwrap() = [None, None];
        store.refresh();
        let second = watched.key.load_full();
        assert_ne!(first.cert, second.cert);

        std::fs::write(&files.key, "not a key").unwrap();
        *watched.modified.lock().unwrap() = [None, None];
        store.refresh();
        assert_eq!(second.cert, watched.key.load_full().cert);
    }

    #[test]
    fn errors_name_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = write(directory.path(), &["one.example"]);
        std::fs::write(directory.path().join("empty.pem"), "").unwrap();
        files.certificate = directory.path().join("empty.pem");
        let error = CertificateStore::default().server_config(&files).unwrap_err().to_string();
        assert!(error.contains("empty.pem") && error.contains("no certificate"), "{error}");
        files.certificate = directory.path().join("missing.pem");
        let error = CertificateStore::default().server_config(&files).unwrap_err().to_string();
        assert!(error.contains("missing.pem"), "{error}");
    }
}
