#!/bin/bash
# The one way in: install cni-harvester on this node, remove it, see it work, test it. `./install.sh --help` tells all.
set -euo pipefail
readonly CALLER_DIRECTORY=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=build/steps.sh
source build/steps.sh

usage() {
  cat <<'TEXT'
usage: ./install.sh COMMAND [OPTIONS]

  install     install the plugin on this node (builds it first if needed); twice is fine
  uninstall   remove it again; machines that are attached keep their networks
  demo        see it work on this machine, in networks of its own that vanish at the end
  test        run the whole test suite; what it needs is installed by apt

options of install and uninstall:
  --prefix DIR    where the program lies, one directory a version  (default: /opt/cni-harvester)
  --bin-dir DIR   the CNI bin directory of the container runtime   (default: /opt/cni/bin)
  --dry-run       tell what would be done, and do nothing

Arguments of test are handed to pytest; a path picks the tiers that hold it.

examples:
  ./install.sh install
  ./install.sh install --bin-dir /var/lib/rancher/rke2/data/cni --dry-run
  ./install.sh uninstall
  ./install.sh test
  ./install.sh test tests/unit -x
TEXT
}

usage_error() {
  echo "Error: $1" >&2
  usage >&2
  exit 2
}

# --- options -----------------------------------------------------------------------------------------------------

PREFIX=/opt/cni-harvester
BIN_DIRECTORY=/opt/cni/bin
DRY_RUN=no

# absolute DIR: as the caller meant it, who may stand in another directory.
absolute() {
  local path=$1
  [ -n "$path" ] || usage_error "a directory name is empty"
  [[ $path == /* ]] || path=$CALLER_DIRECTORY/$path
  realpath --canonicalize-missing --no-symlinks "$path"
}

parse_options() {
  while [ $# -gt 0 ]; do
    case $1 in
    --prefix=* | --bin-dir=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;; # and round again
    --prefix | --bin-dir)
      [ $# -ge 2 ] || usage_error "$1 needs a directory"
      if [ "$1" = --prefix ]; then PREFIX=$(absolute "$2"); else BIN_DIRECTORY=$(absolute "$2"); fi
      shift 2
      ;;
    --dry-run)
      DRY_RUN=yes
      shift
      ;;
    --help)
      usage
      exit 0
      ;;
    *) usage_error "unknown option: $1" ;;
    esac
  done
}

# --- what is there -----------------------------------------------------------------------------------------------

# is_bundle DIR: whether DIR is an installed version of this program.
is_bundle() {
  [ -x "$1/cni-harvester" ] && [ -d "$1/_internal/cni_harvester" ]
}

# is_entry_of_prefix PATH: whether PATH is a link into our prefix, even if what it points to is gone.
is_entry_of_prefix() {
  [ -L "$1" ] && [[ $(readlink "$1") == "$PREFIX"/*/cni-harvester ]]
}

# is_foreign PATH: whether PATH exists and was not made by an install of this program, under whichever prefix.
is_foreign() {
  [ -e "$1" ] || [ -L "$1" ] || return 1
  is_entry_of_prefix "$1" && return 1
  ! { [ -L "$1" ] && [[ $(readlink "$1") == */cni-harvester ]] && is_bundle "$(dirname "$(readlink "$1")")"; }
}

is_same_bundle() {
  [ -d "$2" ] && diff --recursive --no-dereference --brief "$1" "$2" >/dev/null
}

# --- install -----------------------------------------------------------------------------------------------------

# tell PATH WHAT: one line for each path that is touched, or would be.
tell() {
  [ "$DRY_RUN" = no ] || set -- "$1" "would be $2"
  printf '  %-46s %s\n' "$1" "$2"
}

# bundle_version: of the program in dist/, or else (nothing is built yet) of the sources.
bundle_version() {
  if [ -x dist/bin/cni-harvester ]; then
    env -u CNI_COMMAND dist/bin/cni-harvester --version | sed 's/^cni-harvester //'
  else
    sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml
  fi
}

# install_bundle TARGET: complete at its name, or not there at all. A version once installed is replaced only by
# another build of the same version, as developers make them.
install_bundle() {
  local target=$1 new old
  new=$PREFIX/.$(basename "$target").new
  old=$PREFIX/.$(basename "$target").old
  mkdir -p "$PREFIX"
  rm -rf "$new" "$old"
  cp --recursive --no-dereference --preserve=mode,links dist/cni-harvester "$new"
  chmod --recursive u=rwX,go=rX "$new"
  [ ! -d "$target" ] || mv --no-target-directory "$target" "$old"
  mv --no-target-directory "$new" "$target"
  rm -rf "$old"
}

# install_entry ENTRY PROGRAM: switched by rename, so that a runtime always finds the old program or the new one.
install_entry() {
  local entry=$1 program=$2 new
  new=$(dirname "$entry")/.cni-harvester.new
  mkdir -p "$(dirname "$entry")"
  ln --symbolic --force --no-dereference "$program" "$new"
  mv --no-target-directory "$new" "$entry"
}

what_next() {
  cat <<'TEXT'

Nothing was written to /etc/cni/net.d: the plugin serves secondary networks, which Multus asks for by name. For example
VLAN 100 of cluster network "cn1", whose bridge on every node is cn1-br:

  kubectl apply -f - <<'EOF'
  {"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition", "metadata": {"name": "vlan100"}, "spec": {
    "config": "{\"cniVersion\": \"1.1.0\", \"name\": \"vlan100\", \"type\": \"cni-harvester\", \"bridge\": \"cn1-br\", \"vlan\": 100}"}}
  EOF
TEXT
}

build_for_install() {
  if [ "$DRY_RUN" = no ]; then
    build/build.sh
  elif [ ! -x dist/bin/cni-harvester ]; then
    tell "$PWD/dist" built
  fi
}

install_program() {
  local version target entry changed=no
  entry=$BIN_DIRECTORY/cni-harvester
  if is_foreign "$entry"; then
    fail "cannot install \"$entry\": a file of that name is there, and it is not ours" "move it away, or choose another --bin-dir"
  fi
  build_for_install
  version=$(bundle_version)
  target=$PREFIX/$version
  if ! is_same_bundle dist/cni-harvester "$target"; then
    [ "$DRY_RUN" = yes ] || install_bundle "$target"
    tell "$target" installed
    changed=yes
  fi
  if [ "$(readlink "$entry" || true)" != "$target/cni-harvester" ]; then
    [ "$DRY_RUN" = yes ] || install_entry "$entry" "$target/cni-harvester"
    tell "$entry" "linked to $target/cni-harvester"
    changed=yes
  fi
  if [ "$changed" = no ]; then
    echo "cni-harvester $version is already installed, nothing to do"
  elif [ "$DRY_RUN" = yes ]; then
    echo "This was a dry run: nothing was changed."
  else
    echo "cni-harvester $version is installed"
    what_next
  fi
}

# --- uninstall ---------------------------------------------------------------------------------------------------

# installed_paths: everything under the prefix that an install made, one that was cut short included.
installed_paths() {
  local path
  for path in "$PREFIX"/*; do
    ! is_bundle "$path" || echo "$path"
  done
  for path in "$PREFIX"/.[0-9]*.new "$PREFIX"/.[0-9]*.old; do
    [ ! -d "$path" ] || echo "$path"
  done
}

uninstall_program() {
  local entry=$BIN_DIRECTORY/cni-harvester path changed=no
  # The entry goes first: a runtime that calls now is to find no plugin rather than half of one.
  if is_entry_of_prefix "$entry"; then
    [ "$DRY_RUN" = yes ] || rm -f "$entry"
    tell "$entry" removed
    changed=yes
  elif [ -e "$entry" ] || [ -L "$entry" ]; then
    echo "Warning: left \"$entry\" alone: it was not installed from \"$PREFIX\"" >&2
  fi
  while IFS= read -r path; do
    [ "$DRY_RUN" = yes ] || rm -rf "$path"
    tell "$path" removed
    changed=yes
  done < <(installed_paths)
  if [ "$changed" = no ]; then
    echo "cni-harvester is not installed here, nothing to do"
  elif [ "$DRY_RUN" = yes ]; then
    echo "This was a dry run: nothing was changed."
  else
    rmdir --ignore-fail-on-non-empty "$PREFIX" 2>/dev/null || true
    echo "cni-harvester is removed. Machines that are attached keep their networks until they stop; to start one, or to"
    echo "detach one in good order, the runtime needs the plugin again."
  fi
}

# --- demo and test -----------------------------------------------------------------------------------------------

kernel_is_native() {
  /usr/bin/python3 lab/kernel_probe.py >"$LOG_DIRECTORY/kernel-probe.log" 2>&1
}

run_demo() {
  mkdir -p "$LOG_DIRECTORY"
  echo "Making the demo ready"
  ensure_packages "the demo" busybox-static dnsmasq-base iproute2 iputils-ping kmod nftables python3
  build/build.sh
  build/build.sh --venv
  if kernel_is_native; then
    exec .venv/bin/python -m lab.demo "$@"
  fi
  ensure_packages "User-Mode Linux" user-mode-linux
  # Python runs slowly inside User-Mode Linux, and what it writes there is lost: compile first.
  step "compile the sources" .venv/bin/python -m compileall -q cni_harvester lab .venv/lib
  echo "This machine's kernel lacks $(paste -sd, "$LOG_DIRECTORY/kernel-probe.log"): the demo runs inside User-Mode Linux."
  exec lab/uml-run -- .venv/bin/python -m lab.demo "$@"
}

run_tests() {
  local packages
  echo "Making the tests ready"
  readarray -t packages < <(packages_of tests/packages.txt tests/conformance/runtimes/packages.txt)
  ensure_packages "the tests" "${packages[@]}"
  build/build.sh
  build/build.sh --tools
  step "build cnitool" tests/conformance/runtimes/build-cnitool.sh .work/runtimes
  step "build a virtual machine" tests/conformance/runtimes/build-guest.sh .work/runtimes
  exec tests/run "$@"
}

main() {
  local command=${1-}
  [ $# -gt 0 ] || usage_error "no command"
  shift
  case $command in
  install)
    parse_options "$@"
    install_program
    ;;
  uninstall)
    parse_options "$@"
    uninstall_program
    ;;
  demo) run_demo "$@" ;;
  test) run_tests "$@" ;;
  --help | -h | help) usage ;;
  *) usage_error "unknown command: $command" ;;
  esac
}

main "$@"
