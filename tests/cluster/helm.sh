#!/usr/bin/env bash
# Builds helm once per version and prints its path. The first build takes a few minutes.
set -euo pipefail
version=v3.22.0
kubernetes=37 # the minor version that `helm template` takes a cluster to have: that of its client

cache=${TCPFORWARD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tcpforward}
folder=$cache/helm-$version-$kubernetes
if [ -x "$folder/helm" ]; then
  echo "$folder/helm"
  exit
fi

if ! command -v go >/dev/null; then
  echo "tests/cluster/helm.sh: Go is missing: install Go 1.26 or newer ('apt-get install golang-go' where it is that new, else from go.dev/dl)" >&2
  exit 1
fi

mkdir -p "$folder"
exec 9>"$folder/lock"
flock 9 # a second caller waits here and then finds the program
if [ ! -x "$folder/helm" ]; then
  echo "building helm $version; a few minutes the first time" >&2
  module=helm.sh/helm/v3
  flags="-s -w -X $module/internal/version.version=$version"
  for package in chartutil lint/rules; do
    flags+=" -X $module/pkg/$package.k8sVersionMajor=1 -X $module/pkg/$package.k8sVersionMinor=$kubernetes"
  done
  CGO_ENABLED=0 GOBIN="$folder/new" go install -ldflags "$flags" "$module/cmd/helm@$version" >&2
  mv "$folder/new/helm" "$folder/helm"
  rmdir "$folder/new"
fi
echo "$folder/helm"
