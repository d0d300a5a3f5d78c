//! Standard error, written in batches: a busy edge logs thousands of lines a second, and a system call for each costs as
//! much as much of its message does.
//!
//! A line waits for [`PATIENCE`] at most. Warnings and errors, and whatever is before them, are written at once, so that
//! the last words of a process that is about to die are there. When nobody reads what is written, whoever logs waits, as
//! with any blocking output: lines are neither dropped nor piled up.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// How long a line may wait for others.
const PATIENCE: Duration = Duration::from_millis(20);
/// Bytes that are not kept waiting.
const BATCH: usize = 64 * 1024;

/// The output of this process, once there is one.
static OUTPUT: OnceLock<Arc<Batches<io::Stderr>>> = OnceLock::new();

/// Lines on their way to an output.
pub(super) struct Batches<O> {
    waiting: Mutex<Vec<u8>>,
    /// Lines wait that did not before.
    began: Condvar,
    /// Held while a batch is written, and taken before `waiting` is emptied: batches keep their order.
    output: Mutex<O>,
}

/// Gives each event its way into the batch.
#[derive(Clone)]
pub(super) struct Batched<O>(Arc<Batches<O>>);

/// One event's way into the batch.
pub(super) struct Entry<'a, O: Write> {
    batches: &'a Batches<O>,
    is_urgent: bool,
}

/// Standard error, with a thread that writes what waits. Without that thread, nothing waits.
pub(super) fn standard_error() -> Option<Batched<io::Stderr>> {
    let batches = Arc::clone(OUTPUT.get_or_init(|| Arc::new(Batches::new(io::stderr()))));
    let writing = Arc::clone(&batches);
    let thread = std::thread::Builder::new().name("log".to_owned()).spawn(move || writing.write_for_ever());
    thread.ok().map(|_| Batched(batches))
}

/// Writes what waits; for the end of the process.
pub(super) fn flush() {
    if let Some(batches) = OUTPUT.get() {
        batches.write();
    }
}

impl<O: Write> Batches<O> {
    fn new(output: O) -> Self {
        Self { waiting: Mutex::default(), began: Condvar::new(), output: Mutex::new(output) }
    }

    #[expect(clippy::disallowed_methods, reason = "the thread has nothing else to do")]
    fn write_for_ever(&self) {
        loop {
            drop(self.began.wait_while(self.waiting(), |waiting| waiting.is_empty()));
            std::thread::sleep(PATIENCE);
            self.write();
        }
    }

    fn write(&self) {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        let batch = std::mem::take(&mut *self.waiting());
        // There is nobody to tell that the log cannot be written.
        let _ = output.write_all(&batch);
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<u8>> {
        // A line is added whole or not at all.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a, O: Write + 'a> MakeWriter<'a> for Batched<O> {
    type Writer = Entry<'a, O>;

    fn make_writer(&'a self) -> Self::Writer {
        Entry { batches: &self.0, is_urgent: true }
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Self::Writer {
        Entry { batches: &self.0, is_urgent: *event.level() <= Level::WARN }
    }
}

impl<O: Write> Write for Entry<'_, O> {
    /// Takes a whole event.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let mut waiting = self.batches.waiting();
        if waiting.is_empty() {
            self.batches.began.notify_one();
        }
        waiting.extend_from_slice(event);
        if self.is_urgent || waiting.len() >= BATCH {
            drop(waiting);
            self.batches.write();
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Writes(Arc<Mutex<Vec<String>>>);

    impl Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().push(String::from_utf8(bytes.to_vec()).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn batched() -> (Batched<Writes>, Writes) {
        let writes = Writes::default();
        (Batched(Arc::new(Batches::new(writes.clone()))), writes)
    }

    #[test]
    fn lines_wait_for_one_another_and_none_waits_when_it_is_urgent() {
        let (batched, writes) = batched();
        let log = |is_urgent, text: &str| {
            Entry { batches: &batched.0, is_urgent }.write_all(text.as_bytes()).unwrap();
        };
        log(false, "one\n");
        log(false, "two\n");
        assert!(writes.0.lock().unwrap().is_empty());
        log(true, "three\n");
        log(false, "four\n");
        assert_eq!(*writes.0.lock().unwrap(), ["one\ntwo\nthree\n"]);
        batched.0.write();
        assert_eq!(*writes.0.lock().unwrap(), ["one\ntwo\nthree\n", "four\n"]);
    }

    #[test]
    fn what_waits_is_bounded() {
        let (batched, writes) = batched();
        let line = "x".repeat(1023) + "\n";
        for _ in 0..BATCH / line.len() {
            Entry { batches: &batched.0, is_urgent: false }.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(writes.0.lock().unwrap().len(), 1);
        assert!(batched.0.waiting().is_empty());
    }

    #[test]
    fn a_thread_writes_what_nobody_adds_to() {
        let (batched, writes) = batched();
        let batches = Arc::clone(&batched.0);
        std::thread::spawn(move || batches.write_for_ever());
        Entry { batches: &batched.0, is_urgent: false }.write_all(b"alone\n").unwrap();
        while writes.0.lock().unwrap().is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(*writes.0.lock().unwrap(), ["alone\n"]);
    }
}
