//! A message while it arrives: chunks in memory, beyond the memory share in a spill file, beyond that no reading on.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;

use super::{
    MessageFault, MessageLimits, StoreError,
    budget::{Budget, Permit},
    framing::Framing,
    header_end::{HeaderEnd, HeaderFinder},
    model::Message,
    rope::{Offset, Rope},
    spill::SpillFile,
};

/// Once a message is spilled, this many bytes of it are gathered in memory, if there is room, for each write.
const BATCH: usize = 256 * 1024;

/// A message being received.
#[derive(Debug)]
pub struct Incoming {
    budget: Budget,
    limits: MessageLimits,
    rope: Rope,
    /// Bytes at the end of the rope that are not in the file.
    unwritten: usize,
    header: Header,
    /// Set while bytes are on their way to the file: a push that was given up in between leaves the rest unknown.
    torn: bool,
}

#[derive(Debug)]
enum Header {
    Arriving(HeaderFinder),
    Whole(HeaderEnd),
    Faulty(MessageFault),
}

impl Incoming {
    /// A message of which nothing has arrived yet.
    pub fn new(budget: &Budget, framing: Framing, limits: MessageLimits) -> Self {
        Self {
            budget: budget.for_message(),
            limits,
            rope: Rope::new(framing),
            unwritten: 0,
            header: Header::Arriving(HeaderFinder::new(framing, limits)),
            torn: false,
        }
    }

    /// Takes the next bytes, as they stood on the wire.
    ///
    /// Over the memory share it writes to the spill file; over the disk share as well, it waits until something comes
    /// free, for as long as the budget says, and then gives [`StoreError::Full`] (452 4.3.1). A disk that fails is
    /// [`StoreError::Io`] (451 4.3.0). After an error, or when this future was dropped before its end, the message is
    /// lost and every further call fails.
    ///
    /// Of a message whose header section is over its caps nothing is kept.
    pub async fn push(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        if let Header::Arriving(finder) = &mut self.header {
            match finder.feed(&chunk) {
                None => {}
                Some(Ok(end)) => self.header = Header::Whole(end),
                Some(Err(fault)) => {
                    self.header = Header::Faulty(fault);
                    self.rope = Rope::new(self.rope.framing());
                }
            }
        }
        if chunk.is_empty() || matches!(self.header, Header::Faulty(_)) {
            return Ok(());
        }
        if self.torn {
            return Err(StoreError::Io(Arc::new(std::io::Error::other("an earlier write was given up"))));
        }
        self.torn = true;
        self.store(chunk).await?;
        self.torn = false;
        Ok(())
    }

    async fn store(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        let length = chunk.len();
        match self.budget.hold(chunk) {
            Ok(held) => self.push_held(held).await,
            Err(chunk) => {
                let unwritten = (self.unwritten + length) as u64;
                let deadline = self.budget.deadline();
                let room = self.budget.wait_for(deadline, || self.room(&chunk, unwritten)).await?;
                match room {
                    Room::Memory(held) => self.push_held(held).await,
                    Room::Disk(permit) => {
                        self.rope.push(chunk);
                        self.write(permit).await
                    }
                }
            }
        }
    }

    fn room(&self, chunk: &Bytes, unwritten: u64) -> Option<Room> {
        match self.budget.hold(chunk.clone()) {
            Ok(held) => Some(Room::Memory(held)),
            Err(_) => self.budget.disk(unwritten).map(Room::Disk),
        }
    }

    async fn push_held(&mut self, held: Bytes) -> Result<(), StoreError> {
        self.unwritten += held.len();
        self.rope.push(held);
        if self.rope.file().is_none() || self.unwritten < BATCH {
            return Ok(());
        }
        // A message that has a file goes on there, if the disk share allows; if not, it is in memory already.
        match self.budget.disk(self.unwritten as u64) {
            Some(permit) => self.write(permit).await,
            None => Ok(()),
        }
    }

    /// Writes all that is in memory to the file. On another thread, since a disk may be slow or full.
    async fn write(&mut self, permit: Permit) -> Result<(), StoreError> {
        let pieces: Vec<Bytes> = self.rope.in_memory().cloned().collect();
        let file = self.rope.file().cloned();
        let budget = self.budget.clone();
        let work = move || {
            let file = match file {
                Some(file) => {
                    file.pay(permit);
                    file
                }
                None => Arc::new(SpillFile::create(&budget, permit)?),
            };
            file.append_all(&pieces)?;
            Ok::<_, StoreError>(file)
        };
        let file = tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| StoreError::Io(Arc::new(std::io::Error::other(error))))??;
        self.rope.spilled(file);
        self.unwritten = 0;
        Ok(())
    }

    /// The header section as a message without a body, for the headers phase; or what is wrong with it. None until its
    /// end has arrived.
    pub fn headers(&self) -> Option<Result<Message, MessageFault>> {
        match &self.header {
            Header::Arriving(_) => None,
            Header::Faulty(fault) => Some(Err(fault.clone())),
            Header::Whole(end) => Some(self.header_only(end.start..end.fields)),
        }
    }

    fn header_only(&self, range: Range<Offset>) -> Result<Message, MessageFault> {
        let block = self.rope.gather(range, &self.budget)?;
        Ok(Message::header_only(block, &self.budget, self.limits))
    }

    /// Where the body begins among the bytes that arrived, stuffing not counted. None until that is known.
    pub fn body_start(&self) -> Option<u64> {
        match &self.header {
            Header::Whole(end) => Some(end.body.plain),
            Header::Arriving(_) | Header::Faulty(_) => None,
        }
    }

    /// Bytes received, stuffing included.
    pub fn received(&self) -> u64 {
        self.rope.end().wire
    }

    /// The message is complete.
    pub fn finish(self) -> Result<Message, MessageFault> {
        let end = match self.header {
            Header::Faulty(fault) => return Err(fault),
            Header::Whole(end) => end,
            Header::Arriving(finder) => finder.finish(),
        };
        if self.torn {
            return Err(StoreError::Io(Arc::new(std::io::Error::other("a write was given up"))).into());
        }
        Message::received(Arc::new(self.rope), end, &self.budget, self.limits)
    }
}

enum Room {
    Memory(Bytes),
    Disk(Permit),
}
