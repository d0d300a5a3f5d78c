#!/bin/sh
# A RUSTC_WRAPPER: instruments the crates of this repository, and no other. Instrumented, wasmtime alone takes longer to
# build than all the rest, and the fuzzer would follow its branches instead of ours.
here=$(cd "$(dirname "$0")/.." && pwd)
rustc=$1
shift
case "${CARGO_MANIFEST_DIR-}" in
"$here"/*) ;;
*)
    for argument; do
        shift
        case "$argument" in
        -Cpasses=sancov-module) ;;
        *) set -- "$@" "$argument" ;;
        esac
    done
    ;;
esac
exec "$rustc" "$@"
