//! A message while it arrives: chunks in memory, beyond the memory share in a spill file, beyond that no reading on.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;

use super::{
    MessageFault, MessageLimits, StoreError,
    budget::{Budget, Held, Permit},
    fault,
    framing::Framing,
    header_end::{HeaderEnd, HeaderFinder},
    model::Message,
    rope::{Offset, Rope},
    spill::SpillFile,
};

/// Once a message is spilled, this many bytes of it are gathered in memory, if there is room, for each write.
const BATCH: usize = 256 * 1024;

/// A chunk smaller than this that follows another such chunk is copied to others like it: what is kept of each costs more than its bytes.
const SMALL: usize = 1024;
/// Bytes of small chunks gathered before they are kept as one.
const GATHERED: usize = 8 * 1024;

/// A message being received.
#[derive(Debug)]
pub struct Incoming {
    budget: Budget,
    limits: MessageLimits,
    rope: Rope,
    /// Small chunks that follow what is in the rope.
    small: Option<Small>,
    /// The last chunk was small.
    after_small: bool,
    /// Bytes at the end of the rope that are not in the file.
    unwritten: usize,
    header: Header,
    /// Set while bytes are on their way to the file: a push that was given up in between leaves the rest unknown.
    torn: bool,
    /// Pages that could not be read, in the whole process, before it began.
    faults: u64,
}

/// Small chunks, with the charge for all of the room, unless there was none.
#[derive(Debug)]
struct Small {
    bytes: Vec<u8>,
    permit: Option<Permit>,
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
            small: None,
            after_small: false,
            unwritten: 0,
            header: Header::Arriving(HeaderFinder::new(framing, limits)),
            torn: false,
            faults: fault::count(),
        }
    }

    /// Takes the next bytes, as they stood on the wire.
    ///
    /// Over the memory share it writes to the spill file; over the disk share as well, it waits until something comes
    /// free, for as long as the budget says, which is the less the more wait already, and then gives [`StoreError::Full`]
    /// (452 4.3.1). A disk that fails is [`StoreError::Io`] (451 4.3.0). After an error, or when this future was dropped before its end, the message is
    /// lost and every further call fails.
    ///
    /// Of a message whose header section is over its caps nothing is kept.
    pub async fn push(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        let mut header_is_whole = false;
        if let Header::Arriving(finder) = &mut self.header {
            match finder.feed(&chunk) {
                None => {}
                Some(Ok(end)) => {
                    self.header = Header::Whole(end);
                    header_is_whole = true;
                }
                Some(Err(fault)) => {
                    self.budget.count_structure_fault();
                    self.header = Header::Faulty(fault);
                    self.small = None;
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
        self.gather(chunk).await?;
        if header_is_whole {
            // It is read now, and out of the rope.
            self.keep_small().await?;
        }
        self.torn = false;
        Ok(())
    }

    /// Small chunks are copied together, so that a message of single bytes takes little more memory than any other.
    async fn gather(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        let is_small = chunk.len() < SMALL;
        // The first one is kept as it came: a small message is often one chunk.
        if !std::mem::replace(&mut self.after_small, is_small) || !is_small {
            self.keep_small().await?;
            return self.store(chunk).await;
        }
        if self.small.as_ref().is_some_and(|small| small.bytes.len() + chunk.len() > GATHERED) {
            self.keep_small().await?;
        }
        if self.small.is_none() {
            // Where memory is full it is taken all the same: kept one by one, small chunks would take more.
            let permit = self.budget.memory(GATHERED as u64);
            self.small = Some(Small { bytes: Vec::with_capacity(GATHERED), permit });
        }
        if let Some(small) = &mut self.small {
            small.bytes.extend_from_slice(&chunk);
        }
        Ok(())
    }

    /// What was gathered goes where other chunks go.
    async fn keep_small(&mut self) -> Result<(), StoreError> {
        match self.small.take() {
            Some(small) => self.store(small.into_bytes()).await,
            None => Ok(()),
        }
    }

    async fn store(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        let length = chunk.len();
        match self.budget.hold(chunk) {
            Ok(held) => self.push_held(held).await,
            Err(chunk) => {
                let unwritten = (self.unwritten + length) as u64;
                let room = self.budget.room_to_arrive(|| self.room(&chunk, unwritten)).await?;
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
        Ok(Message::header_only(block, &self.budget, self.limits, self.faults))
    }

    /// How it is framed.
    pub fn framing(&self) -> Framing {
        self.rope.framing()
    }

    /// Whether some of it is on disk.
    pub fn is_spilled(&self) -> bool {
        self.rope.file().is_some()
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
        self.rope.end().wire + self.small.as_ref().map_or(0, |small| small.bytes.len() as u64)
    }

    /// At most `max` of the bytes that have arrived, from `offset` on, stuffing not counted; none at their end. To be
    /// asked once the header section is whole.
    pub fn read(&self, offset: u64, max: usize) -> Result<Bytes, StoreError> {
        self.rope.read(offset, max)
    }

    /// The message is complete.
    pub fn finish(mut self) -> Result<Message, MessageFault> {
        if let Some(small) = self.small.take() {
            self.rope.push(small.into_held());
        }
        let end = match self.header {
            Header::Faulty(fault) => return Err(fault),
            Header::Whole(end) => end,
            Header::Arriving(finder) => finder.finish(),
        };
        if self.torn {
            return Err(StoreError::Io(Arc::new(std::io::Error::other("a write was given up"))).into());
        }
        Message::received(Arc::new(self.rope), end, &self.budget, self.limits, self.faults)
    }
}

impl Small {
    /// The bytes, to be charged as any others.
    fn into_bytes(mut self) -> Bytes {
        self.bytes.shrink_to_fit();
        Bytes::from(self.bytes)
    }

    /// The bytes with their charge.
    fn into_held(self) -> Bytes {
        let Self { mut bytes, permit } = self;
        bytes.shrink_to_fit();
        let Some(mut permit) = permit else { return Bytes::from(bytes) };
        permit.shrink_to(bytes.len() as u64);
        Bytes::from_owner(Held { bytes, _permit: permit })
    }
}

enum Room {
    Memory(Bytes),
    Disk(Permit),
}
