//! Native services behind the host interfaces: DNS, sender authentication, virus scanning and state that outlives a
//! message. Nothing here knows of WebAssembly; `host` maps these types onto the contract's.

pub mod dns;
pub mod authentication;
pub mod antivirus;
pub mod state;
