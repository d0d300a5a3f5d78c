//! The client's machine against a server that says anything: an event for each command at most, in their order, the
//! same however the bytes arrive, and nothing from before TLS after it.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use mailweir_fuzz::Cut;
use mailweir_smtp::address::{ClientName, ForwardPath, ReversePath};
use mailweir_smtp::client::{BdatChunk, Client, ClientError, ClientEvent};
use mailweir_smtp::parameter::{MailParameters, RcptParameters};

/// What the user does.
#[derive(Debug, Clone, Copy, Arbitrary)]
enum Action {
    Hello,
    Helo,
    StartTls,
    Mail,
    Rcpt,
    Data,
    EndOfData,
    Bdat(u16),
    LastBdat(u16),
    Reset,
    Noop,
    Quit,
}

/// Commands, and what comes in answer to them; then TLS if that was agreed on, or more commands.
#[derive(Debug, Arbitrary)]
struct Flight<'a> {
    actions: Vec<Action>,
    answer: &'a [u8],
}

fuzz_target!(|data: &[u8]| {
    let mut input = Unstructured::new(data);
    let Ok((cut, flights)) = <(u8, Vec<Flight<'_>>)>::arbitrary(&mut input) else { return };
    let whole = play(&flights, None);
    let in_pieces = play(&flights, Some(Cut::new(cut)));
    match (whole.1, in_pieces.1) {
        // The reply and what was put behind it may come apart; then there is an event for the reply.
        (Some(ClientError::PlaintextInjection), Some(ClientError::PlaintextInjection)) => {
            assert!(in_pieces.0.starts_with(&whole.0));
            assert!(in_pieces.0.len() <= whole.0.len() + 1);
        }
        // What is wrong with a line is told when it is known to be wrong with it.
        (Some(ClientError::Reply(_)), Some(ClientError::Reply(_))) => assert_eq!(whole.0, in_pieces.0),
        _ => assert_eq!(whole, in_pieces),
    }
});

fn play(flights: &[Flight<'_>], cut: Option<Cut>) -> (Vec<ClientEvent>, Option<ClientError>) {
    let mut client = Client::new();
    let mut input = BytesMut::new();
    let mut events = Vec::new();
    let mut awaited: std::collections::VecDeque<Option<Action>> = [None].into();
    for flight in flights {
        for action in &flight.actions {
            act(&mut client, *action);
            awaited.push_back(Some(*action));
        }
        let lines = client.output().split();
        let count = lines.iter().filter(|octet| **octet == b'\n').count();
        assert_eq!(count, flight.actions.len(), "a line for each command");
        let pieces: Vec<&[u8]> = match cut {
            Some(cut) => cut.pieces(flight.answer).collect(),
            None => vec![flight.answer],
        };
        for piece in pieces {
            input.extend_from_slice(piece);
            loop {
                match client.next(&mut input) {
                    Ok(Some(event)) => {
                        check(&event, &mut awaited);
                        assert_eq!(client.awaited(), awaited.len());
                        events.push(event);
                    }
                    Ok(None) => break,
                    Err(error) => return (events, Some(error)),
                }
            }
        }
        if matches!(events.last(), Some(ClientEvent::StartTls(reply)) if reply.is_positive()) {
            client.tls_established(&mut input);
            assert!(input.is_empty() && client.awaited() == 0);
            assert_eq!(*client.extensions(), Default::default());
            awaited.clear();
        }
    }
    (events, None)
}

fn act(client: &mut Client, action: Action) {
    let name = ClientName::parse(b"client.example").expect("a name");
    match action {
        Action::Hello => client.hello(&name),
        Action::Helo => client.helo(&name),
        Action::StartTls => client.start_tls(),
        Action::Mail => client.mail(&ReversePath::Null, &MailParameters::default()),
        Action::Rcpt => client.rcpt(&ForwardPath::Postmaster, &RcptParameters::default()),
        Action::Data => client.data(),
        Action::EndOfData => client.end_of_data(),
        Action::Bdat(size) => client.bdat(size.into(), BdatChunk::More),
        Action::LastBdat(size) => client.bdat(size.into(), BdatChunk::Last),
        Action::Reset => client.reset(),
        Action::Noop => client.noop(),
        Action::Quit => client.quit(),
    }
}

/// The event answers the oldest command that is not answered yet, and a yes is one that the command can have.
fn check(event: &ClientEvent, awaited: &mut std::collections::VecDeque<Option<Action>>) {
    if let ClientEvent::Closing(reply) = event {
        assert!(reply.code() == 421 && awaited.is_empty());
        return;
    }
    let action = awaited.pop_front().expect("a command that is answered");
    let (reply, yes) = match (event, action) {
        (ClientEvent::Greeting(reply), None) | (ClientEvent::StartTls(reply), Some(Action::StartTls)) => {
            (reply, 220..=220)
        }
        (ClientEvent::Data(reply), Some(Action::Data)) => (reply, 354..=354),
        (ClientEvent::Hello(reply), Some(Action::Hello | Action::Helo))
        | (ClientEvent::Mail(reply), Some(Action::Mail))
        | (ClientEvent::Rcpt(reply), Some(Action::Rcpt))
        | (ClientEvent::Message(reply), Some(Action::EndOfData | Action::LastBdat(_)))
        | (ClientEvent::Chunk(reply), Some(Action::Bdat(_)))
        | (ClientEvent::Reset(reply), Some(Action::Reset))
        | (ClientEvent::Noop(reply), Some(Action::Noop))
        | (ClientEvent::Quit(reply), Some(Action::Quit)) => (reply, 200..=299),
        other => panic!("{other:?}"),
    };
    assert!(reply.code() >= 400 || yes.contains(&reply.code()), "{event:?}");
}
