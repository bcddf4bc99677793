#!/bin/sh
# Builds cnitool, the command-line client of the reference CNI library, from Debian's source package.
#
#   build-cnitool.sh DEST      makes DEST/cnitool; does nothing when this very script has made it before
#
# Only the source package is fetched (Debian's binary packages leave cnitool out); the library it is
# compiled against is golang-github-appc-cni-dev. The machine's own apt sources say where from.
set -eu

[ $# -eq 1 ] || { echo "usage: build-cnitool.sh DEST" >&2; exit 2; }
script=$(readlink -f "$0")
mkdir -p "$1"
dest=$(readlink -f "$1")
source=golang-github-appc-cni
recipe=$(sha256sum <"$script")

if [ -x "$dest/cnitool" ] && [ "$(cat "$dest/cnitool.recipe" 2>/dev/null)" = "$recipe" ]; then
    echo "cnitool: $dest/cnitool is up to date"
    exit 0
fi

work=$(mktemp -d "$dest/cnitool-build.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

# A private apt: the same sources as the machine's, as source packages, with lists and cache of its own.
mkdir -p "$work/sources" "$work/lists/partial" "$work/cache/archives/partial" "$work/go/src/cnitool"
for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ -f "$list" ] && sed -n 's/^[[:space:]]*deb[[:space:]]/deb-src /p' "$list" >"$work/sources/$(basename "$list" .list).list"
done
for list in /etc/apt/sources.list.d/*.sources; do
    [ -f "$list" ] && sed 's/^Types:.*/Types: deb-src/' "$list" >"$work/sources/$(basename "$list")"
done
private_apt() {
    apt-get -q -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$work/sources" \
        -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root "$@"
}

echo "cnitool: 1/3 reading the lists of source packages"
private_apt update
echo "cnitool: 2/3 fetching the source package $source"
(cd "$work" && private_apt source "$source")
echo "cnitool: 3/3 compiling"
cp "$work/$source"-*/cnitool/cnitool.go "$work/go/src/cnitool/"
(cd "$work" && GOCACHE="$work/go-cache" GOFLAGS=-trimpath GOPROXY=off GO111MODULE=off CGO_ENABLED=0 \
    GOPATH="$work/go:/usr/share/gocode" go build -o "$work/cnitool" cnitool)
chmod -R u+w "$work"
mv "$work/cnitool" "$dest/cnitool"
echo "$recipe" >"$dest/cnitool.recipe"
echo "cnitool: built $dest/cnitool"
