//! Python's smtplib as a client, which nobody here wrote.

use mailweir_testkit::certificates::Authority;
use mailweir_testkit::programs::python;

use crate::dialogs::without_received;
use crate::stage::{PATIENCE, Setup, sink};

const CONFIG: &str = r#"
[listener.inbound]
listen = ["@inbound"]
chain = "none"
route = "main"
relay_domains = ["example.com", "b\u00fccher.example"]
tls = { mode = "required", certificate = "mx.pem", key = "mx.key" }

[listener.implicit]
listen = ["@implicit"]
chain = "none"
route = "main"
relay_domains = ["example.com"]
tls = { mode = "implicit", certificate = "mx.pem", key = "mx.key" }

[chain.none]

[route.main]
upstreams = ["@main"]
tls = "off"
"#;

const SCRIPT: &str = r#"
import smtplib, ssl, sys
from email.message import EmailMessage

host, port, implicit_host, implicit_port, ca = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.check_hostname = False

with smtplib.SMTP(host, int(port), local_hostname="python.example") as client:
    try:
        client.sendmail("alice@sender.test", ["bob@example.com"], b"Subject: in the clear\r\n\r\n")
        sys.exit("taken without TLS")
    except smtplib.SMTPSenderRefused as error:
        assert error.smtp_code == 530, error
    client.starttls(context=context)
    client.ehlo()
    for keyword in ("smtputf8", "chunking", "8bitmime", "pipelining", "size", "enhancedstatuscodes"):
        assert client.has_extn(keyword), keyword

    # RFC 6531
    message = EmailMessage()
    message["From"] = "jos\u00e9@sender.test"
    message["To"] = "gr\u00fc\u00dfe@b\u00fccher.example"
    message["Subject"] = "\u2713"
    message.set_content("dots:\n.\n..\n\u65e5\u672c\n", cte="8bit")
    assert client.send_message(message) == {}

    # RFC 3030
    client.mail("alice@sender.test", ["BODY=8BITMIME"])
    client.rcpt("bob@example.com")
    first, second = b"Subject: chunks\r\n\r\n.\r\n", b".\r\n\xff no end"
    client.send(b"BDAT %d\r\n" % len(first) + first)
    assert client.getreply()[0] == 250
    client.send(b"BDAT %d LAST\r\n" % len(second) + second)
    code, text = client.getreply()
    assert code == 250, (code, text)

    # One recipient of two is refused.
    refused = client.sendmail("alice@sender.test", ["bob@example.com", "bob@elsewhere.test"], "Subject: two\r\n\r\n")
    assert list(refused) == ["bob@elsewhere.test"] and refused["bob@elsewhere.test"][0] == 550, refused

with smtplib.SMTP_SSL(implicit_host, int(implicit_port), context=context) as client:
    assert client.sendmail("alice@sender.test", ["bob@example.com"], "Subject: implicit\r\n\r\n") == {}
"#;

#[tokio::test]
async fn smtplib_sends_by_starttls_smtputf8_and_bdat() {
    let (main, authority) = (sink().await, Authority::new().unwrap());
    let setup = Setup::new(CONFIG).address("main", main.address());
    let directory = setup.directory().to_owned();
    authority.issue_into(&["mx.example.com"], &directory.join("mx.pem"), &directory.join("mx.key")).unwrap();
    let stage = setup.start().await;
    stage.wait_for_route("main").await;
    let (inbound, implicit) = (stage.listener("inbound"), stage.listener("implicit"));
    let arguments = [
        inbound.ip().to_string(),
        inbound.port().to_string(),
        implicit.ip().to_string(),
        implicit.port().to_string(),
        authority.ca_file().display().to_string(),
    ];
    let Some(python) = python(SCRIPT, &arguments.each_ref().map(String::as_str)) else {
        return println!("skipped: no python3");
    };
    let report = python.finish(PATIENCE).await.unwrap();
    assert!(report.success, "{}\n{}", report.text, stage.proxy.log());

    let messages = main.messages();
    assert_eq!(messages.len(), 4);
    assert_eq!(messages[0].sender, "jos\u{e9}@sender.test");
    assert_eq!(messages[0].recipients, ["gr\u{fc}\u{df}e@b\u{fc}cher.example"]);
    assert!(messages[0].parameters.contains("SMTPUTF8"), "{}", messages[0].parameters);
    let text = String::from_utf8(messages[0].content.to_vec()).unwrap();
    assert!(text.contains("with UTF8SMTPS id") && text.contains("\r\n.\r\n..\r\n\u{65e5}\u{672c}\r\n"), "{text}");
    assert_eq!(without_received(&messages[1].content), b"Subject: chunks\r\n\r\n.\r\n.\r\n\xff no end");
    assert_eq!(messages[2].recipients, ["bob@example.com"]);
}
