//! The contract's types and traits, generated from `sdk/wit`. Nothing else is in this file.
//!
//! A host function is async where it waits for something, or may work on a large message for long.

wasmtime::component::bindgen!({
    path: "../sdk/wit",
    world: "filter",
    imports: {
        "mailweir:filter/message.[method]mail.parts": async | trappable,
        "mailweir:filter/message.[method]mail.part-body": async | trappable,
        "mailweir:filter/message.[method]mail.part-text": async | trappable,
        "mailweir:filter/message.[method]mail.urls": async | trappable,
        "mailweir:filter/message": trappable,
        "mailweir:filter/observe": trappable,
        "mailweir:filter/state": trappable,
        default: async | trappable,
    },
    exports: { default: async },
    additional_derives: [PartialEq],
    with: {
        "mailweir:filter/message.mail": crate::host::resources::Mail,
        "mailweir:filter/scan.pattern-set": crate::host::resources::Patterns,
    },
});
