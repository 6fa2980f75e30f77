# shellcheck shell=bash
# Latchkey's own processes, as scripts/run starts them and scripts/stop ends them.

# shellcheck disable=SC2034  # read by scripts/run
BINARIES=${CARGO_TARGET_DIR:-$ROOT/target}/debug
# A call to a platform that rotates refresh tokens may be waiting for its answer for two minutes;
# killed before that, the new token is lost.
STOP_TIMEOUT_S=140
READY_TIMEOUT_S=60

# start_process NAME COMMAND...
start_process() {
  local name=$1
  shift
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

# preferred_port PORT: that port, or a free one if it is taken.
preferred_port() {
  if port_answers "$1"; then free_port; else echo "$1"; fi
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
