//! What a host is made with.

use crate::services::antivirus::Clamd;
use crate::services::dns::Dns;
use crate::services::state::StateStore;

/// How the engine is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Count fuel, so that a filter's cost comes out the same at every run. Slows filters down: for replay.
    pub fuel: bool,
    /// Sandboxes alive at once, at most; None: as many as the machine has room for, up to 8192. Each takes 4 GiB of
    /// address space, not of memory.
    pub slots: Option<u32>,
    /// Compile plugins in a process of their own, this program's `compile` command: the compiler takes a hundred MiB, and
    /// the memory would not come back as a whole. Needs a cache folder.
    pub separate_compiler: bool,
    /// Call `configure` in every sandbox, although a copy of the memory that it left would do: making that takes another
    /// compilation, seconds for a large filter. What the copy would have spared counts neither as cost nor against limits.
    /// For commands that serve few messages, and for comparisons.
    pub configure_each: bool,
}

/// The native services behind the interfaces that need a grant.
#[derive(Clone)]
pub struct Services {
    /// For `dns`.
    pub dns: Option<Dns>,
    /// For `antivirus`.
    pub clamd: Option<Clamd>,
    /// For `state`.
    pub state: StateStore,
}
