//! A chain in the running proxy: the phases that a session goes through, and what filters count of them.

use mailweir_testkit::mailweir::Mailweir;
use mailweir_testkit::ports;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::guests;
use crate::script::guest;

/// Sends a line and reads the reply to its last line.
async fn say(stream: &mut BufReader<TcpStream>, line: &str) -> String {
    stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
    hear(stream).await
}

async fn hear(stream: &mut BufReader<TcpStream>) -> String {
    loop {
        let mut line = String::new();
        assert!(stream.read_line(&mut line).await.unwrap() > 0, "the connection ended");
        if line.as_bytes().get(3) == Some(&b' ') {
            return line;
        }
    }
}

#[tokio::test]
async fn every_sandbox_sees_the_phases_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let script = "connect: pass; helo: pass; mail: pass; abort: pass";
    std::fs::write(folder.path().join("counts.wasm"), guests::component_of(script, &guest(script))).unwrap();
    let (smtp, admin) = (ports::free().unwrap(), ports::free().unwrap());
    let config = format!(
        "[server]\nhostname = \"mx.example.com\"\nstate_dir = \"state\"\nplugin_dir = \".\"\n\
         [admin]\nlisten = \"{admin}\"\n\
         [listener.inbound]\nlisten = [\"{smtp}\"]\nchain = \"inbound\"\nroute = \"nowhere\"\n\
         relay_domains = [\"example.com\"]\n\
         [chain.inbound]\nplugins = [\"counts\"]\n[plugin.counts]\nsource = \"counts.wasm\"\n\
         [route.nowhere]\nupstreams = [\"127.0.0.1:1\"]\ntls = \"off\"\n"
    );
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_mailweir"));
    let mailweir = Mailweir::start_in(folder, binary, &config, admin).await.unwrap();
    let mut client = BufReader::new(TcpStream::connect(smtp).await.unwrap());
    assert!(hear(&mut client).await.starts_with("220"));
    // Each line, and how often connect, helo, mail and abort were called after it.
    for (line, expected) in [
        ("EHLO one.example", [1, 1, 0, 0]),
        // Another name is another beginning: SPF must not speak of the first.
        ("EHLO two.example", [2, 2, 0, 1]),
        ("MAIL FROM:<a@example.org>", [2, 2, 1, 1]),
        ("RSET", [2, 2, 1, 2]),
        ("MAIL FROM:<a@example.org>", [3, 3, 2, 2]),
        ("EHLO three.example", [4, 4, 2, 3]),
    ] {
        assert!(say(&mut client, line).await.starts_with("250"), "{line}");
        let samples = mailweir.metrics().await.unwrap();
        let counted = ["connect", "helo", "mail", "abort"].map(|event| {
            let label = format!("event=\"{event}\"");
            samples.sum("mailweir_plugin_events_total", &["plugin=\"counts\"", &label]) as u64
        });
        assert_eq!(counted, expected, "{line}");
    }
    let samples = mailweir.metrics().await.unwrap();
    // Two that `load` needs, and one for each beginning.
    assert_eq!(samples.sum("mailweir_sandboxes_created_total", &[]), 6.0);
    assert_eq!(samples.sum("mailweir_sandboxes", &[]), 1.0);
    // As built, and configured.
    assert_eq!(samples.sum("mailweir_plugins_compiled_total", &[]), 2.0);
}
