#!/usr/bin/env bash
# Checks the tools that `make run` ("setup.sh build"), `make image` ("setup.sh image"), `make test`
# ("setup.sh test"), `make kind-up` ("setup.sh kind"), `make torture` ("setup.sh torture"), `make bench`
# ("setup.sh bench"), `make bench-path` ("setup.sh bench-path") or `make fuzz` ("setup.sh fuzz") needs, installs
# with apt-get what a root user lacks, and names the command for anybody else.
set -euo pipefail
cd "$(dirname "$0")/.."
deny_version=0.20.2

missing() { # what, how to get it
  echo "setup: $1 is missing: $2" >&2
  exit 1
}

package() { # program, Debian package that has it
  command -v "$1" >/dev/null || install "$1" "$2"
  command -v "$1" >/dev/null || missing "$1" "'apt-get install $2' did not bring it"
}

install() { # what is missing, Debian package that has it
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || missing "$1" "'sudo apt-get install $2'"
  echo "setup: installing $2" >&2
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qqy "$2"; } </dev/null >&2
}

package cc gcc
package curl curl
command -v cargo >/dev/null || missing cargo "install Rust with rustup: https://rustup.rs"
wanted=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
found=$(rustc --version 2>/dev/null | cut -d' ' -f2) || true
[ "$found" = "$wanted" ] || missing "Rust $wanted (found: ${found:-none})" "'rustup toolchain install $wanted'"
[ "${1:-test}" = build ] && exit

case "${1:-test}" in image | kind | test) package zstd zstd ;; esac
[ "${1:-test}" = image ] && exit

if [ "${1:-test}" = kind ]; then
  command -v docker >/dev/null || missing docker "install it: https://docs.docker.com/engine/install"
  docker version >/dev/null || missing "a Docker that runs" "'systemctl start docker', and membership of the group docker"
  command -v kind >/dev/null || missing kind "'go install sigs.k8s.io/kind@v0.33.0'"
  exit
fi

package ip iproute2
package nft nftables
package setpriv util-linux
[ "${1:-test}" = bench-path ] && exit
if [ "${1:-test}" = torture ]; then
  package haproxy haproxy
  exit
fi

if [ "${1:-test}" = bench ]; then
  package go golang-go
  package haproxy haproxy
  package nginx nginx-light
  # Debian's module, unless it is compiled in.
  nginx -V 2>&1 | grep -q -- '--with-stream\( \|$\)' ||
    [ -f /usr/lib/nginx/modules/ngx_stream_module.so ] || install "nginx's stream module" libnginx-mod-stream
  package taskset util-linux
  package tinyproxy tinyproxy-bin
  exit
fi

if [ "${1:-test}" = fuzz ]; then
  package c++ g++
  cargo +nightly --version >/dev/null 2>&1 || missing "Rust nightly" "'rustup toolchain install nightly'"
  cargo fuzz --version >/dev/null 2>&1 || missing cargo-fuzz "'cargo install --locked cargo-fuzz'"
  exit
fi

cargo fmt --version >/dev/null 2>&1 || missing rustfmt "'rustup component add rustfmt'"
cargo clippy --version >/dev/null 2>&1 || missing clippy "'rustup component add clippy'"
package flock util-linux
package go golang-go
# Clients of a CONNECT proxy.
package git git
package node nodejs
package socat socat
package ssh openssh-client
/usr/bin/python3 -c 'import requests' 2>/dev/null || install "requests of /usr/bin/python3" python3-requests
# From 1.21 on, Go fetches the toolchain that a go.mod asks for.
IFS=. read -r major minor _ <<<"$(go env GOVERSION | tr -d 'a-z')"
[ "$major" -gt 1 ] || [ "${minor%%[^0-9]*}" -ge 21 ] || missing "Go 1.21 or newer (found 1.$minor)" "install it from go.dev/dl"
if [ "$(id -u)" = 0 ]; then # Nodes of `make e2e`.
  package runc runc
  package nsenter util-linux
  [ -d /usr/lib/cni ] || [ -d /usr/libexec/cni ] || [ -d /opt/cni/bin ] || install "network plugins" containernetworking-plugins
  tests/cluster/nodes.sh >/dev/null
fi
command -v cargo-deny >/dev/null || cargo install --locked --version "$deny_version" cargo-deny </dev/null
tests/cluster/build.sh >/dev/null
tests/cluster/helm.sh >/dev/null
