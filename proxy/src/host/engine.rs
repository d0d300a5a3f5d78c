//! The engine's settings.

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, ModuleVersionStrategy, OptLevel, PoolingAllocationConfig,
    Strategy, WasmBacktraceDetails,
};

use super::HostError;
use super::options::Options;

/// Elements of one table; what large components made from other languages need.
pub(super) const TABLE_ELEMENTS: usize = 20_000;
/// Linear memory of one sandbox at most, whatever the configuration says: what 32-bit addresses reach.
pub(super) const MEMORY_LIMIT: u64 = 4 << 30;
/// Core instances and tables that a component may be made of. Those of the usual tools are three and two: the filter
/// itself, a table of indirect calls, and what fills it.
pub(super) const CORE_INSTANCES: u32 = 4;
pub(super) const TABLES: u32 = 4;

/// Sandboxes alive at once, where the machine allows.
const SLOTS: u32 = 8192;
const SLOTS_AT_LEAST: u32 = 16;
/// Mappings that a sandbox may need: its memory in a few pieces, its stack, the guards between them.
const MAPPINGS_PER_SLOT: u32 = 8;

/// Stack of a filter, in bytes.
const GUEST_STACK: usize = 256 << 10;
/// Stack of a filter and the host functions that it calls, in bytes. Overrunning it would end the process, and of
/// what is not used only addresses are taken.
const FIBRE_STACK: usize = 2 << 20;
/// Bytes of a used linear memory that are cleared in place for the next sandbox instead of given back to the system.
const KEEP_RESIDENT: usize = 128 << 10;
/// The same of a used stack. The checks of sender authentication, which run on it, take 20 KiB; where a page beyond these is
/// used, each sandbox faults it in, and giving it back interrupts the other cores.
const STACK_KEEP_RESIDENT: usize = 24 << 10;

/// The engine, and how many sandboxes it has room for.
pub(super) fn build(options: Options) -> Result<(Engine, usize), HostError> {
    let mut slots = options.slots.unwrap_or_else(slots_of_this_machine).max(1);
    loop {
        match Engine::new(&settings(options, slots)) {
            Ok(engine) => return Ok((engine, slots as usize)),
            // Address space may be scarce, as under a ulimit: make do with less.
            Err(error) if slots <= SLOTS_AT_LEAST => return Err(HostError::Engine(format!("{error:#}"))),
            Err(_) => slots /= 2,
        }
    }
}

/// Identifies this build of mailweir, its wasmtime included, in compiled artifacts.
pub(super) fn build_id() -> String {
    format!(
        "mailweir {} wasmtime {} build {}",
        env!("CARGO_PKG_VERSION"),
        env!("MAILWEIR_WASMTIME"),
        env!("MAILWEIR_BUILD")
    )
}

fn settings(options: Options, slots: u32) -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .wasm_component_model(true)
        // Concurrent components would make each call several times dearer, and a filter is called one phase at a time.
        .concurrency_support(false)
        .epoch_interruption(true)
        .consume_fuel(options.fuel)
        .memory_init_cow(true)
        .max_wasm_stack(GUEST_STACK)
        .async_stack_size(FIBRE_STACK)
        // Not for secrecy: otherwise the pages that one call has touched stay with its place in the pool for ever.
        .async_stack_zeroing(true)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool(slots)));
    // The version string is far below the 255 bytes that are allowed.
    config.module_version(ModuleVersionStrategy::Custom(build_id())).expect("a short version string");
    config
}

fn pool(slots: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(CORE_INSTANCES))
        .max_core_instances_per_component(CORE_INSTANCES)
        .total_memories(slots)
        .max_memories_per_component(1)
        .max_memories_per_module(1)
        .max_memory_size(usize::try_from(MEMORY_LIMIT).unwrap_or(usize::MAX))
        .total_tables(slots.saturating_mul(TABLES))
        .max_tables_per_component(TABLES)
        .max_tables_per_module(TABLES)
        .table_elements(TABLE_ELEMENTS)
        .total_stacks(slots)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(16 << 10)
        .async_stack_keep_resident(STACK_KEEP_RESIDENT)
        // Where the kernel can tell which pages were touched (Linux 6.7), only those are cleared.
        .pagemap_scan(Enabled::Auto);
    pool
}

/// The system limits how many mappings a process has; half of them are left to everything else.
fn slots_of_this_machine() -> u32 {
    let mappings = std::fs::read_to_string("/proc/sys/vm/max_map_count")
        .ok()
        .and_then(|text| text.trim().parse::<u32>().ok())
        .unwrap_or(65_530);
    (mappings / MAPPINGS_PER_SLOT).clamp(SLOTS_AT_LEAST, SLOTS)
}
