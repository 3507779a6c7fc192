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

# Three nodes and a provider double in containers: built, founded, shown with a first message, left running.
testbed: release
    "${CARGO_TARGET_DIR:-target}/release/testbed" up

# Stops the testbed and removes everything that it was made of.
testbed-down:
    "${CARGO_TARGET_DIR:-target}/release/testbed" down

# The faults, or those named, each on a testbed of its own that is taken away again; prints the table.
testbed-faults *names: release
    "${CARGO_TARGET_DIR:-target}/release/testbed" faults {{names}}

# A million messages (or so many) over three real processes, and a kill of a leader every 20 s.
soak *messages: release
    "${CARGO_TARGET_DIR:-target}/release/testbed" soak {{messages}}

# The table of rates against a bare relay, measured in one run.
bench: release
    "${CARGO_TARGET_DIR:-target}/release/bench"

# The binary, and the programs that prove and measure it.
release:
    cargo build --release --workspace --bins

# A longer form (seeds, bugs, days, proofs, faults, soak), in parts that go on where a run was cut off; writes target/long/NAME.txt.
long name:
    cluster-tests/long.sh {{name}}

# What CI runs.
ci:
    .ci/run

# The simulation: so many seeds, each a cluster of its own in one process; names every seed that broke a promise.
sim count="1000":
    cargo run --release --quiet -p tidings-sim --features sim -- --seeds {{count}}

# One seed again, with everything that happened.
sim-seed seed:
    cargo run --release --quiet -p tidings-sim --features sim -- --seed {{seed}} --trace

# Days of 24 hours under one limit, with leaders that change; prints how much of the budget was used.
sim-day count="2":
    cargo run --release --quiet -p tidings-sim --features sim -- --day --seeds {{count}}

# How many seeds it takes to notice each planted bug.
sim-bugs:
    cargo run --release --quiet -p tidings-sim --features planted -- --bugs
