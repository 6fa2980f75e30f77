# shellcheck shell=bash
# Virtual environments below .run for what is written in Python. Nothing is installed outside of them.

# python_env NAME REQUIREMENT...: sets PYTHON to the interpreter of an environment that holds exactly
# these packages. The package index is asked only when they change; fails with a word on what is missing.
python_env() {
  local venv=$RUN/python-$1 log=$LOGS/python-$1.log
  shift
  # shellcheck disable=SC2034  # read by those who source this
  PYTHON=$venv/bin/python
  if [ "$(cat "$venv/holds" 2>/dev/null)" = "$*" ] && "$PYTHON" -c '' 2>/dev/null; then return; fi
  # Debian ships `venv` without what puts pip into it, in a package of its own.
  if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    complain "python3 with its module venv is missing: on Debian and Ubuntu, apt-get install python3 python3-venv"
    return 1
  fi
  say "python: installing $*"
  rm -rf "$venv"
  if ! (python3 -m venv "$venv" && "$PYTHON" -m pip install --quiet --disable-pip-version-check "$@") >"$log" 2>&1; then
    show_log "$log"
    rm -rf "$venv"
    complain "$* cannot be installed: Python's package index must be reachable, this once"
    return 1
  fi
  echo "$*" >"$venv/holds"
}

# example_env: what docs/examples needs.
example_env() {
  local requirements
  read -r -d '' -a requirements <"$ROOT/docs/examples/requirements.txt" || true
  python_env examples "${requirements[@]}"
}
