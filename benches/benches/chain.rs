//! Filters: making a sandbox, calls, and chains from MAIL to the end of the message.

use std::sync::Arc;

use mailweir::chain::{Chain, Disposition};
use mailweir::message::Message;
use mailweir::verdict::Verdict;
use mailweir_benches::harness::{Harness, finish};
use mailweir_benches::sample;
use mailweir_benches::stage::{self, Stage};

/// Filters of the `hello` chains.
const LENGTHS: [usize; 4] = [0, 1, 3, 10];

fn main() {
    Harness::main(&[chains]);
}

fn chains(harness: &mut Harness) {
    if !["sandbox", "access", "chain"].iter().any(|group| harness.wants(group)) {
        return;
    }
    let Some(stage) = Stage::set_up(&LENGTHS) else { return };
    sandbox(harness, &stage);
    access(harness, &stage);
    harness.group("chain");
    let plain = sample::plain(4096);
    for length in LENGTHS {
        let chain = stage.chain(&format!("hello-{length}"));
        let fresh = || sample::message(&plain);
        harness.case_on(&format!("hello/{length}"), fresh, |message| {
            finish(&stage.runtime, transaction(&stage, &chain, message))
        });
    }
    let chain = stage.chain("three");
    for (name, message) in [
        ("plain-4KiB", plain),
        ("plain-1MiB", sample::plain(1 << 20)),
        ("signed-4KiB", stage.signed(&sample::multipart(4096))),
        ("signed-64KiB", stage.signed(&sample::multipart(65_536))),
    ] {
        harness.bytes(message.len());
        let fresh = || sample::message(&message);
        harness.case_on(&format!("auth-surbl-dlp/{name}"), fresh, |message| {
            finish(&stage.runtime, transaction(&stage, &chain, message));
        });
    }
}

/// A fresh sandbox made and dropped, the first call in one, which touches its memory, and a later one.
fn sandbox(harness: &mut Harness, stage: &Stage) {
    let view = stage.view(&sample::plain(4096));
    let plugin = stage.plugin("hello-0");
    let make = || finish(&stage.runtime, plugin.sandbox(stage.facts(), &view.evaluation)).expect("a sandbox");
    harness.group("sandbox");
    harness.case("make-and-drop", || drop(make()));
    harness.case_on("first-call", make, |sandbox| finish(&stage.runtime, sandbox.end(&view)));
    let called = || {
        let mut sandbox = make();
        finish(&stage.runtime, sandbox.end(&view)).expect("hello never fails");
        sandbox
    };
    harness.case_on("later-call", called, |sandbox| finish(&stage.runtime, sandbox.end(&view)));
}

/// Access lists, looked at in three phases: by the filter `access` in a fresh sandbox, and by native code that does the
/// same.
fn access(harness: &mut Harness, stage: &Stage) {
    let view = stage.view(&sample::plain(4096));
    let envelope = stage::envelope();
    let (sender, recipient) = (envelope.sender.as_bytes(), envelope.recipients[0].as_bytes());
    let plugin = stage.plugin("access");
    harness.group("access");
    harness.case("filter", || {
        finish(&stage.runtime, async {
            let mut sandbox = plugin.sandbox(stage.facts(), &view.evaluation).await.expect("a sandbox");
            let mail = sandbox.mail(sender).await.expect("no failure");
            let rcpt = sandbox.rcpt(recipient).await.expect("no failure");
            let headers = sandbox.headers(&view).await.expect("no failure");
            for decision in [mail, rcpt, headers] {
                assert_eq!(decision.verdict, Verdict::Pass);
            }
        });
    });
    let lists = native::Lists::sample();
    harness.case("native", || {
        assert!(
            lists.passes_sender(sender) && lists.passes_recipient(recipient) && lists.passes_subject(&view.message)
        );
    });
}

/// What `plugins/access` does, in the host.
mod native {
    use mailweir::message::Message;

    pub(super) struct Lists {
        senders: Vec<String>,
        recipients: Vec<String>,
        subjects: Vec<String>,
    }

    impl Lists {
        /// Those that the stage configures the filter with.
        pub(super) fn sample() -> Self {
            let owned = |list: &[&str]| list.iter().map(|entry| (*entry).to_owned()).collect();
            Self {
                senders: owned(&["spam.example", "joe@other.example"]),
                recipients: owned(&["list@receiver.example"]),
                subjects: owned(&["you have won"]),
            }
        }

        pub(super) fn passes_sender(&self, sender: &[u8]) -> bool {
            !is_listed(&self.senders, sender)
        }

        pub(super) fn passes_recipient(&self, recipient: &[u8]) -> bool {
            !is_listed(&self.recipients, recipient)
        }

        pub(super) fn passes_subject(&self, message: &Message) -> bool {
            message.headers().texts("Subject").all(|subject| {
                let subject = subject.to_lowercase();
                !self.subjects.iter().any(|entry| subject.contains(entry.as_str()))
            })
        }
    }

    fn is_listed(list: &[String], address: &[u8]) -> bool {
        let address = String::from_utf8_lossy(address).to_lowercase();
        let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
        list.iter().any(|entry| {
            let above = domain.strip_suffix(entry.as_str());
            address == *entry || above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
        })
    }
}

/// A transaction from MAIL to the end of the message: sandboxes made, calls, edits applied, sandboxes dropped.
async fn transaction(stage: &Stage, chain: &Arc<Chain>, message: &Message) {
    let mut run = stage.run(chain);
    let envelope = stage::envelope();
    run.mail(&envelope.sender).await;
    run.rcpt(&envelope.recipients[0]).await;
    run.headers(message, &envelope).await;
    let conclusion = run.end(message.clone(), envelope, None).await;
    assert_eq!(conclusion.disposition, Disposition::Deliver { route: None });
}
