#!/usr/bin/env bash
# image.sh FOLDER: builds the images tidings:testbed and tidings-receiver:testbed out of the programs in FOLDER (a cargo
# profile's folder, such as target/release) and the libraries that they are linked with. Pulls nothing.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
programs="$1"
# The cipher of the peer port and the processes that fill templates apart took the program over 50 MB.
most=52000000 # bytes

context="$(mktemp -d)"
trap 'rm -rf "$context"' EXIT
mkdir -p "$context/data"
for program in tidings testbed; do
    root="$context/$program"
    mkdir -p "$root/bin" "$root/tmp" "$root/etc/ssl/certs" "$root/etc/tidings"
    strip -o "$root/bin/$program" "$programs/$program"
    # ldd names a library as `name => /path (…)`, and the loader as `/path (…)`.
    ldd "$programs/$program" | grep -o '/[^ ]*' | while read -r library; do
        (cd / && cp -L --parents "${library#/}" "$root")
    done
    # Whom providers' certificates are checked against.
    if [ -r /etc/ssl/certs/ca-certificates.crt ]; then
        cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
    fi
    chmod -R go=u-w "$root"
done
docker build --quiet --target node --tag "${TIDINGS_IMAGE:-tidings:testbed}" --file "$here/Dockerfile" "$context" >/dev/null
docker build --quiet --target receiver --tag "${TIDINGS_RECEIVER_IMAGE:-tidings-receiver:testbed}" \
    --file "$here/Dockerfile" "$context" >/dev/null
size="$(docker image inspect --format '{{.Size}}' "${TIDINGS_IMAGE:-tidings:testbed}")"
echo "image ${TIDINGS_IMAGE:-tidings:testbed}: $size bytes"
# Only what is released must be small; a binary of the dev profile is not.
if [[ "$programs" == */release* ]] && [ "$size" -gt "$most" ]; then
    echo "that is more than $most bytes" >&2
    exit 1
fi
