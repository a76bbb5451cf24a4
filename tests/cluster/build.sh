#!/usr/bin/env bash
# Builds `kube` (etcd and the Kubernetes programs that tests need) once per version of its sources
# and prints its path. The first build takes about 10 minutes; later calls only print.
set -euo pipefail
cd "$(dirname "$0")"

cache=${TCPFORWARD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tcpforward}
sources=$(cat main.go go.mod go.sum | sha256sum | cut -c1-16)
folder=$cache/kube-$sources
if [ -x "$folder/kube" ]; then
  echo "$folder/kube"
  exit
fi

if ! command -v go >/dev/null; then
  echo "tests/cluster/build.sh: Go is missing: install Go 1.26 or newer ('apt-get install golang-go' where it is that new, else from go.dev/dl)" >&2
  exit 1
fi

mkdir -p "$folder"
exec 9>"$folder/lock"
flock 9 # a second caller waits here and then finds the program
if [ ! -x "$folder/kube" ]; then
  echo "building kube (etcd and the Kubernetes programs); about 10 minutes the first time" >&2
  version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes) # such as v1.37.2
  IFS=. read -r _ minor _ <<<"$version"
  set_version=
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    set_version+=" -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=$minor"
  done
  CGO_ENABLED=0 go build -ldflags "-s -w$set_version" -o "$folder/kube.new" . >&2
  mv "$folder/kube.new" "$folder/kube"
fi
echo "$folder/kube"
