//! Bytes made from a message (a contiguous copy, a decoded part) while they are being made: in memory as long as its
//! share lasts, then in an unlinked file that is mapped in the end.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    StoreError,
    budget::{Budget, Held, Permit},
    spill::{SpillFile, blocking},
};

/// Bytes gathered before they are written to the file.
const BATCH: usize = 256 * 1024;

pub(super) struct Accumulator {
    budget: Budget,
    place: Place,
}

enum Place {
    Memory { bytes: Vec<u8>, permit: Option<Permit> },
    File { file: Arc<SpillFile>, batch: Vec<u8> },
}

impl Accumulator {
    pub(super) fn new(budget: &Budget) -> Self {
        Self { budget: budget.clone(), place: Place::Memory { bytes: Vec::new(), permit: None } }
    }

    /// As `new`, with room for `expected` bytes from the start, if memory has it.
    pub(super) fn with_capacity(budget: &Budget, expected: u64) -> Self {
        let mut new = Self::new(budget);
        if let Place::Memory { bytes, permit } = &mut new.place
            && let Ok(capacity) = usize::try_from(expected)
            && expected > 0
            && let Some(taken) = budget.memory_for_content(expected)
        {
            bytes.reserve_exact(capacity);
            *permit = Some(taken);
        }
        new
    }

    pub(super) fn push(&mut self, more: &[u8]) -> Result<(), StoreError> {
        if let Place::Memory { bytes, permit } = &mut self.place {
            if make_room(&self.budget, bytes, permit, more.len()) {
                bytes.extend_from_slice(more);
                return Ok(());
            }
            self.move_to_file()?;
        }
        let Place::File { file, batch } = &mut self.place else { return Ok(()) };
        for piece in more.chunks(BATCH) {
            batch.extend_from_slice(piece);
            if batch.len() >= BATCH {
                flush(&self.budget, file, batch)?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Bytes, StoreError> {
        match self.place {
            Place::Memory { permit: None, .. } => Ok(Bytes::new()),
            Place::Memory { mut bytes, permit: Some(mut permit) } => {
                if bytes.capacity() - bytes.len() > bytes.len() / 4 {
                    bytes.shrink_to_fit();
                }
                permit.shrink_to(bytes.capacity() as u64);
                Ok(Bytes::from_owner(Held { bytes, _permit: permit }))
            }
            Place::File { file, mut batch } => {
                flush(&self.budget, &file, &mut batch)?;
                file.map(file.len(), &self.budget)
            }
        }
    }

    fn move_to_file(&mut self) -> Result<(), StoreError> {
        let Place::Memory { bytes, permit } = &mut self.place else { return Ok(()) };
        let pay = self.budget.disk(bytes.len() as u64).ok_or(StoreError::Full)?;
        let file = blocking(|| {
            let file = SpillFile::create(&self.budget, pay)?;
            file.append(bytes)?;
            Ok::<_, StoreError>(file)
        })?;
        *bytes = Vec::new();
        *permit = None;
        self.place = Place::File { file: Arc::new(file), batch: Vec::new() };
        Ok(())
    }
}

/// Grows by doubling while the share allows it, else by what is needed.
fn make_room(budget: &Budget, bytes: &mut Vec<u8>, permit: &mut Option<Permit>, more: usize) -> bool {
    let needed = bytes.len() + more;
    let paid = permit.as_ref().map_or(0, Permit::amount);
    if needed as u64 <= paid {
        return true;
    }
    let missing = needed as u64 - paid;
    let generous = missing.max(paid);
    let mut take = |amount: u64| match permit {
        Some(permit) => budget.grow_for_content(permit, amount),
        None => {
            *permit = budget.memory_for_content(amount);
            permit.is_some()
        }
    };
    if !take(generous) && !take(missing) {
        return false;
    }
    let paid = permit.as_ref().map_or(0, Permit::amount);
    let capacity = usize::try_from(paid).unwrap_or(usize::MAX);
    bytes.reserve_exact(capacity - bytes.len());
    true
}

fn flush(budget: &Budget, file: &SpillFile, batch: &mut Vec<u8>) -> Result<(), StoreError> {
    file.pay(budget.disk(batch.len() as u64).ok_or(StoreError::Full)?);
    blocking(|| file.append(batch))?;
    batch.clear();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gather(memory: u64, disk: u64) -> Result<(Budget, Bytes), StoreError> {
        let budget = Budget::new(memory, disk, &std::env::temp_dir());
        let mut accumulator = Accumulator::new(&budget);
        for n in 0..200u8 {
            accumulator.push(&[n; 5000])?;
        }
        Ok((budget, accumulator.finish()?))
    }

    #[test]
    fn memory_then_file_then_full() {
        for (memory, disk) in [(1 << 30, 0), (100_000, 1 << 30), (0, 1 << 30)] {
            let (budget, bytes) = gather(memory, disk).unwrap();
            assert_eq!(bytes.len(), 1_000_000);
            assert!(bytes.chunks(5000).zip(0u8..).all(|(chunk, n)| chunk.iter().all(|&b| b == n)));
            assert_eq!(budget.in_memory() + budget.spilled(), 1_000_000, "{memory} {disk}");
            drop(bytes);
            assert_eq!(budget.in_memory() + budget.spilled(), 0);
        }
        assert!(matches!(gather(100_000, 100_000), Err(StoreError::Full)));
    }
}
