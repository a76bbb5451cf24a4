#!/usr/bin/env bash
# Builds what nodes of a cluster need beside Kubernetes, once per version, and prints the folder that
# holds it: containerd with its shim and ctr, and CoreDNS. runc, the network plugins and nft come from
# the system. The first build takes about 5 minutes.
set -euo pipefail
cd "$(dirname "$0")"
containerd=v2.4.2 coredns=v1.14.3

cache=${TCPFORWARD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tcpforward}
folder=$cache/nodes-$containerd-$coredns
[ -f "$folder/built" ] && echo "$folder" && exit

if ! command -v go >/dev/null; then
  echo "tests/cluster/nodes.sh: Go is missing: install Go 1.26 or newer ('apt-get install golang-go' where it is that new, else from go.dev/dl)" >&2
  exit 1
fi

mkdir -p "$folder"
exec 9>"$folder/lock"
flock 9 # a second caller waits here and then finds the programs
if [ ! -f "$folder/built" ]; then
  echo "building containerd and CoreDNS; about 5 minutes the first time" >&2
  export CGO_ENABLED=0 GOBIN=$folder
  go install -ldflags '-s -w' github.com/containerd/containerd/v2/cmd/{containerd,containerd-shim-runc-v2,ctr}@$containerd >&2
  go install -ldflags '-s -w' github.com/coredns/coredns@$coredns >&2
  touch "$folder/built"
fi
echo "$folder"
