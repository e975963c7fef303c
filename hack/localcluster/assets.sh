#!/usr/bin/env bash
# Prints a folder that holds etcd, kube-apiserver and kubectl, built first if
# they are not in the cache (minutes then, nothing later):
#
#   KUBEBUILDER_ASSETS=$(hack/localcluster/assets.sh) go test ./...
#
# Standard output is the folder alone, progress goes to standard error. Needs no
# root. Where the cache is: docs/development.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec go run ./hack/localcluster assets
