//! What a filter exports: where each function stands in its component, found when the plugin is loaded.

use wasmtime::AsContextMut;
use wasmtime::component::{
    Component, ComponentExportIndex, ComponentType, Instance, Lower, Resource, ResourceAny, TypedFunc,
};

use super::bindings::mailweir::filter::types::{Decision, Edit, Plan};
use super::interfaces::HANDLER;
use super::resources::Mail;

/// The contract's record of a session, borrowed: it is written into a filter's memory straight from the facts.
#[derive(Debug, ComponentType, Lower)]
#[component(record)]
pub(super) struct Session<'a> {
    pub(super) id: &'a str,
    pub(super) listener: &'a str,
    pub(super) hostname: &'a str,
    #[component(name = "client-address")]
    pub(super) client_address: &'a str,
    #[component(name = "client-port")]
    pub(super) client_port: u16,
    pub(super) helo: &'a [u8],
    pub(super) tls: Option<TlsSession<'a>>,
    pub(super) trusted: bool,
}

/// The contract's record of a TLS session, borrowed.
#[derive(Debug, ComponentType, Lower)]
#[component(record)]
pub(super) struct TlsSession<'a> {
    pub(super) version: &'a str,
    #[component(name = "cipher-suite")]
    pub(super) cipher_suite: &'a str,
    #[component(name = "server-name")]
    pub(super) server_name: Option<&'a str>,
}

/// For each function: its name here, its name in the contract, what it takes and what it gives.
macro_rules! functions {
    ($($name:ident $export:literal ($($parameter:ty),*) -> ($($result:ty)?);)*) => {
        /// The functions of one component.
        pub(super) struct Functions {
            $($name: ComponentExportIndex,)*
        }

        impl<'a> Functions {
            /// Finds the functions, without a look at their types; none when one is missing.
            pub(super) fn of(component: &Component) -> Option<Self> {
                let handler = component.get_export_index(None, HANDLER)?;
                Some(Self { $($name: component.get_export_index(Some(&handler), $export)?,)* })
            }

            /// Compares the types of all functions with those that they are called with.
            ///
            /// # Errors
            ///
            /// When one differs.
            pub(super) fn check(
                self,
                mut store: impl AsContextMut,
                instance: &Instance,
            ) -> wasmtime::Result<Checked> {
                $(instance.get_typed_func::<($($parameter,)*), ($($result,)?)>(&mut store, &self.$name)?;)*
                Ok(Checked(self))
            }
        }

        impl<'a> Checked {
            $(
                /// The function in one instance of the component; none in an instance of another.
                pub(super) fn $name(
                    &self,
                    store: impl AsContextMut,
                    instance: &Instance,
                ) -> Option<TypedFunc<($($parameter,)*), ($($result,)?)>> {
                    let function = instance.get_func(store, &self.0.$name)?;
                    // SAFETY: the function must have this type. `check` has compared it for an instance of the same
                    // component; the index leads nowhere in any other. Comparing again costs as much as the call.
                    Some(unsafe { TypedFunc::new_unchecked(function) })
                }
            )*
        }
    };
}

/// Functions whose types were compared.
pub(super) struct Checked(Functions);

functions! {
    configure "configure" (&'a str) -> (Result<Plan, String>);
    constructor "[constructor]transaction" (Session<'a>) -> (ResourceAny);
    on_connect "[method]transaction.on-connect" (ResourceAny) -> (Decision);
    on_helo "[method]transaction.on-helo" (ResourceAny, &'a [u8]) -> (Decision);
    on_mail "[method]transaction.on-mail" (ResourceAny, &'a [u8]) -> (Decision);
    on_rcpt "[method]transaction.on-rcpt" (ResourceAny, &'a [u8]) -> (Decision);
    on_headers "[method]transaction.on-headers" (ResourceAny, Resource<Mail>) -> (Decision);
    on_body "[method]transaction.on-body" (ResourceAny, &'a [u8]) -> (Option<Decision>);
    on_end "[method]transaction.on-end" (ResourceAny, Resource<Mail>) -> ((Decision, Vec<Edit>));
    on_abort "[method]transaction.on-abort" (ResourceAny) -> ();
}
