#!/bin/sh
# Installs what the conformance suite needs: a genuine ZooKeeper server and its
# Java and C clients, Curator's recipes, a JDK and a C compiler, all from
# Debian's own archive. Nothing is started: `zookeeper` is the package without
# an init script (that one is `zookeeperd`).
#
# Safe to repeat; when everything is there it only looks and says so.
set -eu

packages="zookeeper zookeeper-bin libzookeeper-java libzookeeper-mt-dev
libcurator-client-java libcurator-framework-java libcurator-recipes-java
libslf4j-java libservlet-api-java"

installed() {
    # The state must be "installed": a removed package that kept its
    # configuration files is listed too.
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null || true)" = installed ]
}

missing=""
for package in $packages; do
    installed "$package" || missing="$missing $package"
done
# Any JDK and any gcc will do, whichever way they came.
command -v javac >/dev/null 2>&1 || missing="$missing default-jdk-headless"
command -v gcc >/dev/null 2>&1 || missing="$missing gcc libc6-dev"

if [ -z "$missing" ]; then
    echo "conformance setup: everything is already installed"
    exit 0
fi

if ! command -v apt-get >/dev/null 2>&1; then
    echo "conformance setup: missing:$missing; this script installs Debian packages, and there is no apt-get here" >&2
    exit 1
fi
if [ "$(id -u)" != 0 ]; then
    echo "conformance setup: missing:$missing; installing them needs root: run this script with sudo" >&2
    exit 1
fi

echo "conformance setup: installing$missing"
export DEBIAN_FRONTEND=noninteractive
# Somebody else may be installing: wait for the lock instead of failing.
apt-get update -qq
# shellcheck disable=SC2086 # a list of words on purpose
apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends $missing >/dev/null
echo "conformance setup: done"
