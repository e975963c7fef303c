#!/usr/bin/env bash
# Tests the images: that two builds of the archive, one of them in a copy of the
# clone elsewhere, have the same digest, and that the Dockerfile builds with
# Debian's buildah, to the same bytes though nothing was compiled before. Since
# no registry may be within reach, the builder of the latter is an image of this
# machine's Go and a static shell. Needs root.
set -euo pipefail
cd "$(dirname "$0")/../.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

files() { git ls-files --cached --others --exclude-standard | while read -r f; do [ ! -f "$f" ] || echo "$f"; done; }

echo "--- the archive is the same wherever it is built"
export VERSION=test BUILT=2026-01-02T03:04:05Z
mkdir "$work/elsewhere"
files | tar -cf - -T - | tar -xf - -C "$work/elsewhere"
one=$(hack/image/archive.sh "$work/one.tar" conclave:test)
two=$("$work/elsewhere/hack/image/archive.sh" "$work/two.tar" conclave:test)
[ "$one" = "$two" ] || { echo "two builds of the same files: $one and $two" >&2; exit 1; }
cmp "$work/one.tar" "$work/two.tar"
echo "$one"

echo "--- the Dockerfile builds"
missing=()
command -v buildah >/dev/null || missing+=(buildah)
[ -x /bin/busybox ] || missing+=(busybox-static)
if [ ${#missing[@]} -gt 0 ]; then
  echo "installing Debian packages: ${missing[*]}"
  apt-get update -q && apt-get install -y -q --no-install-recommends "${missing[@]}"
fi
# All that buildah keeps is below $work. vfs and chroot need nothing of the kernel.
b() {
  local command=$1
  shift
  CONTAINERS_STORAGE_CONF="$work/storage.conf" CONTAINERS_CONF="$work/containers.conf" BUILDAH_ISOLATION=chroot buildah "$command" "$@"
}
cat >"$work/storage.conf" <<S
[storage]
driver = "vfs"
graphroot = "$work/graph"
runroot = "$work/run"
S
printf '[network]\nnetwork_config_dir = "%s"\n' "$work/networks" >"$work/containers.conf"
root=$(go env GOROOT)
builder=$(b from scratch)
# Not the whole of Go: its tests are half of it.
mkdir -p "$work/builder/usr/local/go" "$work/builder/bin" "$work/builder/tmp"
for part in bin lib pkg src VERSION go.env; do
  [ ! -e "$root/$part" ] || cp -a "$root/$part" "$work/builder/usr/local/go/"
done
cp /bin/busybox "$work/builder/bin/busybox"
for tool in sh mkdir dirname; do ln -s busybox "$work/builder/bin/$tool"; done
b copy -q "$builder" "$work/builder" / >/dev/null
# Modules come from this machine's cache, since no proxy may be within reach of
# a container: go.sum says that they are the right ones.
go mod download
b config --env PATH=/usr/local/go/bin:/bin --env HOME=/tmp --env GOPROXY=file:///modules --env GOSUMDB=off "$builder"
b commit -q --rm "$builder" localhost/builder >/dev/null
rm -rf "$work/builder"
b build -q --pull-never --build-arg BUILDER=localhost/builder --build-arg VERSION=test --build-arg BUILT="$BUILT" \
  --volume "$(go env GOMODCACHE)/cache/download:/modules:ro" -t localhost/conclave "$work/elsewhere" >"$work/id"
image=$(b from --pull-never localhost/conclave)
mounted=$(b mount "$image")
(cd "$mounted" && find . -mindepth 1 | sort) | tee "$work/files"
[ "$(b inspect --format '{{.OCIv1.Config.User}} {{.OCIv1.Config.Entrypoint}}' "$image")" = "65532:65532 [/conclave-server]" ]
[ "$(stat -c %u "$mounted/data")" = 65532 ]
# The same bytes as the archive's, although all of it was compiled anew in there.
GOARCH='' hack/image/programs.sh "$work/programs"
for f in "$work"/programs/*; do
  cmp "$f" "$mounted/${f##*/}"
done
"$mounted/conclave-server" --version
b umount "$image" >/dev/null
echo "--- both are well"
