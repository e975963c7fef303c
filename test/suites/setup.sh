#!/usr/bin/env bash
# Installs kazoo with its tests and what they need: Debian, root.
set -euo pipefail
packages=(python3-kazoo python3-pytest python3-mock python3-objgraph python3-eventlet python3-gevent)
missing=()
for p in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0
echo "installing Debian packages: ${missing[*]}"
apt-get update -q && apt-get install -y -q --no-install-recommends "${missing[@]}"
