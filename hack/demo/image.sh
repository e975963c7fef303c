#!/usr/bin/env bash
# Writes the image of the demo's client as an archive, without Docker:
# image.sh ARCHIVE NAME:TAG. ARCHS names other architectures than amd64 and arm64.
set -euo pipefail
archive=$(realpath -m "$1") name=$2
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CGO_ENABLED=0 GOWORK=off
platforms=()
for arch in ${ARCHS:-amd64 arm64}; do
  GOOS=linux GOARCH=$arch go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$work/$arch/candidate" ./hack/demo/candidate
  platforms+=(-platform "linux/$arch=$work/$arch")
done
mkdir -p "$(dirname "$archive")"
(cd hack/image && go build -trimpath -o "$work/image" .)
digest=$("$work/image" -out "$archive" -name "$name" -entrypoint /candidate -docker-platform "linux/$(go env GOARCH)" "${platforms[@]}")
echo "$name@$digest"
