# What people type. CI runs .ci/run, which does the same and more without needing just.

# Everything a change must pass; writes nothing but target/.
verify:
    cargo fmt --all --check
    rustfmt --edition 2024 --config-path . --check channels/src/providers/*.rs
    cargo clippy --workspace --all-targets -- -D warnings
    cargo test --workspace

# Repairs what can be repaired by itself.
fix:
    cargo fmt --all
    cargo clippy --workspace --all-targets --fix --allow-dirty

# The proofs against real release processes: all of them, or those named.
proof *names: release
    "${CARGO_TARGET_DIR:-target}/release/proof" {{names}}

# The table of rates against a bare relay, measured in one run.
bench: release
    "${CARGO_TARGET_DIR:-target}/release/bench"

# The binary, and the programs that prove and measure it.
release:
    cargo build --release --workspace --bins

# What CI runs.
ci:
    .ci/run

# The simulation: so many seeds, each a cluster of its own in one process; names every seed that broke a promise.
sim count="1000":
    cargo run --release --quiet -p tidings-sim --features sim -- --seeds {{count}}

# One seed again, with everything that happened.
sim-seed seed:
    cargo run --release --quiet -p tidings-sim --features sim -- --seed {{seed}} --trace

# How many seeds it takes to notice each planted bug.
sim-bugs:
    cargo run --release --quiet -p tidings-sim --features planted -- --bugs
