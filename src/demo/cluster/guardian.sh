# Keeps one throwaway Postgres, and ends with it.
#
# Started as `sh -c THIS guardian BIN_DIR` in the cluster's own directory. It
# obeys the lines it reads, and when stdin ends, for whatever reason the process
# at the other end is gone, it stops the server and removes the directory.
#
# Postgres is a child of this shell, so that its end is an event (`wait`) and
# not a process number that somebody else may have got meanwhile. The file
# `exited` tells the outside that the server is not running, and why.

bin=$1
dir=$(pwd -P)
initialized=
supervisor=

initialize() {
  # C.UTF-8 is not known everywhere; C is.
  for locale in C.UTF-8 C; do
    rm -rf data
    "$bin/initdb" -D data -U postgres -A scram-sha-256 --pwfile=superuser.password \
      -E UTF8 --locale="$locale" --no-sync >>postgres.log 2>&1 && break
  done &&
    "$bin/postgres" --single -D data -c config_file="$dir/postgresql.conf" postgres \
      <setup.sql >>postgres.log 2>&1 &&
    initialized=yes || echo initialize >exited
  rm -f superuser.password setup.sql
}

start() {
  [ -n "$initialized" ] || return
  rm -f exited server.pid
  {
    "$bin/postgres" -D data -c config_file="$dir/postgresql.conf" \
      </dev/null >>postgres.log 2>&1 &
    echo $! >server.pid
    wait $!
    echo $? >exited
  } &
  supervisor=$!
}

# $1: TERM waits for sessions, INT ends them, QUIT is a crash.
stop() {
  [ -n "$supervisor" ] || return
  until [ -s server.pid ]; do sleep 1; done
  if ! [ -e exited ]; then
    kill -s "$1" "$(cat server.pid)"
    # A test may have frozen it.
    kill -s CONT "$(cat server.pid)"
  fi
  wait "$supervisor"
  supervisor=
}

while read -r order argument; do
  case $order in
    initialize) initialize ;;
    start) start ;;
    stop) stop "$argument" ;;
  esac
done

stop QUIT
cd / && rm -rf -- "$dir"
