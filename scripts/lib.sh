# Shared by docker-test and systemd-test: they `source` it. Expects $0 to be the script that runs.
# shellcheck shell=bash
step() { printf '\n== %s\n' "$*"; }
fail() { printf '%s: FAILED: %s\n' "${0##*/}" "$*" >&2; exit 1; }

in_ns() { # namespace, command...
  local ns=$1; shift
  nsenter --net="/run/netns/$ns" "$@"
}
wait_for() { # seconds, words, command...
  local limit=$1 words=$2 end=$((SECONDS + $1)); shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || fail "$words: not within $limit s ($*)"
    sleep 0.2
  done
  echo "ok   $words"
}
expect() { # words, command...
  local words=$1 output; shift
  output=$("$@" 2>&1) || fail "$words: $* said: $output"
  echo "ok   $words"
}
# A script for udhcpc that puts the lease on the interface.
write_udhcpc_script() { # path
  cat >"$1" <<'SH'
#!/bin/sh
case "$1" in
  deconfig) ip addr flush dev "$interface" ;;
  bound | renew) ip addr replace "$ip/$mask" dev "$interface" && ip route replace default via "$router" ;;
esac
SH
  chmod +x "$1"
}
