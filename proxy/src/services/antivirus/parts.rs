//! The parts of a message that are scanned by themselves: those whose bytes do not stand in the message as they are, that
//! not everybody finds there, or that a client saves as a file, which a scanner may judge by its beginning.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::message::{Mark, Message, MessageFault, Mime, Part};

/// One of them.
pub(super) struct Decoded {
    mime: Arc<Mime>,
    index: usize,
}

impl Decoded {
    /// As the report names it.
    pub(super) fn name(&self) -> String {
        let name = self.mime.parts().get(self.index).and_then(|part| part.name());
        name.map_or_else(|| format!("part {}", self.index), str::to_owned)
    }

    pub(super) async fn bytes(&self, message: &Message) -> Result<Bytes, String> {
        let (mime, index) = (Arc::clone(&self.mime), self.index);
        work(message, move |_| Ok(mime.parts().get(index).map_or(Ok(Bytes::new()), |part| part.body())?)).await
    }
}

/// The parts to be scanned, each content once.
pub(super) async fn of(message: &Message) -> Result<Vec<Decoded>, String> {
    let find = |message: &Message| {
        let mime = message.mime()?;
        let mut known = HashSet::new();
        let mut found = Vec::new();
        let is_ambiguous = mime.marks().contains(&Mark::Ambiguous);
        let is_scanned = |part: &Part| part.is_decoded() || part.name().is_some() || is_ambiguous;
        for (index, part) in mime.parts().iter().enumerate().filter(|(_, part)| is_scanned(part)) {
            let body = part.body()?;
            if !body.is_empty() && known.insert((body.as_ptr() as usize, body.len())) {
                found.push(Decoded { mime: Arc::clone(&mime), index });
            }
        }
        Ok(found)
    };
    work(message, find).await
}

async fn work<T: Send + 'static>(
    message: &Message,
    work: impl FnOnce(&Message) -> Result<T, MessageFault> + Send + 'static,
) -> Result<T, String> {
    let outcome = message.work(work).await.map_err(|error| error.to_string())?;
    outcome.map_err(|fault| format!("the parts of the message cannot be had: {fault}"))
}
