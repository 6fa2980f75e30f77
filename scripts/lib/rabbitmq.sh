# shellcheck shell=bash
# A private RabbitMQ: one node with a name service (epmd), a cookie and ports of its own, so that
# it neither meets nor disturbs another node on the machine. Loopback only.

RABBITMQ_NODE=latchkey@localhost
# One scheduler pair and no busy waiting: the machine has other things to do.
RABBITMQ_VM_FLAGS='+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none'
# Erlang sizes tables by this limit, and some systems set it to a thousand million.
MOST_OPEN_FILES=65536

# Sets RABBITMQ_BASE, the folder with sbin/ and plugins/, and EPMD.
rabbitmq_find() {
  local dir
  RABBITMQ_BASE='' EPMD=''
  for dir in /usr/lib/rabbitmq/lib/rabbitmq_server-* /opt/homebrew/opt/rabbitmq /usr/local/opt/rabbitmq; do
    if [ -x "$dir/sbin/rabbitmq-server" ]; then RABBITMQ_BASE=$dir; fi
  done
  for dir in /usr/bin /{usr,usr/local/opt/erlang,opt/homebrew/opt/erlang}/lib/erlang/erts-*/bin; do
    if [ -x "$dir/epmd" ]; then EPMD=$dir/epmd; fi
  done
  [ -n "$RABBITMQ_BASE" ] && [ -n "$EPMD" ]
}

# rabbitmq_start ATTEMPT
rabbitmq_start() {
  local base=$RABBITMQ_BASE port
  if [ ! -f "$SVC/rabbitmq.password" ]; then random_word | write_private "$SVC/rabbitmq.password"; fi
  port=$(remembered_port rabbitmq)
  start_epmd
  remembered_port rabbitmq-dist >/dev/null
  write_rabbitmq_files "$port"
  # The last attempt takes the installation as it is.
  if [ "$1" -lt 3 ] && make_slim_server; then base=$HOME_DIR/server; fi
  rabbitmq_environment
  ulimit -n "$MOST_OPEN_FILES" 2>/dev/null || ulimit -n "$(ulimit -H -n)" 2>/dev/null || true
  launch rabbitmq "$LOGS/rabbitmq.log" "${RABBITMQ_ENV[@]}" "$base/sbin/rabbitmq-server"
}

# Ours, and started by us: the one that Erlang starts by itself outlives every node.
start_epmd() {
  local port tries=100
  if running_pid "$SVC/epmd.pid" >/dev/null; then return; fi
  port=$(remembered_port epmd)
  launch epmd "$LOGS/epmd.log" "$EPMD" -address 127.0.0.1 -port "$port"
  until port_answers "$port"; do
    tries=$((tries - 1))
    if [ "$tries" -eq 0 ]; then die "epmd does not answer on port $port"; fi
    sleep 0.02
  done
}

# Erlang terms instead of rabbitmq.conf: those need no schema, which saves half a second.
write_rabbitmq_files() {
  local password
  password=$(<"$SVC/rabbitmq.password")
  write_as_server "$HOME_DIR/advanced.config" <<CONFIG
[{rabbit, [
  {tcp_listeners, [{"127.0.0.1", $1}]},
  {default_user, <<"latchkey">>},
  {default_pass, <<"$password">>},
  {disk_free_limit, 50000000}
]}].
CONFIG
  echo '[].' | write_as_server "$HOME_DIR/enabled_plugins"
  if ! "${RUN_AS[@]}" test -f "$HOME_DIR/.erlang.cookie"; then
    random_word | write_as_server "$HOME_DIR/.erlang.cookie"
    "${RUN_AS[@]}" chmod 400 "$HOME_DIR/.erlang.cookie"
  fi
  echo "amqp://latchkey:$password@127.0.0.1:$1/%2f" | write_private "$SVC/rabbitmq.url"
}

# RabbitMQ looks through every plugin it finds, enabled or not. A view of the installation
# without them starts in about 3 s instead of 5.5.
make_slim_server() {
  if [ ! -f "$RABBITMQ_BASE/sbin/rabbitmq-env" ]; then return 1; fi
  # shellcheck disable=SC2016  # expanded by the inner shell
  "${RUN_AS[@]}" bash -euc '
    rm -rf "$2" && mkdir -p "$2/plugins"
    cp -RL "$1/sbin" "$2/sbin"
    shopt -s extglob nullglob
    ln -s "$1"/plugins/!(rabbitmq_*) "$1"/plugins/rabbitmq_prelaunch* "$2/plugins/"
    if [ -e "$1/escript" ]; then ln -s "$1/escript" "$2/escript"; fi
  ' bash "$RABBITMQ_BASE" "$HOME_DIR/server"
}

# Sets RABBITMQ_ENV: a clean environment, so that no setting of another node slips in.
rabbitmq_environment() {
  local path
  path=$(dirname "$(command -v erl)"):/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  RABBITMQ_ENV=(
    env -i "PATH=$path" LANG=C.UTF-8 "HOME=$HOME_DIR"
    "ERL_EPMD_PORT=$(server_port epmd)" ERL_EPMD_ADDRESS=127.0.0.1
    "ERL_CRASH_DUMP=$HOME_DIR/erl_crash.dump"
    "RABBITMQ_NODENAME=$RABBITMQ_NODE"
    "RABBITMQ_DIST_PORT=$(server_port rabbitmq-dist)"
    "RABBITMQ_MNESIA_BASE=$HOME_DIR/data"
    "RABBITMQ_LOG_BASE=$HOME_DIR/log" RABBITMQ_LOGS=-
    "RABBITMQ_CONF_ENV_FILE=$HOME_DIR/no-rabbitmq-env.conf"
    "RABBITMQ_CONFIG_FILE=$HOME_DIR/no-rabbitmq.conf"
    "RABBITMQ_ADVANCED_CONFIG_FILE=$HOME_DIR/advanced.config"
    "RABBITMQ_ENABLED_PLUGINS_FILE=$HOME_DIR/enabled_plugins"
    "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=$RABBITMQ_VM_FLAGS -kernel inet_dist_use_interface {127,0,0,1}"
    # Makes the start script become the node instead of waiting beside it.
    RUNNING_UNDER_SYSTEMD=true
  )
}

# RabbitMQ opens its port last. That a broker speaks there is seen from the first byte of its
# answer to the protocol header, which costs nothing; rabbitmqctl would cost seconds.
rabbitmq_ready() {
  local port byte=''
  port=$(server_port rabbitmq)
  (
    exec 3<>"/dev/tcp/127.0.0.1/$port"
    printf 'AMQP\0\0\11\1' >&3
    IFS= read -r -t 2 -n 1 -u 3 byte && [ "$byte" = $'\1' ]
  ) 2>/dev/null
}

rabbitmq_up() { server_up "$1" rabbitmq rabbitmq-server rabbitmq; }

# On SIGTERM the node stops in order; then its name service may go. A node that is still booting
# would not listen, so it may finish first: that is quicker than waiting until it is killed.
rabbitmq_down() {
  local was_running=0
  if running_pid "$SVC/rabbitmq.pid" >/dev/null; then await_server rabbitmq || true; fi
  server_down rabbitmq TERM 20 || was_running=1
  if ! end_process "$SVC/epmd.pid" TERM 5; then end_foundling; fi
  return "$was_running"
}

# A node that loses its name service starts another on the same port, which nobody recorded.
# This asks it to go, and it refuses while a node is registered.
end_foundling() {
  local port
  port=$(cat "$SVC/epmd.port" 2>/dev/null) || return 0
  if port_answers "$port" && rabbitmq_find; then
    ERL_EPMD_ADDRESS=127.0.0.1 "$EPMD" -port "$port" -kill >/dev/null 2>&1 || true
  fi
}

rabbitmq_wipe() { server_wipe rabbitmq; }

# The usual command-line tool, for the private node.
rabbitmq_ctl() {
  rabbitmq_find || die "there is no private RabbitMQ here"
  enter_home rabbitmq
  rabbitmq_environment
  cd / || return 1
  exec "${RUN_AS[@]}" "${RABBITMQ_ENV[@]}" "$RABBITMQ_BASE/sbin/rabbitmqctl" "$@"
}
