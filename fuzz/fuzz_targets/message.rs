//! A message on its way: relayed byte for byte, the same however it arrived and wherever it was kept, and read in
//! bounded time: header fields, MIME parts, texts, URLs, pattern scans.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use mailweir::message::scan::{self, PatternOptions, PatternSet, Scope};
use mailweir::message::{Budget, DecodingLimits, Framing, Incoming, Message, MessageFault, MessageLimits, Wire};
use mailweir_fuzz::{Cut, bit, run, split_settings};
use mailweir_smtp::data::{BareNewline, DotUnstuffer};

#[path = "../../smtp/tests/support/mod.rs"]
mod support;

use support::framing::{scan, scan_chunks};
use support::lax;

/// Low, so that inputs come near them.
const LIMITS: MessageLimits = MessageLimits {
    header_size: 4096,
    header_fields: 40,
    mime_parts: 40,
    mime_depth: 8,
    decoding: DecodingLimits::DEFAULT,
};

static PATTERNS: LazyLock<Vec<PatternSet>> = LazyLock::new(|| {
    let compile = |patterns: &[&str], options| {
        let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        PatternSet::compile(&patterns, options).expect("good patterns")
    };
    let words = PatternOptions { regex: false, case_insensitive: true, whole_word: true };
    let regex = PatternOptions { regex: true, case_insensitive: true, whole_word: false };
    vec![
        compile(&["the", "straße", "a", "http"], words),
        compile(&[r"\b\d{3,19}\b", r"[a-z.]+@[a-z.]+", r"(a|aa)+$", "ſ"], regex),
    ]
});

fuzz_target!(|data: &[u8]| {
    let Some(([settings, cut], bytes)) = split_settings(data) else { return };
    let Some((framing, newlines, wire)) = from_client(settings, bytes) else { return };
    let whole = receive(&Budget::unlimited(), framing, std::iter::once(wire.as_slice()));
    // Seldom, because files are slow.
    let budget = if settings >> 4 == 15 { small_budget() } else { Budget::unlimited() };
    let in_pieces = receive(&budget, framing, Cut::new(cut).pieces(&wire));
    let (whole, in_pieces) = match (whole, in_pieces) {
        (Ok(whole), Ok(in_pieces)) => (whole, in_pieces),
        (Err(one), Err(other)) => return assert_eq!(one.to_string(), other.to_string()),
        (one, other) => panic!("{one:?} or {other:?}"),
    };
    relayed(&whole, framing, newlines, &wire);
    for framing in [Framing::Plain, Framing::DotStuffed] {
        assert_eq!(joined(whole.wire(framing)), joined(in_pieces.wire(framing)));
    }
    let view = view(&whole).expect("memory");
    // What is derived from a message may find no room in a small budget.
    if let Ok(other) = self::view(&in_pieces) {
        assert_eq!(other, view);
    }
    // A message from a file is read as one from the network.
    let plain = Bytes::from(joined(whole.chunks()));
    let again = Message::from_bytes(plain.clone(), LIMITS).expect("within its limits before");
    assert_eq!(joined(again.chunks()), plain);
    assert_eq!(self::view(&again).expect("memory"), view);
    drop((whole, in_pieces));
    assert_eq!((budget.in_memory(), budget.spilled()), (0, 0), "all of the budget comes back");
});

/// What the server's machine lets through of `bytes`.
fn from_client(settings: u8, bytes: &[u8]) -> Option<(Framing, BareNewline, Vec<u8>)> {
    let newlines = match settings & 3 {
        0 | 1 => BareNewline::Normalize,
        2 => BareNewline::Reject,
        _ => BareNewline::Keep,
    };
    if bit(settings, 2) || newlines == BareNewline::Keep {
        return Some((Framing::Plain, newlines, scan_chunks(newlines, u64::MAX, [bytes]).ok()?));
    }
    let wire = [bytes, b"\r\n.\r\n"].concat();
    Some((Framing::DotStuffed, newlines, scan(newlines, u64::MAX, [wire.as_slice()]).0.ok()?))
}

fn small_budget() -> Budget {
    Budget::new(100, u64::MAX, &std::env::temp_dir())
}

fn receive<'a>(
    budget: &Budget,
    framing: Framing,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Result<Message, MessageFault> {
    run(async {
        let mut incoming = Incoming::new(budget, framing, LIMITS);
        for piece in pieces {
            incoming.push(Bytes::copy_from_slice(piece)).await?;
        }
        incoming.finish()
    })
}

/// It goes on as it came. Before a line of the header section that is no field, an empty line is put; the first line of
/// a mailbox file is left out.
fn relayed(message: &Message, framing: Framing, newlines: BareNewline, wire: &[u8]) {
    let plain: Vec<u8> = match framing {
        Framing::Plain => wire.to_vec(),
        Framing::DotStuffed => DotUnstuffer::default().pieces(wire).collect::<Vec<_>>().concat(),
    };
    let sent = joined(message.wire(Framing::Plain));
    assert_eq!(sent.len() as u64, message.size());
    let header = message.headers().raw().len();
    let mut start = 0;
    while plain[start..].starts_with(b"From ") || plain[start..].starts_with(b">From ") {
        start += plain[start..].windows(2).position(|pair| pair == b"\r\n").map_or(plain.len() - start, |end| end + 2);
    }
    let is_relayed = [0, start].into_iter().any(|start| {
        let plain = &plain[start..];
        sent == plain || (header <= plain.len() && sent == [&plain[..header], b"\r\n", &plain[header..]].concat())
    });
    assert!(is_relayed, "{} became {}", plain.escape_ascii(), sent.escape_ascii());
    // To a server that takes no BDAT it goes by DATA.
    let mut stuffed = joined(message.wire(Framing::DotStuffed));
    stuffed.extend_from_slice(if message.ends_with_newline() { b".\r\n" } else { b"\r\n.\r\n" });
    if newlines != BareNewline::Keep {
        assert_eq!(lax::strict_end(&stuffed), Some(stuffed.len()), "strict: {}", stuffed.escape_ascii());
        stuffed.retain(|octet| *octet != 0);
        assert_eq!(lax::lax_end(&stuffed), Some(stuffed.len()), "lax: {}", stuffed.escape_ascii());
    }
}

fn joined(pieces: Wire) -> Vec<u8> {
    pieces.flat_map(|piece| piece.expect("memory")).collect()
}

/// All that filters can see. An error when there is no room for it; faults of the message are part of the view.
fn view(message: &Message) -> Result<Vec<String>, MessageFault> {
    let mut view = Vec::new();
    for field in message.headers().fields() {
        view.push(format!("{:?} {:?} {}", field.name(), field.value(), field.text()));
    }
    assert!(message.body_offset() <= message.size());
    match message.mime() {
        Ok(mime) => {
            assert!(mime.parts().len() <= LIMITS.mime_parts + LIMITS.decoding.entries);
            for (index, part) in mime.parts().iter().enumerate() {
                let body = part.body()?;
                assert_eq!(body.len() as u64, part.size());
                assert!(part.parent().is_none_or(|parent| (parent as usize) < index));
                let texts = [part.text()?, part.visible_text()?];
                view.push(format!("{} {:?} {:?}", part.content_type(), part.charset(), part.name()));
                view.push(String::from_utf8_lossy(&body).into_owned());
                view.extend(texts.iter().flatten().map(|text| text.as_str().to_owned()));
            }
        }
        Err(fault) => view.push(lasting(fault)?),
    }
    match message.urls() {
        Ok(urls) => {
            for url in urls.iter() {
                assert!(!url.host.is_empty() && url.text.len() <= 2048);
                assert!(
                    !url.host.bytes().any(|octet| octet.is_ascii_uppercase() || octet.is_ascii_control()),
                    "{url:?}"
                );
            }
            view.push(format!("{urls:?}"));
        }
        Err(fault) => view.push(lasting(fault)?),
    }
    for scope in [Scope::Raw, Scope::Headers, Scope::Text] {
        for patterns in PATTERNS.iter() {
            match scan::find(message, scope, patterns, 50) {
                Ok(hits) => {
                    assert!(hits.len() <= 50 && hits.iter().all(|hit| hit.matched.len() <= 256));
                    view.push(format!("{hits:?}"));
                }
                Err(fault) => view.push(lasting(fault)?),
            }
        }
    }
    Ok(view)
}

/// A fault that the message has wherever it is kept.
fn lasting(fault: MessageFault) -> Result<String, MessageFault> {
    match fault {
        MessageFault::Store(_) => Err(fault),
        fault => Ok(fault.to_string()),
    }
}
