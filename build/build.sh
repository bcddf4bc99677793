#!/bin/bash
# Build the program: dist/cni-harvester/ (executable and libraries) and dist/bin/cni-harvester (what goes into a CNI
# bin directory). Nothing is done twice: run it after every change.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=build/steps.sh
source build/steps.sh

readonly PYTHON=/usr/bin/python3 # Debian's: the python3 on PATH may be a shim of some version manager
readonly BUILT_FROM=dist/.built-from

usage() {
  cat <<'TEXT'
usage: build/build.sh [--force | --venv | --tools]

Build dist/cni-harvester/ and dist/bin/cni-harvester in a virtual environment, .venv.

  --force  build again even if nothing changed
  --venv   build nothing: make .venv
  --tools  build nothing: make .venv, with the tools that test and check the sources
  --help   show this text
TEXT
}

# The fingerprint of everything that the bundle is made of.
fingerprint() {
  find build/bundle.spec build/build.sh build/requirements/bundle.txt cni_harvester LICENSE pyproject.toml \
    -name __pycache__ -prune -o -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum
}

is_up_to_date() {
  [ -x dist/bin/cni-harvester ] && [ "$(cat "$BUILT_FROM" 2>/dev/null)" = "$(fingerprint)" ]
}

requirements_key() {
  sha256sum <"build/requirements/$1.txt"
}

# venv_holds GROUP: whether .venv was made from build/requirements/GROUP.txt as it is now.
venv_holds() {
  [ "$(cat ".venv/holds-$1" 2>/dev/null)" = "$(requirements_key "$1")" ]
}

make_venv() {
  ensure_packages "building" python3 python3-venv libpython3.11 binutils
  venv_holds bundle && return
  step "make the virtual environment" "$PYTHON" -m venv --clear .venv
  install_requirements "PyInstaller and the libraries" bundle
}

add_tools() {
  venv_holds test || install_requirements "the test tools" test
  venv_holds lint || install_requirements "the lint tools" lint
}

# install_requirements WHAT GROUP: exactly the pinned releases of build/requirements/GROUP.txt, checked by their hashes.
install_requirements() {
  local what=$1 group=$2
  step "install $what" .venv/bin/pip install --disable-pip-version-check --require-hashes \
    --requirement "build/requirements/$group.txt"
  requirements_key "$group" >".venv/holds-$group"
}

freeze() {
  # The same sources give the same bundle, byte for byte: no clock, no order of a hash table.
  SOURCE_DATE_EPOCH=315532800 PYTHONHASHSEED=0 PYINSTALLER_CONFIG_DIR=.work/pyinstaller/cache \
    .venv/bin/python -m PyInstaller --noconfirm --clean --log-level WARN \
    --workpath .work/pyinstaller --distpath dist build/bundle.spec
}

link_bin_entry() {
  mkdir -p dist/bin
  ln -sfn ../cni-harvester/cni-harvester dist/bin/cni-harvester
}

build_bundle() {
  local from
  from=$(fingerprint) # of the sources as they are now: they may change while PyInstaller reads them
  rm -f "$BUILT_FROM"
  make_venv
  step "freeze the program with PyInstaller" freeze
  step "link dist/bin/cni-harvester" link_bin_entry
  step "ask the program for its version" env -u CNI_COMMAND dist/bin/cni-harvester --version
  echo "$from" >"$BUILT_FROM"
}

main() {
  case ${1-} in
  '' | --force | --venv | --tools) ;;
  --help) usage && exit 0 ;;
  *) usage >&2 && exit 2 ;;
  esac
  mkdir -p .work dist
  exec 9>.work/build.lock # one build at a time
  flock 9
  if [ "${1-}" = --venv ]; then
    make_venv
  elif [ "${1-}" = --tools ]; then
    make_venv
    add_tools
  elif [ "${1-}" != --force ] && is_up_to_date; then
    echo "  dist/cni-harvester is up to date"
  else
    build_bundle
  fi
}

main "$@"
