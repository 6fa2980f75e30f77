# shellcheck shell=bash
# Installing what is missing, after saying so.

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif ! command -v sudo >/dev/null; then
    complain "installing needs root, and there is no sudo here"
    return 1
  elif [ -t 0 ]; then
    sudo "$@"
  else
    sudo -n "$@"
  fi
}

# install_packages APT_NAME BREW_NAME: fails when this machine gives no way to install.
install_packages() {
  local log=$LOGS/install-$1.log
  if command -v apt-get >/dev/null; then
    say "$1 is not installed: installing it with apt-get (log: ${log#"$ROOT"/})"
    as_root bash "$ROOT/scripts/lib/apt-install.sh" "$1" >"$log" 2>&1 || report_failed_install "$log"
    say_about_boot "$1"
  elif command -v brew >/dev/null; then
    say "$2 is not installed: installing it with brew (log: ${log#"$ROOT"/})"
    brew install "$2" </dev/null >"$log" 2>&1 || report_failed_install "$log"
  else
    return 1
  fi
}

report_failed_install() {
  show_log "$1" 8
  return 1
}

say_about_boot() {
  if [ -d /run/systemd/system ]; then
    say "  the system's own $1 service was not started; systemd may start it at the next boot"
    say "  (Latchkey does not need it: systemctl disable $1)"
  fi
}
