//! What a filter asks for. A phase that no filter asks for costs nothing.

pub use crate::bindings::mailweir::filter::types::{BodyMode, Phases, Plan};

impl Plan {
    /// Nothing yet: no phase, no body, no edits.
    pub fn new() -> Self {
        Self { phases: Phases::empty(), body: BodyMode::None, max_body: 0, edits: false }
    }

    /// Call `on_connect`.
    #[must_use]
    pub fn on_connect(self) -> Self {
        self.phase(Phases::CONNECT)
    }

    /// Call `on_helo`.
    #[must_use]
    pub fn on_helo(self) -> Self {
        self.phase(Phases::HELO)
    }

    /// Call `on_mail`.
    #[must_use]
    pub fn on_mail(self) -> Self {
        self.phase(Phases::MAIL)
    }

    /// Call `on_rcpt`.
    #[must_use]
    pub fn on_rcpt(self) -> Self {
        self.phase(Phases::RCPT)
    }

    /// Call `on_headers`.
    #[must_use]
    pub fn on_headers(self) -> Self {
        self.phase(Phases::HEADERS)
    }

    /// Call `on_end`, with the body on demand through [`Mail`](crate::Mail) unless a push mode was chosen.
    #[must_use]
    pub fn on_end(mut self) -> Self {
        if self.body == BodyMode::None {
            self.body = BodyMode::Pull;
        }
        self.phase(Phases::END_OF_MESSAGE)
    }

    /// Call `on_abort`.
    #[must_use]
    pub fn on_abort(self) -> Self {
        self.phase(Phases::ABORT)
    }

    /// Call `on_body` with the decoded text of the text parts once the message is whole: `max` bytes of it at most, 0
    /// for all. Dearer than asking the host for what is needed in `on_end`.
    #[must_use]
    pub fn push_text(self, max: u64) -> Self {
        self.push(BodyMode::PushDecodedText, max)
    }

    /// Call `on_body` with the message as it arrives, header section included: `max` bytes of it at most, 0 for all.
    #[must_use]
    pub fn push_raw(self, max: u64) -> Self {
        self.push(BodyMode::PushRaw, max)
    }

    /// `on_end` may return edits.
    #[must_use]
    pub fn edits(mut self) -> Self {
        self.edits = true;
        self
    }

    /// Whether it asks for this phase.
    pub fn asks_for(&self, phase: Phases) -> bool {
        self.phases & phase == phase
    }

    fn phase(mut self, phase: Phases) -> Self {
        self.phases = self.phases | phase;
        self
    }

    fn push(mut self, mode: BodyMode, max: u64) -> Self {
        self.body = mode;
        self.max_body = max;
        self.phase(Phases::BODY)
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self::new()
    }
}
