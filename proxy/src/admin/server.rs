//! The HTTP server behind `[admin]`: three pages, for a scraper and a load balancer. It is not meant for the open
//! network, yet one client cannot hold it: requests, connections and their time are bounded.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::metrics::{self, Metrics};

/// Connections at once; further ones wait in the kernel's queue.
const CONNECTIONS: usize = 64;
/// A request's header section, in bytes; hyper's least is 8192.
const REQUEST_BYTES: usize = 8192;
const REQUEST_HEADERS: usize = 64;
/// For each request's header section, the wait for the next request included.
const REQUEST_TIME: Duration = Duration::from_secs(30);
/// For a connection as a whole, so that one that does not read its answers ends too.
const CONNECTION_TIME: Duration = Duration::from_secs(600);
/// After a failed accept, as when file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Whether /ready says yes. Clones share the state.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicU8>);

const STARTING: u8 = 0;
const SERVING: u8 = 1;
const DRAINING: u8 = 2;

impl Readiness {
    /// The listeners accept connections.
    pub fn serving(&self) {
        self.0.store(SERVING, Ordering::Release);
    }

    /// No new connections are wanted.
    pub fn draining(&self) {
        self.0.store(DRAINING, Ordering::Release);
    }
}

/// Serves until dropped.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>, readiness: Readiness) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the admin listener cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (metrics, readiness) = (Arc::clone(&metrics), readiness.clone());
        tokio::spawn(async move {
            let _permit = permit;
            // What goes wrong here is the client's own affair.
            let _ = tokio::time::timeout(CONNECTION_TIME, connection(stream, metrics, readiness)).await;
        });
    }
}

async fn connection(stream: TcpStream, metrics: Arc<Metrics>, readiness: Readiness) -> Result<(), hyper::Error> {
    let service = service_fn(|request: Request<Incoming>| {
        let response = respond(&request, &metrics, &readiness);
        async move { Ok::<_, Infallible>(response) }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIME)
        .max_headers(REQUEST_HEADERS)
        .max_buf_size(REQUEST_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn respond<B>(request: &Request<B>, metrics: &Metrics, readiness: &Readiness) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = page(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/health" => page(StatusCode::OK, "alive\n"),
        "/ready" => match readiness.0.load(Ordering::Acquire) {
            SERVING => page(StatusCode::OK, "serving\n"),
            STARTING => page(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
            _ => page(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        },
        "/metrics" => {
            let mut response = page(StatusCode::OK, metrics.encode());
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE));
            response
        }
        _ => page(StatusCode::NOT_FOUND, "there are /health, /ready and /metrics\n"),
    }
}

fn page(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn started() -> (SocketAddr, Readiness) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let readiness = Readiness::default();
        tokio::spawn(serve(listener, Metrics::new(), readiness.clone()));
        (address, readiness)
    }

    /// What comes back for these bytes, to the end of the connection.
    async fn exchange(address: SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // A server that refuses early may close before everything is written.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn status(address: SocketAddr, method: &str, path: &str) -> String {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        exchange(address, request.as_bytes()).await.chars().skip("HTTP/1.1 ".len()).take(3).collect()
    }

    #[tokio::test]
    async fn pages() {
        let (address, readiness) = started().await;
        assert_eq!(status(address, "GET", "/health").await, "200");
        assert_eq!(status(address, "GET", "/ready").await, "503");
        readiness.serving();
        assert_eq!(status(address, "GET", "/ready").await, "200");
        readiness.draining();
        assert_eq!(status(address, "GET", "/ready").await, "503");
        assert_eq!(status(address, "GET", "/health").await, "200");
        assert_eq!(status(address, "GET", "/").await, "404");
        assert_eq!(status(address, "POST", "/metrics").await, "405");
        let answer = exchange(address, b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
        assert!(answer.contains("mailweir_generation 0\n"), "{answer}");
    }

    #[tokio::test]
    async fn large_requests_are_refused() {
        let (address, _readiness) = started().await;
        let long = format!("GET /health HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(100_000));
        let many = format!("GET /health HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(100));
        for request in [long, many] {
            let answer = exchange(address, request.as_bytes()).await;
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
        }
        assert!(exchange(address, b"\x16\x03\x01 nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_nothing_is_dropped() {
        let (address, _readiness) = started().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /health HT").await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP/1.1 200"));
    }
}
