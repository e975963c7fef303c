#!/usr/bin/env bash
# Regenerates what is generated and committed. With --check nothing is written:
# it fails, and names the files, if what is committed differs from a fresh run.
#
# Needs protoc (Debian: protobuf-compiler); any version does, since the comment
# that names it is taken out. The plugins' versions are pinned: protoc-gen-go by
# go.mod, the others here.
set -euo pipefail
export LC_ALL=C

PROTOC_GEN_GO_GRPC=v1.6.2
CONTROLLER_GEN=v0.23.0
KUSTOMIZE=v5.8.2

cd "$(dirname "${BASH_SOURCE[0]}")/.."

check=false
case "${1:-}" in
"") ;;
--check) check=true ;;
*)
	echo "usage: hack/generate.sh [--check]" >&2
	exit 2
	;;
esac

if ! command -v protoc >/dev/null; then
	echo "hack/generate.sh: protoc not found; on Debian: apt-get install -y --no-install-recommends protobuf-compiler" >&2
	exit 1
fi

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir "$tmp/bin" "$tmp/out"

# protobuf DIRECTORY: Go code for every .proto file in it, into $tmp/out.
protobuf() {
	protoc --proto_path=. \
		--plugin="$tmp/bin/protoc-gen-go" --go_out="$tmp/out" --go_opt=paths=source_relative \
		--plugin="$tmp/bin/protoc-gen-go-grpc" --go-grpc_out="$tmp/out" --go-grpc_opt=paths=source_relative \
		"$1"/*.proto
	sed -i -E '/^\/\/ (- )?[[:space:]]*protoc[[:space:]]/d' "$tmp/out/$1"/*.pb.go
}

go build -o "$tmp/bin/protoc-gen-go" google.golang.org/protobuf/cmd/protoc-gen-go
GOBIN="$tmp/bin" go install "google.golang.org/grpc/cmd/protoc-gen-go-grpc@$PROTOC_GEN_GO_GRPC"

protobuf internal/admin/adminpb

# kubernetes: deep copies, apply configurations, the CRD and the operator's role,
# from the markers in api and controllers; the Helm chart, from config. Run in a copy of the tree, since the
# generators write beside what they read.
kubernetes() {
	mkdir "$tmp/src"
	git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
		[ ! -e "$file" ] || printf '%s\0' "$file"
	done | xargs -0 cp --parents -t "$tmp/src"
	(
		cd "$tmp/src"
		mapfile -t stale < <(generated_for_kubernetes)
		rm -f "${stale[@]}"
		go run "sigs.k8s.io/controller-tools/cmd/controller-gen@$CONTROLLER_GEN" object applyconfiguration crd \
			paths=./api/... output:crd:artifacts:config=config/crd/bases
		go run "sigs.k8s.io/controller-tools/cmd/controller-gen@$CONTROLLER_GEN" rbac:roleName=operator \
			paths=./controllers/... output:rbac:artifacts:config=config/rbac
		go run "sigs.k8s.io/kustomize/kustomize/v5@$KUSTOMIZE" build hack/chart |
			go run ./hack/chart -crd config/crd/bases -out config/chart
		generated_for_kubernetes | xargs cp --parents -t "$tmp/out"
	)
}

# generated_for_kubernetes: the files that kubernetes makes, as far as they exist.
generated_for_kubernetes() {
	{
		find api -name 'zz_generated.*.go' -o -path '*/applyconfiguration/*.go'
		find config/crd/bases config/rbac/role.yaml config/chart/templates config/chart/crds -name '*.yaml'
	} 2>/dev/null | sort
}

kubernetes

status=0
while IFS= read -r file; do
	if ! $check; then
		mkdir -p "$(dirname "$file")"
		cp "$tmp/out/$file" "$file"
	elif ! cmp -s "$tmp/out/$file" "$file"; then
		echo "hack/generate.sh: $file is stale; run hack/generate.sh and commit what it writes" >&2
		status=1
	fi
done < <(cd "$tmp/out" && find . -type f | sed 's|^\./||' | sort)

# What was generated once and no longer is, or is generated elsewhere.
while IFS= read -r file; do
	if [ ! -e "$tmp/out/$file" ]; then
		echo "hack/generate.sh: $file is not generated here: add its directory, or remove it" >&2
		status=1
	fi
done < <({ find internal -name '*.pb.go' && generated_for_kubernetes; } | sort)

exit $status
