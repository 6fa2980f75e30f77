# shellcheck shell=bash
# Latchkey's own processes, as scripts/run starts them and scripts/stop ends them.

# shellcheck disable=SC2034  # read by scripts/run
BINARIES=${CARGO_TARGET_DIR:-$ROOT/target}/debug
# A call to a platform that rotates refresh tokens may be waiting for its answer for two minutes;
# killed before that, the new token is lost.
STOP_TIMEOUT_S=140
READY_TIMEOUT_S=60

# How many logs of earlier runs are kept.
KEPT_LOGS=5

# rotate_log FILE: what an earlier run wrote is evidence.
rotate_log() {
  local log=$1 number
  if [ ! -s "$log" ]; then return; fi
  for ((number = KEPT_LOGS - 1; number > 0; number--)); do
    if [ -e "$log.$number" ]; then mv "$log.$number" "$log.$((number + 1))"; fi
  done
  mv "$log" "$log.1"
}

# start_process NAME COMMAND...
start_process() {
  local name=$1
  shift
  rotate_log "$LOGS/$name.log"
  (cd "$ROOT" && detached "$@") </dev/null >"$LOGS/$name.log" 2>&1 &
  record_process "$RUN/$name.pid" $!
}

process_runs() { running_pid "$RUN/$1.pid" >/dev/null; }

stack_runs() { process_runs api || process_runs worker || process_runs sandbox; }

# The sandbox goes last: calls to it may still be under way.
stop_stack() {
  if ! stack_runs; then return 1; fi
  end_process "$RUN/api.pid" TERM "$STOP_TIMEOUT_S" &
  end_process "$RUN/worker.pid" TERM "$STOP_TIMEOUT_S" &
  wait
  end_process "$RUN/sandbox.pid" TERM 5 || true
  say "api, worker and sandbox stopped"
}

# kept_port NAME PORT: the port of the run before, at first that one; a free one if it is taken. Redirect URIs that are
# registered at platforms have it in them.
kept_port() {
  local file=$RUN/$1.port port
  port=$(cat "$file" 2>/dev/null || echo "$2")
  if port_answers "$port"; then port=$(free_port); fi
  echo "$port" | tee "$file"
}

# http_status PORT PATH [HEADER]: without curl, which a small machine may lack.
http_status() {
  local status=''
  (
    exec 3<>"/dev/tcp/127.0.0.1/$1"
    printf 'GET %s HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n%s\r\n' "$2" "${3:+$3$'\r\n'}" >&3
    read -r -t 5 -u 3 _ status _
    echo "$status"
  ) 2>/dev/null
}

# await_ready NAME COMMAND...: until the command succeeds, while the process lives.
await_ready() {
  local name=$1 tries=$((READY_TIMEOUT_S * 20))
  shift
  until "$@"; do
    tries=$((tries - 1))
    if [ "$tries" -eq 0 ] || ! process_runs "$name"; then
      show_log "$LOGS/$name.log"
      die "$name does not get ready; its log is .run/logs/$name.log"
    fi
    sleep 0.05
  done
}

answers_ready() { [ "$(http_status "$1" /readyz)" = 200 ]; }
