#!/usr/bin/env bash
# pack.sh PROGRAMS MACHINE NAME OUT: the programs of the folder PROGRAMS, built for MACHINE, as the
# image NAME in the tar OUT. It is an OCI layout (containerd, podman, skopeo) with the list beside it
# that `docker load` reads. The same programs and the same zstd make the same bytes: no time, no owner,
# one order.
# The Dockerfile says the same for those who have Docker; a test compares them.
set -euo pipefail

programs=$1 machine=$2 name=$3 out=$4
case $machine in
  x86_64) architecture=amd64 ;;
  aarch64) architecture=arm64 ;;
  *) echo "pack.sh: no image is made for $machine: expected x86_64 or aarch64" >&2; exit 1 ;;
esac
case $name in
  *:*) ;;
  *) echo "pack.sh: the image's name is $name: expected NAME:TAG" >&2; exit 1 ;;
esac
# What a name without a host stands for. Docker adds it by itself, an OCI layout has to say it.
full=$name
case ${name%%/*} in
  "$name") full=docker.io/library/$name ;;
  *[.:]* | localhost) ;;
  *) full=docker.io/$name ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
archive() { # folder, out, members…
  local folder=$1 to=$2
  shift 2
  tar --create --format=ustar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner \
    --mode='u=rwX,go=rX' --directory "$folder" --file "$to" "$@"
}
digest() { sha256sum "$1" | cut -d' ' -f1; }
blob() { # file: keeps it under its digest and prints that
  local digest
  digest=$(digest "$1")
  mv "$1" "$work/layout/blobs/sha256/$digest"
  echo "$digest"
}
size() { stat --format=%s "$work/layout/blobs/sha256/$1"; }

mkdir -p "$work/tree/bin" "$work/layout/blobs/sha256"
for program in dataplane operator tcpforward; do
  install -m 755 "$programs/$program" "$work/tree/bin/$program"
done
archive "$work/tree" "$work/layer.tar" bin
content=$(digest "$work/layer.tar")
# A quarter smaller than by gzip; containerd, Docker and registries have read it for years.
zstd --quiet --single-thread -19 <"$work/layer.tar" >"$work/layer"
layer=$(blob "$work/layer")

cat >"$work/config" <<EOC
{"created":"1970-01-01T00:00:00Z","architecture":"$architecture","os":"linux","config":{"User":"65532:65532","Env":["PATH=/bin"],"Entrypoint":["tcpforward"],"Labels":{"org.opencontainers.image.title":"tcpforward","org.opencontainers.image.licenses":"Apache-2.0"}},"rootfs":{"type":"layers","diff_ids":["sha256:$content"]},"history":[{"created":"1970-01-01T00:00:00Z","created_by":"COPY /bin"}]}
EOC
config=$(blob "$work/config")

cat >"$work/manifest" <<EOM
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:$config","size":$(size "$config")},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+zstd","digest":"sha256:$layer","size":$(size "$layer")}]}
EOM
manifest=$(blob "$work/manifest")

cat >"$work/layout/index.json" <<EOI
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:$manifest","size":$(size "$manifest"),"annotations":{"io.containerd.image.name":"$full","org.opencontainers.image.ref.name":"${name##*:}"},"platform":{"architecture":"$architecture","os":"linux"}}]}
EOI
echo '{"imageLayoutVersion":"1.0.0"}' >"$work/layout/oci-layout"
cat >"$work/layout/manifest.json" <<EOD
[{"Config":"blobs/sha256/$config","RepoTags":["$name"],"Layers":["blobs/sha256/$layer"]}]
EOD

archive "$work/layout" "$out.new" blobs index.json manifest.json oci-layout
mv "$out.new" "$out"
echo "$name sha256:$manifest $(stat --format=%s "$out") bytes"
