//! Handles of pattern sets that a filter got while it was configured.
//!
//! A component numbers its handles itself, from 1 on, and holds the numbers in its memory. So when the host hands over the
//! same sets again in the same order, before anything else, they have the numbers that the filter remembers. For that the
//! component gets one more function, which takes a set, keeps it, and tells its number.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use wasm_encoder::{
    Alias, CanonicalFunctionSection, CodeSection, ComponentAliasSection, ComponentExportKind, ComponentExportSection,
    ComponentSection, ComponentTypeSection, ComponentValType, ExportKind, ExportSection, Function, FunctionSection,
    InstanceSection, Module, ModuleArg, ModuleSection, PrimitiveValType, TypeSection, ValType,
};
use wasmparser::{CanonicalFunction, ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind, ExternalKind};
use wasmparser::{Parser, Payload};
use wasmtime::Store;
use wasmtime::component::{Component, ComponentExportIndex, Instance, Resource};

use crate::host::context::Context;
use crate::host::failure::HostFault;
use crate::host::resources::Patterns;
use crate::message::scan::PatternSet;

/// The interface and the resource that handles are of.
const INTERFACE: &str = "mailweir:filter/scan@0.1.0";
const RESOURCE: &str = "pattern-set";
/// The function that takes them.
const RESTORE: &str = "mailweir-restore";

/// The sets that a configured filter holds handles of, by number.
pub(in crate::host) struct Handles {
    sets: Vec<Arc<PatternSet>>,
    restore: Option<ComponentExportIndex>,
}

impl Handles {
    /// Handles for instances of this component; none when it cannot take them.
    pub(super) fn new(component: &Component, sets: Vec<Arc<PatternSet>>) -> Option<Self> {
        let restore = component.get_export_index(None, RESTORE);
        (sets.is_empty() || restore.is_some()).then_some(Self { sets, restore })
    }

    /// Gives them to a new instance.
    ///
    /// # Errors
    ///
    /// When one gets another number than it had.
    pub(in crate::host) async fn restore(
        &self,
        store: &mut Store<Context>,
        instance: &Instance,
    ) -> wasmtime::Result<()> {
        let Some(restore) = self.restore.as_ref().filter(|_| !self.sets.is_empty()) else { return Ok(()) };
        let restore = instance.get_typed_func::<(Resource<Patterns>,), (u32,)>(&mut *store, restore)?;
        for (number, set) in (1..).zip(&self.sets) {
            let set = store.data_mut().table.push(Patterns(Arc::clone(set)))?;
            if restore.call_async(&mut *store, (set,)).await? != (number,) {
                return Err(HostFault::Misuse("a handle has another number than when it was configured").into());
            }
        }
        Ok(())
    }
}

/// How many things of each kind the outermost component defines, which is the index of the next.
#[derive(Default)]
struct Indices {
    types: u32,
    instances: u32,
    functions: u32,
    core_modules: u32,
    core_instances: u32,
    core_functions: u32,
    /// The imported interface.
    interface: Option<u32>,
}

/// The component with the function that takes handles.
pub(super) fn with_restore(component: &[u8]) -> Result<Vec<u8>> {
    let indices = Indices::of(component)?;
    let instance = indices.interface.context("it has handles of an interface that it does not import")?;
    let mut restored = component.to_vec();
    let mut add = |section: &dyn ComponentSection| section.append_to_component(&mut restored);

    let mut resource = ComponentAliasSection::new();
    resource.alias(Alias::InstanceExport { instance, kind: ComponentExportKind::Type, name: RESOURCE });
    add(&resource);
    let (resource, own, signature) = (indices.types, indices.types + 1, indices.types + 2);
    add(&ModuleSection(&identity()));
    let mut instances = InstanceSection::new();
    instances.instantiate(indices.core_modules, Vec::<(&str, ModuleArg)>::new());
    add(&instances);
    let mut function = ComponentAliasSection::new();
    let core = indices.core_instances;
    function.alias(Alias::CoreInstanceExport { instance: core, kind: ExportKind::Func, name: RESTORE });
    add(&function);
    let mut types = ComponentTypeSection::new();
    types.defined_type().own(resource);
    types
        .function()
        .params([("set", ComponentValType::Type(own))])
        .result(Some(ComponentValType::Primitive(PrimitiveValType::U32)));
    add(&types);
    let mut lift = CanonicalFunctionSection::new();
    lift.lift(indices.core_functions, signature, []);
    add(&lift);
    let mut exports = ComponentExportSection::new();
    exports.export(RESTORE, ComponentExportKind::Func, indices.functions, None);
    add(&exports);
    Ok(restored)
}

/// A module with a function that returns what it is given.
fn identity() -> Module {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32], [ValType::I32]);
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut exports = ExportSection::new();
    exports.export(RESTORE, ExportKind::Func, 0);
    let mut body = Function::new([]);
    body.instructions().local_get(0).end();
    let mut code = CodeSection::new();
    code.function(&body);
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&exports).section(&code);
    module
}

impl Indices {
    fn of(component: &[u8]) -> Result<Self> {
        let mut indices = Self::default();
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(component) {
            let payload = payload?;
            if depth == 0 {
                indices.count(&payload)?;
            }
            match payload {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        Ok(indices)
    }

    fn count(&mut self, payload: &Payload<'_>) -> Result<()> {
        match payload {
            Payload::ModuleSection { .. } => self.core_modules += 1,
            Payload::InstanceSection(section) => self.core_instances += section.count(),
            Payload::ComponentInstanceSection(section) => self.instances += section.count(),
            Payload::ComponentTypeSection(section) => self.types += section.count(),
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    let import = import?;
                    if import.name.name == INTERFACE {
                        self.interface = Some(self.instances);
                    }
                    self.define(import.ty.kind());
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone() {
                    self.define(export?.kind);
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.clone() {
                    match alias? {
                        ComponentAlias::InstanceExport { kind, .. } => self.define(kind),
                        ComponentAlias::CoreInstanceExport { kind: ExternalKind::Func, .. } => self.core_functions += 1,
                        ComponentAlias::Outer { kind: ComponentOuterAliasKind::Type, .. } => self.types += 1,
                        ComponentAlias::Outer { kind: ComponentOuterAliasKind::CoreModule, .. } => {
                            self.core_modules += 1;
                        }
                        _ => {}
                    }
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                for function in section.clone() {
                    match function? {
                        CanonicalFunction::Lift { .. } => self.functions += 1,
                        _ => self.core_functions += 1,
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn define(&mut self, kind: ComponentExternalKind) {
        match kind {
            ComponentExternalKind::Type => self.types += 1,
            ComponentExternalKind::Instance => self.instances += 1,
            ComponentExternalKind::Func => self.functions += 1,
            ComponentExternalKind::Module => self.core_modules += 1,
            ComponentExternalKind::Component | ComponentExternalKind::Value => {}
        }
    }
}
