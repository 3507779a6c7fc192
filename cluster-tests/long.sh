#!/usr/bin/env bash
# The longer forms of the proofs, in parts: `just long NAME`. Parts that have passed on this commit are not run again, so a run
# that was cut off goes on where it stopped. The result is a file: date, commit, command and last line of each part.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target="${CARGO_TARGET_DIR:-target}"

usage() {
    printf 'usage: just long NAME\n'
    printf '  seeds    10,000 lives of the simulation, in blocks of 500     (30 to 60 min)\n'
    printf '  bugs     every planted bug, within its number of seeds        (5 to 15 min)\n'
    printf '  days     four days of 24 hours under one limit                (5 min)\n'
    printf '  proofs   every proof against real processes, in full          (15 to 25 min)\n'
    printf '  faults   every fault on the testbed                           (10 to 15 min)\n'
    printf '  soak     a million messages, a leader killed every 20 s       (10 min)\n'
    exit 2
}

# The commands of a form, one a line.
parts() {
    case "$1" in
    seeds) for from in $(seq 1 500 9501); do echo "$target/release/sim --seeds 500 --from $from"; done ;;
    bugs) echo "$target/release/sim --bugs" ;;
    days) for from in 1 3; do echo "$target/release/sim --day --seeds 2 --from $from"; done ;;
    proofs) echo "$target/release/proof" ;;
    faults) echo "$target/release/testbed faults" ;;
    soak) echo "$target/release/testbed soak" ;;
    *) return 1 ;;
    esac
}

build() {
    case "$1" in
    seeds | bugs | days) cargo build --quiet --release -p tidings-sim --features planted ;;
    *) cargo build --quiet --release -p tidings-node -p tidings-cluster-tests --bins ;;
    esac
}

name="${1:-}"
parts "$name" >/dev/null || usage
commit="$(git rev-parse HEAD)"
if [ -n "$(git status --porcelain)" ]; then commit="$commit with changes"; fi
folder="$target/long"
result="$folder/$name.txt"
mkdir -p "$folder"
# What another commit has passed says nothing of this one.
if ! grep -qxF "commit: $commit" "$result" 2>/dev/null; then printf 'commit: %s\n' "$commit" >"$result"; fi

build "$name"
failed=0
while read -r command; do
    if grep -qF "| $command | passed |" "$result"; then continue; fi
    if $command >"$folder/$name.log" 2>&1; then verdict=passed; else verdict=FAILED failed=1; fi
    printf '%s | %s | %s | %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$command" "$verdict" "$(tail -n 1 "$folder/$name.log")" | tee -a "$result"
    if [ "$verdict" = FAILED ]; then cp "$folder/$name.log" "$folder/$name.failed.log"; fi
done < <(parts "$name")
printf 'the result is in %s\n' "$result"
exit $failed
