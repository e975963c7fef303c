#!/bin/sh
# Builds the programs of the image, cmd/conclave-*, into the folder $1: static,
# for GOARCH (this machine's if it is not set), and the same bytes wherever the
# clone is. Both the Dockerfile and archive.sh use it, the former in an image
# that has a shell and Go and perhaps nothing else.
set -eu
out=$1
cd "$(dirname "$0")/../.."
export CGO_ENABLED=0 GOOS=linux GOWORK=off
[ -n "${GOARCH:-}" ] || unset GOARCH
for dir in ./cmd/conclave-*; do
  go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION:-dev} -X main.built=${BUILT:-}" \
    -o "$out/${dir##*/}" "$dir"
done
