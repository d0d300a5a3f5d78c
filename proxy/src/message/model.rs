//! The message that filters, scanners, the relay and the quarantine read.

use std::{
    ops::Deref,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use bytes::Bytes;

use crate::{config::Excess, verdict::Edit};

use super::{
    MessageFault, MessageLimits, StoreError,
    accumulator::Accumulator,
    budget::Budget,
    content::{Chunks, Content, Segment, Wire},
    edit::{self, EditError},
    fault,
    framing::Framing,
    header::HeaderSection,
    header_end::{HeaderEnd, HeaderFinder},
    mime::{self, Mark, Mime},
    rope::Rope,
    text::{self, TextUnit},
    url::{self, Url, UrlList},
};

/// A message larger than this many bytes, unpacked parts included, is worked on in a thread of its own.
const LARGE: u64 = 128 << 10;
/// How many times its size a message may be of which nobody knows yet what it holds packed. More is possible (`decoded_ratio`),
/// in a message that is small enough for it to matter little.
const UNPACKED_PERHAPS: u64 = 7;

/// A message. Cheap to clone, and immutable: edits make a new one that shares the body.
///
/// Some methods block the thread when the message is spilled (see [`Message::is_spilled`]) or large; on a
/// multi-threaded runtime the file IO in them lets other tasks go on, the computing does not.
#[derive(Debug, Clone)]
pub struct Message {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    content: Content,
    size: u64,
    header: HeaderSection,
    body: Body,
    budget: Budget,
    limits: MessageLimits,
    /// A message before edits that left its MIME structure as it was: what was found there holds here.
    origin: Option<Message>,
    derived: Mutex<Arc<Derived>>,
    /// What could not be unpacked; it is not forgotten.
    marks: OnceLock<Vec<Mark>>,
    /// Not all hosts of its URLs could be kept; it is not forgotten, either.
    has_hidden_hosts: OnceLock<()>,
    /// Pages that could not be read, in the whole process, before it began to arrive.
    faults: u64,
}

/// What is made of a message when somebody asks, and once, unless it is forgotten.
#[derive(Debug, Default)]
struct Derived {
    contiguous: OnceLock<Result<Bytes, StoreError>>,
    mime: OnceLock<Result<Arc<Mime>, MessageFault>>,
    urls: OnceLock<Result<UrlList, MessageFault>>,
    texts: OnceLock<Result<Arc<[TextUnit]>, MessageFault>>,
}

/// What follows the header section.
#[derive(Debug, Clone)]
struct Body {
    /// Whether an empty line stands before it.
    separated: bool,
    segment: Option<Segment>,
}

/// The whole message without stuffing, in one piece.
#[derive(Debug, Clone)]
pub struct Contiguous(Bytes);

impl Contiguous {
    /// As shared bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }
}

impl Deref for Contiguous {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Message {
    /// A message that is in memory already, without stuffing; it is charged to no budget. Lines end in CRLF.
    pub fn from_bytes(bytes: Bytes, limits: MessageLimits) -> Result<Self, MessageFault> {
        let mut finder = HeaderFinder::new(Framing::Plain, limits);
        let end = match finder.feed(&bytes) {
            Some(found) => found?,
            None => finder.finish(),
        };
        let mut rope = Rope::new(Framing::Plain);
        if !bytes.is_empty() {
            rope.push(bytes);
        }
        Self::received(Arc::new(rope), end, &Budget::unlimited(), limits, fault::count())
    }

    /// `faults` are those that had been counted before the first byte was read.
    pub(super) fn received(
        rope: Arc<Rope>,
        end: HeaderEnd,
        budget: &Budget,
        limits: MessageLimits,
        faults: u64,
    ) -> Result<Self, MessageFault> {
        let header = HeaderSection::new(rope.gather(end.start..end.fields, budget)?);
        let mut content = Content::default();
        let rope_end = rope.end();
        let body = Body {
            separated: end.body != end.fields || end.body != rope_end,
            segment: (end.body != rope_end).then(|| Segment::Rope(Arc::clone(&rope), end.body..rope_end)),
        };
        if end.fields == end.body && end.body != rope_end {
            // No empty line stands between header section and body: it is put there. See `header_end`.
            content.push(Segment::Rope(Arc::clone(&rope), end.start..end.fields));
            content.push(Segment::Plain(Bytes::from_static(b"\r\n")));
            content.push(Segment::Rope(rope, end.body..rope_end));
        } else {
            content.push(Segment::Rope(rope, end.start..rope_end));
        }
        Ok(Self::new(content, header, body, budget, limits, None, faults))
    }

    pub(super) fn header_only(block: Bytes, budget: &Budget, limits: MessageLimits, faults: u64) -> Self {
        let mut content = Content::default();
        content.push(Segment::Plain(block.clone()));
        let body = Body { separated: false, segment: None };
        Self::new(content, HeaderSection::new(block), body, budget, limits, None, faults)
    }

    fn new(
        content: Content,
        header: HeaderSection,
        body: Body,
        budget: &Budget,
        limits: MessageLimits,
        origin: Option<Self>,
        faults: u64,
    ) -> Self {
        let inner = Inner {
            size: content.len(),
            content,
            header,
            body,
            budget: budget.clone(),
            limits,
            origin,
            derived: Mutex::default(),
            marks: OnceLock::new(),
            has_hidden_hosts: OnceLock::new(),
            faults,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Bytes of the message, without stuffing.
    pub fn size(&self) -> u64 {
        self.inner.size
    }

    /// The header section.
    pub fn headers(&self) -> &HeaderSection {
        &self.inner.header
    }

    /// The values of all fields of that name from the top, unfolded and decoded (RFC 2047).
    pub fn header_text(&self, name: &str) -> Vec<String> {
        self.inner.header.texts(name).collect()
    }

    /// Where the body begins: bytes of the header section and the empty line.
    pub fn body_offset(&self) -> u64 {
        self.size() - self.inner.body.segment.as_ref().map_or(0, Segment::len)
    }

    /// Whether some of it is on disk, so that reading may have to wait for it.
    pub fn is_spilled(&self) -> bool {
        self.inner.content.is_spilled()
    }

    /// Whether it is empty or its last line ends in CRLF. Over BDAT it need not; the relay then adds one before the final dot.
    pub fn ends_with_newline(&self) -> bool {
        self.inner.content.ends_with_newline()
    }

    /// How it came, and so how it is best passed on: by DATA or by BDAT. What was made here counts as plain.
    pub fn framing(&self) -> Framing {
        self.inner.content.framing()
    }

    /// `max` bytes at `offset`, without stuffing; fewer at the end, and none past it.
    pub fn read(&self, offset: u64, max: usize) -> Result<Bytes, StoreError> {
        match self.inner.derived().contiguous.get() {
            // What is mapped is read from its file, so that no pages stay behind.
            Some(Ok(whole)) if !self.is_spilled() => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(whole.len());
                Ok(whole.slice(from..from.saturating_add(max).min(whole.len())))
            }
            _ => self.inner.content.read(offset, max),
        }
    }

    /// The whole message without stuffing, in pieces of at most 128 KiB.
    pub fn chunks(&self) -> Chunks {
        self.inner.content.wire(Framing::Plain)
    }

    /// The message for the wire: what came in by DATA and was not edited goes out as the very chunks that came.
    pub fn wire(&self, framing: Framing) -> Wire {
        self.inner.content.wire(framing)
    }

    /// The whole message in one piece: shared if it came in one and without stuffing, mapped if it is in a file, else
    /// copied, once.
    pub fn contiguous(&self) -> Result<Contiguous, MessageFault> {
        let derived = self.inner.derived();
        let whole = derived.contiguous.get_or_init(|| self.inner.assemble());
        Ok(Contiguous(whole.clone()?))
    }

    /// The tree of MIME parts. Parsed once, bodies decoded on demand.
    pub fn mime(&self) -> Result<Arc<Mime>, MessageFault> {
        if let Some(origin) = &self.inner.origin {
            return origin.mime();
        }
        let parse = || {
            let whole = self.contiguous()?;
            let mime = mime::parse(whole.bytes(), &self.inner.budget, &self.inner.limits);
            if mime.as_ref().is_err_and(|fault| !matches!(fault, MessageFault::Store(_))) {
                self.inner.budget.count_structure_fault();
            }
            if let Ok(mime) = &mime {
                let _ = self.inner.marks.set(mime.marks().to_vec());
            }
            mime.map(Arc::new)
        };
        self.inner.derived().mime.get_or_init(parse).clone()
    }

    /// What could not be read or unpacked of it, as far as somebody has had it looked into.
    pub fn marks(&self) -> Vec<Mark> {
        let mut marks = match &self.inner.origin {
            Some(origin) => origin.marks(),
            None => self.inner.marks.get().cloned().unwrap_or_default(),
        };
        if self.inner.has_hidden_hosts.get().is_some() && !marks.contains(&Mark::Excess) {
            marks.push(Mark::Excess);
        }
        marks
    }

    /// Bytes that work on its parts goes through, or, before anybody has looked, may go through.
    fn weight(&self) -> u64 {
        let derived = self.inner.derived();
        let unpacked = match (&self.inner.origin, derived.mime.get()) {
            (Some(origin), _) => return origin.weight().max(self.size()),
            (None, Some(Ok(mime))) => mime.unpacked(),
            (None, Some(Err(_))) => 0,
            (None, None) => self.size().saturating_mul(UNPACKED_PERHAPS),
        };
        self.size().saturating_add(unpacked)
    }

    /// URLs and bare domains of header fields and text parts, each once, in order; of very many, one for each host. Found
    /// once.
    pub fn urls(&self) -> Result<Arc<[Url]>, MessageFault> {
        let find = || {
            let (mime, budget) = (self.mime()?, &self.inner.budget);
            let body = mime.urls.get_or_init(|| url::of_parts(&mime, budget)).clone()?;
            let list = url::of_message(self.headers(), &body, budget)?;
            if list.is_cut && self.inner.limits.decoding.excess == Excess::Reject {
                budget.count_structure_fault();
                return Err(MessageFault::TooManyHosts(url::HOSTS));
            }
            if list.is_cut {
                let _ = self.inner.has_hidden_hosts.set(());
            }
            Ok(list)
        };
        self.inner.derived().urls.get_or_init(find).clone().map(|list| list.urls)
    }

    /// The subject, and the decoded text of text parts and text attachments; HTML without its markup. Made once.
    pub fn text_units(&self) -> Result<Arc<[TextUnit]>, MessageFault> {
        let make = || Ok(text::units(self.headers(), &*self.mime()?)?.into());
        self.inner.derived().texts.get_or_init(make).clone()
    }

    /// Does work that takes long with a large message, which then has a thread of its own so that other sessions go on, and
    /// gives pages back after it.
    ///
    /// # Errors
    ///
    /// When that thread ended without a result.
    pub async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, tokio::task::JoinError> {
        let work = move |message: &Self| {
            let done = work(message);
            message.release_pages();
            done
        };
        if self.weight() <= LARGE {
            return Ok(work(self));
        }
        let message = self.clone();
        let worker = tokio::task::spawn_blocking(move || work(&message));
        let _unless_given_up = AbortOnDrop(worker.abort_handle());
        worker.await
    }

    /// Gives memory back that holds bytes which are in files as well. To be called after work on the message.
    pub fn release_pages(&self) {
        self.inner.budget.release_pages();
    }

    /// Whether a disk failed since it began to arrive, so that what was read of it cannot be trusted. (Of any message: nobody
    /// knows who read the page.)
    pub fn is_damaged(&self) -> bool {
        fault::count() != self.inner.faults
    }

    /// Forgets what was made of it, and of the message that it was edited from: nobody is expected to ask again.
    pub fn forget_derived(&self) {
        *self.inner.derived.lock().unwrap_or_else(PoisonError::into_inner) = Arc::default();
        if let Some(origin) = &self.inner.origin {
            origin.forget_derived();
        }
    }

    /// The message with these edits, in order, all or none. Edits of the envelope are passed over.
    pub fn edited(&self, edits: &[Edit]) -> Result<Self, EditError> {
        let Some(change) = edit::apply(&self.inner.header, edits, &self.inner.budget)? else {
            return Ok(self.clone());
        };
        let inner = &self.inner;
        let origin = (!change.touches_mime).then(|| inner.origin.clone().unwrap_or_else(|| self.clone()));
        let body = match change.body {
            Some(bytes) => Body { separated: true, segment: Some(Segment::Plain(bytes)) },
            None => inner.body.clone(),
        };
        let mut content = Content::default();
        content.push(Segment::Plain(change.header.clone()));
        if body.separated {
            content.push(Segment::Plain(Bytes::from_static(b"\r\n")));
        }
        if let Some(segment) = &body.segment {
            content.push(segment.clone());
        }
        let header = HeaderSection::new(change.header);
        // What it was made from may have been read wrongly, so it counts faults from where that does.
        Ok(Self::new(content, header, body, &inner.budget, inner.limits, origin, inner.faults))
    }
}

impl Inner {
    fn derived(&self) -> Arc<Derived> {
        Arc::clone(&self.derived.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn assemble(&self) -> Result<Bytes, StoreError> {
        if let [segment] = self.content.segments() {
            match segment {
                Segment::Plain(bytes) => return Ok(bytes.clone()),
                Segment::Rope(rope, range) => {
                    complete_file(rope, &self.budget)?;
                    return rope.gather(range.clone(), &self.budget);
                }
            }
        }
        let mut copy = Accumulator::with_capacity(&self.budget, self.size);
        for piece in self.content.wire(Framing::Plain) {
            copy.push(&piece?)?;
        }
        copy.finish()
    }
}

/// Writes the tail of a spilled message without stuffing after what is in its file: then the file is the message. Where
/// there is no room for that, it will be copied.
fn complete_file(rope: &Rope, budget: &Budget) -> Result<(), StoreError> {
    let Some(file) = rope.file().filter(|_| !rope.is_stuffed()) else { return Ok(()) };
    let missing = rope.end().wire - file.len();
    if missing > 0
        && let Some(permit) = budget.disk(missing)
    {
        file.pay(permit);
        super::spill::blocking(|| rope.in_memory().try_for_each(|piece| file.append(piece)))?;
    }
    Ok(())
}

/// Work that has not begun when nobody waits for it any more is not done.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
