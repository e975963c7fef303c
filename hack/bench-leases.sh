#!/usr/bin/env bash
# Measures the operator's Leases on the local cluster: starts that if need be, puts
# an operator of this checkout on it, and runs test/bench/leases with the arguments
# given. The cluster and the operator stay.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
go build -o "$dir/localcluster" ./hack/localcluster
go build -o "$dir/leases" ./test/bench/leases
eval "$("$dir/localcluster" up -nodes 1)"
version=$(git describe --tags --always --dirty 2>/dev/null || echo dev)
image=conclave:bench-$(date +%s)
platform=linux/$(go env GOARCH)
VERSION=$version ./hack/image/programs.sh "$dir/programs"
image -out "$dir/image.tar" -name "$image" -entrypoint /conclave-server -own /data \
  -platform "$platform=$dir/programs" -docker-platform "$platform"
"$dir/localcluster" load "$dir/image.tar"
make --no-print-directory deploy IMG="$image"
kubectl --namespace=conclave-system rollout status deployment/conclave-operator --timeout=4m
"$dir/leases" "$@"
