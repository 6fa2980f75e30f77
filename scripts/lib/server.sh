# shellcheck shell=bash
# What PostgreSQL and RabbitMQ have in common as private servers of this checkout: whom they run
# as, where they keep their data, how they are started, awaited and ended.
# A server NAME brings NAME_find, NAME_start and NAME_ready.

START_TIMEOUT_S=60

# Both servers refuse to run as root, or should: root lends them an unprivileged user.
server_user() {
  local user
  if [ "$(id -u)" -ne 0 ]; then
    id -un
    return
  fi
  for user in "$1" nobody; do
    if id "$user" >/dev/null 2>&1; then
      echo "$user"
      return
    fi
  done
  die "running as root, and there is no unprivileged user to run $1 as"
}

# Sets HOME_DIR, where server NAME keeps its data, and RUN_AS, the words before its commands.
enter_home() {
  local user uid gid
  RUN_AS=(env)
  if [ -f "$SVC/$1.home" ]; then
    { read -r HOME_DIR && read -r user; } <"$SVC/$1.home"
  else
    HOME_DIR='' user=$(server_user "$1")
  fi
  if [ "$(id -u)" -eq 0 ]; then
    command -v setpriv >/dev/null || die "running as root needs setpriv (package util-linux)"
    uid=$(id -u "$user") gid=$(id -g "$user")
    RUN_AS=(setpriv "--reuid=$uid" "--regid=$gid" --clear-groups env)
  fi
  if [ -z "$HOME_DIR" ] || ! reachable_home "$HOME_DIR"; then make_home "$1" "$user"; fi
}

reachable_home() { (cd / && "${RUN_AS[@]}" test -w "$1/.") 2>/dev/null; }

# Inside .run if the server's user can get there, which below /root it cannot.
make_home() {
  HOME_DIR=$RUN/$1
  mkdir -p "$HOME_DIR"
  own_home "$2"
  if ! reachable_home "$HOME_DIR"; then
    rmdir "$HOME_DIR" 2>/dev/null || true
    HOME_DIR=$(mktemp -d "/var/tmp/latchkey-$1.XXXXXX")
    own_home "$2"
    say "$1 runs as $2, who cannot enter $RUN: its data is in $HOME_DIR"
  fi
  printf '%s\n%s\n' "$HOME_DIR" "$2" >"$SVC/$1.home"
}

own_home() {
  chmod 700 "$HOME_DIR"
  if [ "$(id -u)" -eq 0 ]; then chown "$1:$(id -g "$1")" "$HOME_DIR"; fi
}

# write_as_server FILE: stdin into a file that only the server's user can read.
write_as_server() {
  # shellcheck disable=SC2016  # expanded by the inner shell
  "${RUN_AS[@]}" sh -c 'umask 077 && rm -f "$1" && cat >"$1"' sh "$1"
}

# launch NAME LOG COMMAND...: in the background and in the server's home.
launch() {
  local name=$1 log=$2
  shift 2
  (cd "$HOME_DIR" && detached "${RUN_AS[@]}" "$@") </dev/null >"$log" 2>&1 &
  record_process "$SVC/$name.pid" $!
}

server_port() { cat "$SVC/$1.port"; }

await_server() {
  local tries=$((START_TIMEOUT_S * 20))
  until "$1_ready"; do
    tries=$((tries - 1))
    if [ "$tries" -eq 0 ] || ! running_pid "$SVC/$1.pid" >/dev/null; then return 1; fi
    sleep 0.05
  done
}

# server_up AWAIT NAME APT_PACKAGE BREW_PACKAGE: AWAIT is yes or no.
server_up() {
  local await=$1
  shift
  if running_pid "$SVC/$1.pid" >/dev/null; then
    join_server "$await" "$1"
  elif [ -f "$SVC/$1.docker" ]; then
    docker_up "$1"
  elif "$1_find" || { install_packages "$2" "$3" && "$1_find"; }; then
    enter_home "$1"
    start_server "$await" "$1"
  elif docker_answers; then
    docker_up "$1"
  else
    nothing_to_run "$1" "$2"
  fi
}

# Another call started it, perhaps just now.
join_server() {
  if [ "$1" = no ]; then return; fi
  if "$2_ready"; then
    say "$2 is up already on 127.0.0.1:$(server_port "$2")"
  elif await_server "$2"; then
    say "$2 ready on 127.0.0.1:$(server_port "$2")"
  else
    fail_to_start "$2"
  fi
}

# A port may be taken between our look and the server's: then once more with another.
start_server() {
  local attempt
  for attempt in 1 2 3; do
    "$2_start" "$attempt"
    if [ "$1" = no ]; then return; fi
    if await_server "$2"; then
      say "$2 ready on 127.0.0.1:$(server_port "$2")"
      return
    fi
    if running_pid "$SVC/$2.pid" >/dev/null; then break; fi
    if grep -qi 'in use' "$LOGS/$2.log"; then rm -f "$SVC/$2.port" "$SVC/$2-dist.port"; fi
  done
  fail_to_start "$2"
}

fail_to_start() {
  show_log "$LOGS/$1.log"
  die "$1 does not start; the log above says why. \`scripts/services reset\` begins with empty data"
}

nothing_to_run() {
  complain "$1 is missing, cannot be installed from here, and no Docker engine answers. Either"
  complain "  - install it: sudo apt-get install $2"
  complain "  - or start Docker"
  die "  - or use your own server: export DATABASE_URL=postgres://... AMQP_URL=amqp://..."
}

# server_down NAME SIGNAL SECONDS: fails if it was not running.
server_down() {
  if [ -f "$SVC/$1.docker" ]; then
    docker_down "$1"
  else
    end_process "$SVC/$1.pid" "$2" "$3"
  fi
}

# server_wipe NAME: removes the data of a stopped server, and where it was. Password and port stay, so
# that an address in somebody's environment is still good, and known as ours.
server_wipe() {
  local home=''
  if [ -f "$SVC/$1.docker" ]; then docker_wipe "$1"; fi
  if [ -f "$SVC/$1.home" ]; then read -r home <"$SVC/$1.home"; fi
  case $home in
    "$RUN/$1" | /var/tmp/latchkey-"$1".??????) rm -rf "$home" ;;
  esac
  rm -f "$SVC/$1".{home,url,docker}
}
