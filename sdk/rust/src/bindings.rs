//! What `wit-bindgen` makes of the contract in `sdk/wit`. The rest of the crate gives it a friendlier face; the types
//! are used as they are, so that the contract has one copy.

wit_bindgen::generate!({
    path: "../wit",
    world: "filter",
    pub_export_macro: true,
    default_bindings_module: "mailweir_filter::bindings",
    additional_derives: [PartialEq],
});
