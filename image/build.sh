#!/usr/bin/env bash
# Builds the programs of the image, linked statically, and packs them into target/image/tcpforward.tar.
# Prints the image's name, digest and size.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(rustc -vV | sed -n 's/^host: //p')
case $target in
  *-unknown-linux-gnu) ;;
  *)
    echo "image/build.sh: the image is built on Linux with glibc, not on $target: use the Dockerfile" >&2
    exit 1
    ;;
esac
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)

# With --target, RUSTFLAGS are for the programs alone: build scripts and proc macros can't be static.
RUSTFLAGS='-C target-feature=+crt-static' cargo build --locked --profile image --target "$target" \
  --package tcpforward-operator --package tcpforward-dataplane --package tcpforward --bins >&2
mkdir -p target/image
image/pack.sh "target/$target/image" "${target%%-*}" "${IMAGE:-tcpforward:$version}" target/image/tcpforward.tar
