#!/usr/bin/env bash
# Installs Debian packages without letting the distribution start their servers. Runs as root,
# apart from the other scripts, so that one sudo covers it and its trap always restores the policy.
set -euo pipefail

POLICY=/usr/sbin/policy-rc.d
SAVED=$POLICY.before-latchkey

restore_policy() {
  rm -f "$POLICY"
  if [ -e "$SAVED" ]; then mv -f "$SAVED" "$POLICY"; fi
}

# Package scripts ask this file before they start a service: 101 means no. Services that are not
# ours get the answer that they would have got without us.
hold_back_servers() {
  if [ -e "$SAVED" ] || grep -qs latchkey-policy "$POLICY"; then restore_policy; fi
  trap restore_policy EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  if [ -e "$POLICY" ]; then mv "$POLICY" "$SAVED"; fi
  cat >"$POLICY" <<POLICY_FILE
#!/bin/sh
# latchkey-policy: in place only while Latchkey's scripts install packages
for word; do
  case "\$word" in postgresql* | pgbouncer* | rabbitmq-server* | epmd*) exit 101 ;; esac
done
if [ -x "$SAVED" ]; then exec "$SAVED" "\$@"; fi
exit 0
POLICY_FILE
  chmod 755 "$POLICY"
}

update_lists() { apt-get -q -o DPkg::Lock::Timeout=600 update; }

install() {
  apt-get -q -y -o DPkg::Lock::Timeout=600 install --no-install-recommends "$@" </dev/null
}

# Two checkouts may install at once; the policy file is one.
exec 9>/run/latchkey-install.lock
if command -v flock >/dev/null; then flock 9; fi

export DEBIAN_FRONTEND=noninteractive
hold_back_servers
# A new machine has no package lists, an old one has lists of packages that are gone by now.
install "$@" 9>&- || { update_lists 9>&- && install "$@" 9>&-; }
