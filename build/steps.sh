# shellcheck shell=bash
# What the project's scripts share: steps with a line and a time each, and Debian packages on demand.
# Sourced by build/build.sh, install.sh and tests/run, from the repository root; it runs nothing by itself.

readonly LOG_DIRECTORY=.work/log

now_ms() {
  local microseconds=${EPOCHREALTIME/[.,]/} # some locales write a comma
  echo $((microseconds / 1000))
}

# seconds_since START_MS: with one decimal.
seconds_since() {
  local elapsed=$(($(now_ms) - $1))
  printf '%d.%d' $((elapsed / 1000)) $((elapsed % 1000 / 100))
}

fail() {
  echo "Error: $1" >&2
  [ $# -lt 2 ] || echo "Hint: $2" >&2
  exit 1
}

# step LABEL COMMAND...: run COMMAND with its output in a log file, and print one line with the time it took.
# If it fails, show the end of the log and give up.
step() {
  local label=$1 start status=0 log
  shift
  start=$(now_ms)
  log=$LOG_DIRECTORY/$(tr -cs '[:alnum:]\n' '-' <<<"$label").log
  mkdir -p "$LOG_DIRECTORY"
  printf '  %-46s ' "$label"
  "$@" </dev/null >"$log" 2>&1 || status=$?
  if [ "$status" -ne 0 ]; then
    printf 'FAILED %6s s\n' "$(seconds_since "$start")"
    tail -n 20 "$log" | sed 's/^/    | /' >&2
    fail "cannot $label: status $status" "the whole log is in $log"
  fi
  printf 'ok %6s s\n' "$(seconds_since "$start")"
}

# packages_of FILE...: the package names in list files (one a line, # starts a comment).
packages_of() {
  sed -e 's/#.*//' "$@" | tr -s '[:space:]' '\n' | sed '/^$/d' | sort -u
}

is_installed() {
  [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

apt_install() {
  # The package lists are fetched only when apt cannot do without: a bare machine has none, an old one stale ones.
  DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@" && return
  apt-get update
  DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@"
}

# install_unstarted PACKAGE...: install packages without starting what they bring: no DHCP server on this machine.
install_unstarted() {
  local policy=/usr/sbin/policy-rc.d status=0
  if [ -e "$policy" ]; then
    apt_install "$@"
    return
  fi
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  apt_install "$@" || status=$?
  rm -f "$policy"
  return "$status"
}

# ensure_packages WHAT PACKAGE...: install the ones that are missing; WHAT says what they are for.
ensure_packages() {
  local what=$1 package missing=()
  shift
  for package in "$@"; do
    is_installed "$package" || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  [ "$(id -u)" -eq 0 ] || fail "cannot install packages without root: ${missing[*]}" "apt-get install ${missing[*]}"
  step "install Debian packages for $what" install_unstarted "${missing[@]}"
}
