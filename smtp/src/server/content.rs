//! The states in which content is read.

use bytes::{Buf, BytesMut};

use super::Event;
use super::session::{Session, Toll};
use super::state::{Content, Dialect, Phase, Progress, Question, State, Transaction};
use crate::data::{ChunkScanner, DataScanner, MessageFault, MessageSummary, Scanned};
use crate::reply::Reply;

/// A chunk that BDAT announced.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk {
    /// Octets, all together.
    pub(super) size: u64,
    /// Octets not read yet.
    pub(super) remaining: u64,
    pub(super) position: Position,
}

/// Where in its message a chunk stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    Last,
    Earlier,
}

/// A chunk that nobody wants. It is read all the same (RFC 3030 section 2), then answered.
#[derive(Debug)]
pub(super) struct Skip {
    remaining: u64,
    reply: Reply,
    next: Phase,
    toll: Toll,
}

impl Chunk {
    /// What is allowed after this chunk was refused.
    fn phase_after_refusal(self, dialect: Dialect) -> Phase {
        match self.position {
            Position::Last => Phase::Greeted(dialect),
            Position::Earlier => {
                let reply = Reply::new(503, "5.5.1", "The message was refused");
                Phase::ChunksUnwanted(dialect, Box::new(reply))
            }
        }
    }
}

impl Skip {
    /// The user refuses the message, or did so before this chunk.
    pub(super) fn refused(dialect: Dialect, chunk: Chunk, reply: Reply, toll: Toll) -> Self {
        let next = chunk.phase_after_refusal(dialect);
        Self { remaining: chunk.remaining, reply, next, toll }
    }

    /// The client should not have sent the chunk.
    pub(super) fn mistaken(next: Phase, chunk: Chunk, reply: Reply) -> Self {
        Self { remaining: chunk.remaining, reply, next, toll: Toll::Error }
    }
}

pub(super) fn read_data(dialect: Dialect, mut scanner: DataScanner, input: &mut BytesMut) -> (State, Progress) {
    match scanner.next(input) {
        None => (State::Data(dialect, scanner), Progress::Waiting),
        Some(Scanned::Piece(piece)) => (State::Data(dialect, scanner), Progress::Event(Event::MessageChunk(piece))),
        Some(Scanned::End(end)) => ask_verdict(end, Phase::Greeted(dialect)),
    }
}

pub(super) fn drop_data(
    dialect: Dialect,
    mut scanner: DataScanner,
    reply: Reply,
    session: &mut Session,
    input: &mut BytesMut,
) -> (State, Progress) {
    match scanner.next(input) {
        None => (State::DroppingData(dialect, scanner, reply), Progress::Waiting),
        Some(Scanned::Piece(_)) => (State::DroppingData(dialect, scanner, reply), Progress::Continues),
        Some(Scanned::End(_)) => {
            session.write(&reply);
            (State::Command(Phase::Greeted(dialect)), Progress::Continues)
        }
    }
}

pub(super) fn read_chunk(
    transaction: Transaction,
    mut scanner: Box<ChunkScanner>,
    mut chunk: Chunk,
    session: &mut Session,
    input: &mut BytesMut,
) -> (State, Progress) {
    if let Some(piece) = scanner.next(input, &mut chunk.remaining) {
        return (State::Chunk(transaction, scanner, chunk), Progress::Event(Event::MessageChunk(piece)));
    }
    if chunk.remaining > 0 {
        return (State::Chunk(transaction, scanner, chunk), Progress::Waiting);
    }
    match (chunk.position, scanner.fault()) {
        (Position::Last, _) => (State::Finishing(transaction, scanner), Progress::Continues),
        (Position::Earlier, None) => {
            let reply = Reply::new(250, "2.0.0", &format!("{} octets received", chunk.size));
            let phase = Phase::Chunking(transaction, scanner);
            // Empty chunks lead nowhere.
            let toll = if chunk.size == 0 { Toll::Junk } else { Toll::Free };
            (session.answer(&reply, phase, toll), Progress::Continues)
        }
        (Position::Earlier, Some(fault)) => ask_verdict(Err(fault), chunk.phase_after_refusal(transaction.dialect)),
    }
}

pub(super) fn finish(transaction: Transaction, mut scanner: Box<ChunkScanner>) -> (State, Progress) {
    match scanner.finish() {
        Scanned::Piece(piece) => (State::Finishing(transaction, scanner), Progress::Event(Event::MessageChunk(piece))),
        Scanned::End(end) => ask_verdict(end, Phase::Greeted(transaction.dialect)),
    }
}

pub(super) fn skip_chunk(mut skip: Skip, session: &mut Session, input: &mut BytesMut) -> (State, Progress) {
    let available = input.len().min(usize::try_from(skip.remaining).unwrap_or(usize::MAX));
    input.advance(available);
    skip.remaining -= available as u64;
    if skip.remaining > 0 {
        return (State::Skipping(skip), Progress::Waiting);
    }
    (session.answer(&skip.reply, skip.next, skip.toll), Progress::Continues)
}

fn ask_verdict(end: Result<MessageSummary, MessageFault>, next: Phase) -> (State, Progress) {
    let content = if end.is_ok() { Content::Whole } else { Content::Faulty };
    (State::Asked(Question::Verdict(next, content)), Progress::Event(Event::MessageEnd(end)))
}
