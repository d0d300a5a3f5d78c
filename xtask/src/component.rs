//! From a core module to a component that mailweir can load.

use anyhow::{Context as _, Result, bail, ensure};
use wit_component::{ComponentEncoder, DecodedWasm};

/// The package of the contract, as it begins the name of each interface.
const PACKAGE: &str = "mailweir:filter/";

/// A component and what it needs from the host.
#[derive(Debug)]
pub(crate) struct Component {
    /// The binary.
    pub(crate) bytes: Vec<u8>,
    /// The host interfaces it imports, without package and version, in order.
    pub(crate) imports: Vec<String>,
}

impl Component {
    /// Make a component of a core module that was built with the SDK.
    pub(crate) fn from_module(module: &[u8]) -> Result<Self> {
        let bytes = ComponentEncoder::default()
            .validate(true)
            .module(module)
            .context("the module does not carry the filter contract: is mailweir_filter::export! in it?")?
            .encode()
            .context("the module does not fit the filter contract")?;
        let imports = interfaces(&bytes)?;
        Ok(Self { bytes, imports })
    }

    /// The interfaces that the configuration has to grant.
    pub(crate) fn grants(&self) -> impl Iterator<Item = &str> {
        let always = ["types", "message", "observe"];
        self.imports.iter().map(String::as_str).filter(move |name| !always.contains(name))
    }
}

/// The names of the imported interfaces. Anything but ours, such as WASI, is refused here, because mailweir would refuse
/// it later.
fn interfaces(component: &[u8]) -> Result<Vec<String>> {
    let DecodedWasm::Component(resolve, world) = wit_component::decode(component)? else {
        bail!("not a component");
    };
    let world = &resolve.worlds[world];
    let name = |key| resolve.name_world_key(key);
    ensure!(
        world.exports.keys().any(|key| name(key).starts_with("mailweir:filter/handler@")),
        "the component does not export the filter contract's handler"
    );
    let imports = world.imports.keys().map(|key| {
        let full = name(key);
        let ours = full.strip_prefix(PACKAGE).and_then(|rest| rest.split('@').next()).map(str::to_owned);
        ours.with_context(|| format!("it imports {full}; a filter can import nothing but the interfaces of {PACKAGE}"))
    });
    imports.collect()
}
