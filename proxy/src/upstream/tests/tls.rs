//! STARTTLS towards upstreams.

use mailweir_testkit::certificates::Authority;

use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::upstream::tls::Tls;

const OFFER: &str = "S: 220 mx\nC: EHLO\nS: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\n";
const ENCRYPTED: &str = "-- tls\nC: EHLO\nS: 250-mx\nS: 250 PIPELINING\n";

struct Case {
    mode: ClientTls,
    /// Names the certificate is for.
    names: &'static [&'static str],
    is_trusted: bool,
    scripts: Vec<String>,
}

/// Whether the connection that came about is encrypted; `None` if none came about.
async fn connect(case: Case) -> Option<bool> {
    let mut authority = Authority::new().unwrap();
    let certificate = authority.issue(case.names).unwrap();
    let scripts: Vec<&str> = case.scripts.iter().map(String::as_str).collect();
    let server = ScriptedServer::start_with_tls(&scripts, Some(certificate.server_config().unwrap())).await.unwrap();
    let other = Authority::new().unwrap();
    let trusted = if case.is_trusted { authority.ca_file() } else { other.ca_file() };
    let config = config::Route { tls: case.mode, ca: ca(&trusted), ..route_to(&[server.address()]) };
    let route = handle(config);
    let mut delivery = match route.begin(&domain(), None).await {
        Ok(delivery) => delivery,
        Err(error) => {
            assert_eq!(error.reply().code(), 451);
            return None;
        }
    };
    delivery.mail_and_rcpt(&sender(), &MailParameters::default(), &recipients(&["b"])).await.unwrap();
    assert!(delivery.message(&message("x".repeat(1 << 20))).await.unwrap().is_positive());
    let is_encrypted = delivery.is_encrypted();
    // The connection is found alive in the pool.
    drop(delivery);
    drop(open(&route).await);
    Some(is_encrypted)
}

fn encrypted() -> Vec<String> {
    vec![script(&[OFFER, ENCRYPTED, ENVELOPE, TAKEN, ENVELOPE, "-- end"])]
}

#[tokio::test]
async fn required_with_a_good_certificate() {
    let case = Case { mode: ClientTls::Required, names: &["127.0.0.1"], is_trusted: true, scripts: encrypted() };
    assert_eq!(connect(case).await, Some(true));
}

#[tokio::test]
async fn required_and_not_to_be_had() {
    let refused = script(&["S: 220 mx\nC: EHLO\nS: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 454 not now\n-- end"]);
    let plain = script(&[READY, "-- end"]);
    for (names, is_trusted, dialog) in [
        (&["other.example"][..], true, encrypted().remove(0)),
        (&["127.0.0.1"], false, encrypted().remove(0)),
        (&["127.0.0.1"], true, refused),
        (&["127.0.0.1"], true, plain),
        (&["127.0.0.1"], true, script(&[OFFER, "-- octets 5\n-- send not TLS at all\n-- close"])),
    ] {
        let case = Case { mode: ClientTls::Required, names, is_trusted, scripts: vec![dialog.clone()] };
        assert_eq!(connect(case).await, None, "{dialog}");
    }
}

#[tokio::test]
async fn opportunistic_takes_any_certificate() {
    let case =
        Case { mode: ClientTls::Opportunistic, names: &["other.example"], is_trusted: false, scripts: encrypted() };
    assert_eq!(connect(case).await, Some(true));
}

#[tokio::test]
async fn opportunistic_goes_on_without() {
    let plain = script(&[READY, ENVELOPE, TAKEN, ENVELOPE, "-- end"]);
    let refused = script(&[
        "S: 220 mx\nC: EHLO\nS: 250-mx\nS: 250-PIPELINING\nS: 250 STARTTLS\nC: STARTTLS\nS: 454 not now\n",
        ENVELOPE,
        TAKEN,
        ENVELOPE,
        "-- end",
    ]);
    for scripts in [
        vec![plain.clone()],
        vec![refused],
        // Over a new connection, where there is no STARTTLS: on the old one half a handshake is under way.
        vec![script(&[OFFER, "-- octets 5\n-- send not TLS at all\n-- close"]), plain],
    ] {
        let case = Case { mode: ClientTls::Opportunistic, names: &["127.0.0.1"], is_trusted: true, scripts };
        assert_eq!(connect(case).await, Some(false));
    }
}

#[tokio::test]
async fn what_comes_before_the_handshake_is_not_believed() {
    for mode in [ClientTls::Opportunistic, ClientTls::Required] {
        let dialog = script(&[
            "S: 220 mx\nC: EHLO\nS: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\n-- inject 220 go|250 injected\n",
            ENCRYPTED,
            "-- end",
        ]);
        let case = Case { mode, names: &["127.0.0.1"], is_trusted: true, scripts: vec![dialog] };
        assert_eq!(connect(case).await, None, "{mode:?}");
    }
}

#[tokio::test]
async fn a_bad_ca_file_is_the_operators_mistake() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty.pem");
    std::fs::write(&empty, "no certificate").unwrap();
    let absent = directory.path().join("absent.pem");
    for path in [empty, absent] {
        let error = Tls::new(ClientTls::Required, Some(&path)).err().unwrap();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}

/// What one route's servers gave it to resume a session with is not shown to another's, nor to another host's.
#[tokio::test]
async fn sessions_of_one_route_do_not_resume_on_another() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let mut authority = Authority::new().unwrap();
    let certificate = authority.issue(&["one.example", "other.example"]).unwrap().server_config().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // The same server for all, which would resume whatever it is shown.
    let server = tokio::spawn(async move {
        let acceptor = tokio_rustls::TlsAcceptor::from(certificate);
        let mut kinds = Vec::new();
        for _ in 0..5 {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await.unwrap();
            kinds.push(stream.get_ref().1.handshake_kind().unwrap());
            // A ticket comes behind the handshake.
            stream.write_all(b"220 ready\r\n").await.unwrap();
            stream.shutdown().await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
        kinds
    });
    let ca = authority.ca_file();
    let route = || Tls::new(ClientTls::Required, Some(&ca)).unwrap().unwrap();
    let (one, other, opportunistic) = (route(), route(), Tls::new(ClientTls::Opportunistic, None).unwrap().unwrap());
    for (tls, name) in [
        (&opportunistic, "one.example"),
        (&one, "one.example"),
        (&one, "one.example"),
        (&one, "other.example"),
        (&other, "one.example"),
    ] {
        let mut stream = tls.handshake(name, TcpStream::connect(address).await.unwrap()).await.unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await.unwrap();
        stream.shutdown().await.unwrap();
    }
    use rustls::HandshakeKind::{Full, Resumed};
    assert_eq!(server.await.unwrap(), [Full, Full, Resumed, Full, Full]);
}
