#!/usr/bin/env bash
# Writes the image as an archive for amd64 and arm64, without Docker, and prints
# its name and digest: archive.sh ARCHIVE NAME:TAG. VERSION and BUILT (RFC 3339) go into
# the programs; BUILT is the image's time, too. ARCHS names other architectures.
set -euo pipefail
archive=$(realpath -m "$1") name=$2
cd "$(dirname "$0")/../.."
export VERSION=${VERSION:-dev} BUILT=${BUILT:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
platforms=()
for arch in ${ARCHS:-amd64 arm64}; do
  echo "building for $arch" >&2
  GOARCH=$arch sh hack/image/programs.sh "$work/$arch"
  platforms+=(-platform "linux/$arch=$work/$arch")
done
mkdir -p "$(dirname "$archive")"
export SOURCE_DATE_EPOCH=0
[ -z "$BUILT" ] || SOURCE_DATE_EPOCH=$(date -d "$BUILT" +%s)
labels=(-label "org.opencontainers.image.title=Conclave" -label "org.opencontainers.image.version=$VERSION"
  -label "org.opencontainers.image.licenses=Apache-2.0")
(cd hack/image && CGO_ENABLED=0 GOWORK=off go build -trimpath -o "$work/image" .)
digest=$("$work/image" -out "$archive" -name "$name" -entrypoint /conclave-server -own /data \
  -docker-platform "linux/$(go env GOARCH)" "${platforms[@]}" "${labels[@]}")
echo "$name@$digest"
