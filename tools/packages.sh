# Sourced by scripts that install what a Debian machine lacks, after they have set `deps`, the path of .deps.
# shellcheck shell=bash
: "${deps:?}"

say() { echo "${0##*/}: $*"; }
die() { echo "${0##*/}: $*" >&2; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

missing_packages() {
  local installed name
  installed=$(dpkg-query --show --showformat '${db:Status-Abbrev} ${Package}\n' "$@" 2>/dev/null |
    sed -n -E 's/^.i +//p') || true
  for name in "$@"; do
    grep -q -x -F -e "$name" <<<"$installed" || echo "$name"
  done
}

# logged NAME COMMAND...: the output goes to .deps/log/NAME.log; its end is shown if the command fails.
logged() {
  local log=$deps/log/$1.log
  shift
  mkdir -p "$deps/log"
  if ! "$@" >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    return 1
  fi
}

install_packages() {
  local missing
  mapfile -t missing < <(missing_packages "$@")
  if [ ${#missing[@]} -eq 0 ]; then return 0; fi
  if [ "$(id -u)" != 0 ]; then
    [ -x "$(command -v sudo)" ] ||
      die "these packages are missing, and installing them needs root or sudo: ${missing[*]}"
    sudo -v || die "sudo refused; these packages are missing: ${missing[*]}"
  fi
  say "installing ${#missing[@]} packages (log: .deps/log/apt-install.log): ${missing[*]}"
  # A broken third-party source must not stop us: what matters is whether the packages can be had.
  logged apt-update as_root apt-get -q -o Acquire::Retries=3 update || say "apt-get update failed; trying with its old lists"
  logged apt-install as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get -q -y --no-install-recommends -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 install "${missing[@]}" ||
    die "apt-get install failed (see .deps/log/apt-install.log)"
}
