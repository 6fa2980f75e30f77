# shellcheck shell=bash
# A private PostgreSQL: loopback only, a password of its own, data below .run.
# As it should be in production, Latchkey has no superuser: `latchkey` owns the schema, `latchkey_rows` reads and writes rows.

OLDEST_POSTGRES=15

# Sets POSTGRES_BIN: the newest version, or the one that made the data which is there.
postgres_find() {
  local wanted='' best=0 dir major
  POSTGRES_BIN=''
  if [ -f "$SVC/postgres.version" ]; then wanted=$(<"$SVC/postgres.version"); fi
  for dir in $(postgres_folders); do
    if [ ! -x "$dir/postgres" ] || [ ! -x "$dir/initdb" ]; then continue; fi
    major=$("$dir/postgres" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
    if [ -n "$wanted" ] && [ "$major" != "$wanted" ]; then continue; fi
    if [ "$major" -ge "$OLDEST_POSTGRES" ] && [ "$major" -gt "$best" ]; then
      best=$major POSTGRES_BIN=$dir
    fi
  done
  if [ -n "$POSTGRES_BIN" ]; then return; fi
  if [ -n "$wanted" ]; then
    die "the data in .run is of PostgreSQL $wanted, which is gone: \`scripts/services reset\` begins anew"
  fi
  return 1
}

postgres_folders() {
  ls -d /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql@*/bin \
    /usr/local/opt/postgresql@*/bin 2>/dev/null || true
  if command -v postgres >/dev/null; then dirname "$(command -v postgres)"; fi
}

# Without fsync a process that is killed still loses nothing, which tests rely on; what a crash of the machine
# would lose here is worth nothing.
postgres_start() {
  local port
  if ! "${RUN_AS[@]}" test -d "$HOME_DIR/data"; then make_cluster; fi
  bury_postmaster
  if [ ! -f "$SVC/postgres.rows" ]; then make_rows_role; fi
  port=$(remembered_port postgres)
  write_postgres_url "$port"
  launch postgres "$LOGS/postgres.log" "$POSTGRES_BIN/postgres" -D "$HOME_DIR/data" -p "$port" \
    -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=300 \
    -c shared_buffers=128MB -c logging_collector=off -c fsync=off
}

# A postmaster that was killed and that nobody reaps, as in a container without an init, still looks
# alive to PostgreSQL. Its record stays, with a number that is surely free, so that PostgreSQL goes
# on to its other check: whether a child of it still uses the shared memory.
bury_postmaster() {
  local record=$HOME_DIR/data/postmaster.pid pid
  pid=$("${RUN_AS[@]}" head -n 1 "$record" 2>/dev/null) || return 0
  if [ -d "/proc/$pid" ] && ! process_mark "$pid" >/dev/null; then
    "${RUN_AS[@]}" sed -i "1s/.*/$(sh -c 'echo $$')/" "$record"
  fi
}

# Made beside its final place, so that an interrupted start leaves nothing half done.
make_cluster() {
  local new=$HOME_DIR/data.new password
  if [ ! -f "$SVC/postgres.password" ]; then random_word | write_private "$SVC/postgres.password"; fi
  password=$(<"$SVC/postgres.password")
  "${RUN_AS[@]}" rm -rf "$new"
  echo "$password" | write_as_server "$HOME_DIR/password"
  if ! (cd "$HOME_DIR" && fill_cluster "$new" "$password") >"$LOGS/initdb.log" 2>&1; then
    show_log "$LOGS/initdb.log"
    die "cannot make a PostgreSQL cluster in $HOME_DIR"
  fi
  "${RUN_AS[@]}" rm -f "$HOME_DIR/password"
  "$POSTGRES_BIN/postgres" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/' >"$SVC/postgres.version"
  "${RUN_AS[@]}" mv "$new" "$HOME_DIR/data"
}

# The role of API and workers. Data of earlier versions lacks it.
make_rows_role() {
  alone "$HOME_DIR/data" \
    "CREATE ROLE latchkey_rows LOGIN PASSWORD '$(<"$SVC/postgres.password")'" \
    "GRANT latchkey_rows TO latchkey" >"$LOGS/postgres-roles.log" 2>&1
  touch "$SVC/postgres.rows"
}

# alone FOLDER STATEMENT...: in single-user mode, in which a statement ends with its line.
# A failed one is found when a URL is tried.
alone() {
  local folder=$1
  shift
  printf '%s\n' "$@" | "${RUN_AS[@]}" "$POSTGRES_BIN/postgres" --single -D "$folder" postgres
}

# fill_cluster FOLDER PASSWORD
fill_cluster() {
  "${RUN_AS[@]}" "$POSTGRES_BIN/initdb" -D "$1" -U postgres --auth=scram-sha-256 \
    --pwfile="$HOME_DIR/password" --encoding=UTF8 --locale=C --no-instructions || return 1
  alone "$1" \
    "CREATE ROLE latchkey LOGIN CREATEDB PASSWORD '$2'" \
    "GRANT pg_signal_backend TO latchkey" \
    "CREATE DATABASE latchkey OWNER latchkey"
}

write_postgres_url() {
  local password
  password=$(cat "$SVC/postgres.password") || die "the password of the private PostgreSQL is gone: \`scripts/services reset\`"
  echo "postgres://latchkey:$password@127.0.0.1:$1/latchkey" | write_private "$SVC/postgres.url"
}

postgres_ready() {
  port_answers "$(server_port postgres)" && postgres_accepts
}

# The port is open before recovery is over; pg_isready knows the difference.
postgres_accepts() {
  if [ -z "${POSTGRES_BIN:-}" ]; then postgres_find || return 1; fi
  "$POSTGRES_BIN/pg_isready" -q -t 2 -h 127.0.0.1 -p "$(server_port postgres)"
}

postgres_up() { server_up "$1" postgres postgresql postgresql@17; }

# SIGINT is PostgreSQL's fast shutdown: sessions end, nothing is lost.
postgres_down() { server_down postgres INT 30; }

postgres_wipe() {
  server_wipe postgres
  # The key that run keeps was for the data that is gone.
  rm -f "$SVC/postgres.version" "$SVC/postgres.rows" "$RUN/bootstrap.json" "$RUN/env"
}
