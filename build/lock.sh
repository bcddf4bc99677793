#!/bin/bash
# Pin every tool and library again, from the ranges in pyproject.toml into build/requirements/*.txt (with hashes).
#
# For developers who changed a range or want newer releases; building and testing never need it. It asks the package
# index of pip's own configuration, and writes no address of it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# One input file a group: what users of the group install, ranges and all.
write_inputs() {
  /usr/bin/python3 - "$scratch" <<'PYTHON'
import pathlib, sys, tomllib

document = tomllib.loads(pathlib.Path("pyproject.toml").read_text())
groups = document["dependency-groups"]
inputs = {
    "bundle": document["project"]["dependencies"] + groups["build"],
    "test": groups["test"],
    "lint": groups["lint"],
}
for name, lines in inputs.items():
    pathlib.Path(sys.argv[1], f"{name}.in").write_text("\n".join(lines) + "\n")
PYTHON
}

# Each group is resolved on top of the ones before it, so that all of them fit into one environment.
pin() {
  local group=$1 constraint arguments=()
  for constraint in "${@:2}"; do arguments+=(--constraint "$constraint.txt"); done
  echo "pinning $group"
  (cd "$scratch" && tools/bin/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-header \
    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
    "${arguments[@]}" --output-file "$group.txt" "$group.in")
  {
    echo "# Made by build/lock.sh from pyproject.toml: do not edit."
    cat "$scratch/$group.txt"
  } >"build/requirements/$group.txt"
}

write_inputs
/usr/bin/python3 -m venv "$scratch/tools"
"$scratch/tools/bin/pip" install --quiet "pip-tools>=7.6,<8"
pin bundle
pin test bundle
pin lint bundle test
