# shellcheck shell=bash
# The last resort: the servers of compose.yaml, published on loopback under free ports.

docker_answers() {
  command -v docker >/dev/null && docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1
}

# Compose project of this checkout; compose.yaml itself publishes no server port.
docker_compose() {
  local name=$1 port=5432
  shift
  if [ "$name" = rabbitmq ]; then port=5672; fi
  printf 'services: { %s: { ports: ["127.0.0.1::%s"] } }\n' "$name" "$port" >"$SVC/$name.compose.yaml"
  LATCHKEY_POSTGRES_PASSWORD=$(<"$SVC/docker.password") \
    LATCHKEY_RABBITMQ_PASSWORD=$(<"$SVC/docker.password") \
    docker compose --project-name "$(docker_project)" --project-directory "$ROOT" \
    -f "$ROOT/compose.yaml" -f "$SVC/$name.compose.yaml" "$@"
}

docker_project() { echo "latchkey-$(printf %s "$ROOT" | cksum | cut -d ' ' -f 1)"; }

docker_up() {
  local port scheme=postgres path=latchkey
  if [ "$1" = rabbitmq ]; then scheme=amqp path=%2f; fi
  with_lock docker docker_password
  say "$1 is not installed: starting it with docker compose"
  touch "$SVC/$1.docker"
  docker_compose "$1" up --detach --wait "$1" >"$LOGS/$1.log" 2>&1 || fail_to_start "$1"
  port=$(docker_compose "$1" port "$1" "$([ "$1" = rabbitmq ] && echo 5672 || echo 5432)")
  echo "${port##*:}" >"$SVC/$1.port"
  echo "$scheme://latchkey:$(<"$SVC/docker.password")@127.0.0.1:${port##*:}/$path" | write_private "$SVC/$1.url"
  say "$1 ready on 127.0.0.1:${port##*:} (docker)"
}

docker_password() {
  if [ ! -f "$SVC/docker.password" ]; then random_word | write_private "$SVC/docker.password"; fi
}

docker_running() { [ -n "$(docker_compose "$1" ps --quiet --status running "$1" 2>/dev/null)" ]; }

docker_down() {
  docker_running "$1" || return 1
  docker_compose "$1" stop "$1" >/dev/null 2>&1
}

docker_wipe() {
  docker_compose "$1" rm --force --stop "$1" >/dev/null 2>&1 || true
  docker volume rm --force "$(docker_project)_$1-data" >/dev/null 2>&1 || true
}
