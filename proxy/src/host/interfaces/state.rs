//! `state`: values that outlive a message, of this plugin alone.

use crate::host::bindings::mailweir::filter::state::Host;
use crate::host::context::Context;
use crate::host::failure::HostFault;
use crate::services::state::TTL_LIMIT;

impl Host for Context {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        self.limits.host_call()?;
        let value = self.facilities.namespace.get(&key).map(|value| value.to_vec());
        self.hand_over(value.as_ref().map_or(0, Vec::len));
        Ok(value)
    }

    fn set(&mut self, key: String, value: Vec<u8>, ttl_seconds: u32) -> wasmtime::Result<()> {
        self.limits.host_call()?;
        let set = self.facilities.namespace.set(&key, &value, ttl_seconds.min(TTL_LIMIT));
        Ok(set.map_err(|refused| HostFault::Refused(format!("state.set: {refused}")))?)
    }

    fn increment(&mut self, key: String, by: u32, window_seconds: u32) -> wasmtime::Result<u64> {
        self.limits.host_call()?;
        let sum = self.facilities.namespace.increment(&key, by, window_seconds.min(TTL_LIMIT));
        Ok(sum.map_err(|refused| HostFault::Refused(format!("state.increment: {refused}")))?)
    }
}
