# shellcheck shell=bash
# What every script here needs: where things are, how to speak, locks, ports and process records.
# Written for bash 3.2 as well, which is what macOS ships.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
RUN=$ROOT/.run
SVC=$RUN/services
LOGS=$RUN/logs

now_ms() {
  if [ -n "${EPOCHREALTIME:-}" ]; then
    local micros=${EPOCHREALTIME/[.,]/}
    echo "${micros%???}"
  else
    echo "$(($(date +%s) * 1000))"
  fi
}

# Scripts that call each other count from the same start.
: "${LATCHKEY_SCRIPT_STARTED:=$(now_ms)}"
export LATCHKEY_SCRIPT_STARTED

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
  DIM=$'\e[2m' RED=$'\e[31m' PLAIN=$'\e[0m'
else
  DIM='' RED='' PLAIN=''
fi

say() {
  local tenths=$((($(now_ms) - LATCHKEY_SCRIPT_STARTED) / 100))
  printf '%s[%3d.%d s]%s %s\n' "$DIM" "$((tenths / 10))" "$((tenths % 10))" "$PLAIN" "$*"
}

complain() { printf '%s%s%s\n' "$RED" "$*" "$PLAIN" >&2; }

die() {
  complain "$@"
  exit 1
}

# Seals .run: others may pass through (the servers run as another user when we are root), not look.
prepare_run_dir() {
  mkdir -p "$RUN" 2>/dev/null || die "cannot write $RUN: make the checkout writable for $(id -un)"
  if [ ! -O "$RUN" ]; then
    die "$RUN belongs to another user; work as that user, or remove it: it holds throw-away data only"
  fi
  chmod 711 "$RUN"
  mkdir -p "$SVC" "$LOGS"
  chmod 711 "$SVC"
  chmod 700 "$LOGS"
  disown_copied_state
}

# A checkout copied with its .run would otherwise take the original's servers for its own.
disown_copied_state() {
  local recorded=''
  if [ -f "$RUN/root" ]; then recorded=$(<"$RUN/root"); fi
  if [ "$recorded" = "$ROOT" ]; then return; fi
  if [ -n "$recorded" ] && [ -d "$recorded" ]; then
    say "this checkout is a copy of $recorded: starting with an empty .run"
    find "$RUN" -mindepth 1 -delete
    mkdir -p "$SVC" "$LOGS"
    chmod 711 "$SVC"
    chmod 700 "$LOGS"
  fi
  printf '%s\n' "$ROOT" >"$RUN/root"
}

# Writes stdin to a file that only we can read, never half written.
write_private() {
  (umask 077 && cat >"$1.new") && mv -f "$1.new" "$1"
}

random_word() { od -An -N18 -tx1 /dev/urandom | tr -d ' \n'; }

# with_lock NAME COMMAND...: one at a time in this checkout. Children do not inherit the lock.
with_lock() {
  local file=$SVC/$1.lock
  shift
  if command -v flock >/dev/null; then
    (flock 9 && "$@" 9>&-) 9>"$file"
  else
    (lock_by_folder "$file.d" && "$@")
  fi
}

# The caller is a subshell: its end, however it comes, gives the lock back.
lock_by_folder() {
  local holder
  until mkdir "$1" 2>/dev/null; do
    holder=$(cat "$1/pid" 2>/dev/null || true)
    if [ -n "$holder" ] && ! kill -0 "$holder" 2>/dev/null; then rm -rf "$1"; fi
    sleep 0.2
  done
  # shellcheck disable=SC2064  # the path of now is meant
  trap "rm -rf '$1'" EXIT
  sh -c 'echo $PPID' >"$1/pid"
}

port_answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Below the range from which the kernel takes ports for outgoing connections.
free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    if ! port_answers "$port"; then
      echo "$port"
      return
    fi
  done
}

# remembered_port NAME: the port of last time if it is still free, so that URLs stay the same.
remembered_port() {
  local file=$SVC/$1.port port=''
  if [ -f "$file" ]; then port=$(<"$file"); fi
  if [ -z "$port" ] || port_answers "$port"; then
    port=$(free_port)
    echo "$port" >"$file"
  fi
  echo "$port"
}

# What tells a process from a later one with the same number.
process_mark() {
  local stat
  if [ -r /proc/self/stat ]; then
    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
    # Field 22, counted after the name, which may hold blanks and brackets.
    # shellcheck disable=SC2086  # split into fields
    set -- ${stat##*) }
    if [ "$1" = Z ]; then return 1; fi
    echo "$(</proc/sys/kernel/random/boot_id)-${20}"
  else
    stat=$(ps -o lstart= -p "$1" 2>/dev/null) && echo "$stat"
  fi
}

# record_process FILE PID
record_process() { printf '%s\n%s\n' "$2" "$(process_mark "$2")" >"$1"; }

# running_pid FILE: prints the recorded pid if that very process still runs.
running_pid() {
  local pid='' mark=''
  if [ ! -f "$1" ]; then return 1; fi
  { read -r pid && read -r mark; } <"$1" || return 1
  if [ -z "$mark" ] || [ "$(process_mark "$pid")" != "$mark" ]; then return 1; fi
  echo "$pid"
}

# end_process FILE SIGNAL SECONDS: asks, waits, then kills. Fails if nothing was running.
end_process() {
  local pid tries=$(($3 * 20))
  if ! pid=$(running_pid "$1"); then
    rm -f "$1"
    return 1
  fi
  kill -s "$2" "$pid" 2>/dev/null || true
  while running_pid "$1" >/dev/null; do
    tries=$((tries - 1))
    if [ "$tries" -eq 0 ]; then kill -s KILL "$pid" 2>/dev/null || true; fi
    sleep 0.05
  done
  rm -f "$1"
}

# Runs a program in a session of its own, so that neither ctrl-c nor a closed terminal reaches it.
# Used as `detached COMMAND... &`: the pid of the job is the pid of the program.
detached() {
  if command -v setsid >/dev/null; then exec setsid "$@"; fi
  exec perl -e 'use POSIX; POSIX::setsid(); exec @ARGV or die "$ARGV[0]: $!\n"' "$@"
}

show_log() {
  if [ ! -s "$1" ]; then return; fi
  complain "--- the last lines of ${1#"$ROOT"/}"
  tail -n "${2:-20}" "$1" >&2
  complain "---"
}
