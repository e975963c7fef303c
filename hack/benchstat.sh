#!/usr/bin/env bash
# Compares the Go benchmarks of the checkout with those of another commit, with
# benchstat. Both are built first and then run by turns, so that the machine's
# drift hits both.
#
#   hack/benchstat.sh [BASE] [PATTERN] [PACKAGE...]
#
# BASE is a commit (HEAD~1), PATTERN a pattern of benchmarks (.), and the
# packages are those with a hot path.
set -euo pipefail
cd "$(dirname "$0")/.."

base=${1:-HEAD~1} pattern=${2:-.}
shift $(($# < 2 ? $# : 2))
packages=("$@")
[ ${#packages[@]} -gt 0 ] || packages=(jute tree watch session statemachine storage replica/transport)
repeats=${REPEATS:-6}

work=$(mktemp -d)
cleanup() {
  git worktree remove --force "$work/base" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

git worktree add --quiet --detach "$work/base" "$base"
for package in "${packages[@]}"; do
  name=${package//\//-}
  (cd "$work/base" && [ -d "internal/$package" ] && go test -c -o "$work/base-$name" "./internal/$package") || echo "$package is not in $base" >&2
  go test -c -o "$work/here-$name" "./internal/$package"
done
for ((i = 1; i <= repeats; i++)); do
  for package in "${packages[@]}"; do
    name=${package//\//-}
    for side in base here; do
      [ -x "$work/$side-$name" ] || continue
      dir=. && [ $side = base ] && dir=$work/base
      (cd "$dir/internal/$package" && "$work/$side-$name" -test.run '^$' -test.bench "$pattern" -test.benchmem -test.benchtime "${BENCHTIME:-200ms}") >>"$work/$side.txt"
    done
  done
done
go run golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da "$base=$work/base.txt" "here=$work/here.txt"
