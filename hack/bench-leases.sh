#!/usr/bin/env bash
# Measures the operator's Leases on the local cluster: starts that if none runs, puts
# an operator of this checkout on it, and runs test/bench/leases with the arguments
# given. A cluster that it has started ends with it, also when it fails, unless
# CLUSTER_KEEP=1; one that ran before stays, with the operator in it. A second one at
# the same time is refused: both would measure each other.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${XDG_CACHE_HOME:-$HOME/.cache}/conclave
mkdir -p "$cache"
exec 9>"$cache/bench-leases.lock"
flock --nonblock 9 || {
  echo 'make bench-leases: it is running already on this machine; wait until that has ended' >&2
  exit 1
}
dir=$(mktemp -d)
ran=unknown # whether a cluster ran before
runs() { "$dir/localcluster" kubeconfig >/dev/null 2>&1; }
ended() {
  local code=$?
  trap '' INT TERM
  set +e
  if [ "$ran" = no ] && runs; then
    if [ -n "${CLUSTER_KEEP:-}" ]; then
      echo 'CLUSTER_KEEP: the cluster is left as it is; make cluster-down ends it' >&2
    else
      "$dir/localcluster" down || [ "$code" != 0 ] || code=1
    fi
  fi
  rm -rf "$dir"
  exit "$code"
}
trap ended EXIT
trap 'exit 130' INT TERM
go build -o "$dir/localcluster" ./hack/localcluster
go build -o "$dir/leases" ./test/bench/leases
if runs; then ran=yes; else ran=no; fi
# Not the lock: the cluster's processes would have it for as long as they live.
paths=$("$dir/localcluster" up -nodes 1 9>&-)
eval "$paths"
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
