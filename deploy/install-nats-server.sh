#!/usr/bin/env bash
# Finds nats-server, or installs it from Debian's packages. Elsewhere it says what to do.
set -euo pipefail

# The setting nats.server_binary by its environment name.
binary=${GRM_NATS__SERVER_BINARY:-nats-server}
if command -v "$binary" >/dev/null 2>&1 || { [ "$binary" = nats-server ] && [ -x /usr/sbin/nats-server ]; }; then exit 0; fi

explain() {
  cat >&2 <<'TEXT'
nats-server (2.9 or newer) is needed and was not found. Install it, then run the same command again:

  Debian, Ubuntu    sudo apt-get install nats-server
  macOS             brew install nats-server
  elsewhere         a release binary of nats-io/nats-server anywhere on PATH

or point GRM_NATS__SERVER_BINARY at the binary.
TEXT
  exit 1
}

command -v apt-get >/dev/null 2>&1 || explain
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  sudo -n true 2>/dev/null || explain
  as_root=(sudo -n)
fi
echo "installing nats-server from Debian's packages"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { "${as_root[@]}" apt-get update && "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends nats-server; } >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  explain
fi
