# shellcheck shell=bash
# The last resort: servers in containers, published on loopback under free ports.

docker_answers() {
  command -v docker >/dev/null && docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1
}

# Compose project of this checkout.
docker_compose() {
  local name=$1
  shift
  "${name}_service" >"$SVC/$name.compose.yaml"
  LATCHKEY_PASSWORD=$(<"$SVC/docker.password") docker compose --project-name "$(docker_project)" \
    --project-directory "$ROOT" -f "$SVC/$name.compose.yaml" "$@"
}

postgres_service() {
  cat <<'SERVICE'
services:
  postgres:
    image: postgres:16
    command: postgres -c max_connections=300
    environment: { POSTGRES_USER: latchkey, POSTGRES_DB: latchkey, POSTGRES_PASSWORD: "${LATCHKEY_PASSWORD}" }
    ports: ["127.0.0.1::5432"]
    volumes: ["postgres-data:/var/lib/postgresql/data"]
    healthcheck: { test: pg_isready --quiet --host 127.0.0.1, interval: 2s, retries: 30 }
volumes: { postgres-data: {} }
SERVICE
}

rabbitmq_service() {
  cat <<'SERVICE'
services:
  rabbitmq:
    image: rabbitmq:4
    hostname: rabbitmq
    environment: { RABBITMQ_DEFAULT_USER: latchkey, RABBITMQ_DEFAULT_PASS: "${LATCHKEY_PASSWORD}" }
    ports: ["127.0.0.1::5672"]
    volumes: ["rabbitmq-data:/var/lib/rabbitmq"]
    healthcheck: { test: rabbitmq-diagnostics --quiet check_port_connectivity, interval: 5s, retries: 24 }
volumes: { rabbitmq-data: {} }
SERVICE
}

docker_project() { echo "latchkey-$(printf %s "$ROOT" | cksum | cut -d ' ' -f 1)"; }

docker_up() {
  local port scheme=postgres path=latchkey
  if [ "$1" = rabbitmq ]; then scheme=amqp path=%2f; fi
  with_lock docker docker_password
  say "$1 is not installed: starting it with docker compose"
  touch "$SVC/$1.docker"
  docker_compose "$1" up --detach --wait "$1" >"$LOGS/$1.log" 2>&1 || fail_to_start "$1"
  if [ "$1" = postgres ]; then docker_rows_role; fi
  port=$(docker_compose "$1" port "$1" "$([ "$1" = rabbitmq ] && echo 5672 || echo 5432)")
  echo "${port##*:}" >"$SVC/$1.port"
  echo "$scheme://latchkey:$(<"$SVC/docker.password")@127.0.0.1:${port##*:}/$path" | write_private "$SVC/$1.url"
  say "$1 ready on 127.0.0.1:${port##*:} (docker)"
}

# It refuses to make what is there.
docker_rows_role() {
  docker_compose postgres exec -T postgres psql --username latchkey \
    -c "CREATE ROLE latchkey_rows LOGIN PASSWORD '$(<"$SVC/docker.password")'" >>"$LOGS/postgres.log" 2>&1 || true
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
