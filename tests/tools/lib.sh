# Shared by the checks of Postgres's own tools; sourced by bash, never run.

# Takes the scripts' helpers along.
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
require_pg_env

# The caller's own settings for libpq, and its ~/.psqlrc, are not part of the check.
unset PGSSLMODE PGSSLROOTCERT PGSSLCERT PGSSLKEY PGSERVICE PGOPTIONS PGAPPNAME PSQLRC
export PGCONNECT_TIMEOUT=10

work=$(mktemp -d)
databases=()
cleanup() {
    local database
    for database in ${databases[@]+"${databases[@]}"}; do
        psql -XAtq -c "DROP DATABASE IF EXISTS $database WITH (FORCE)" >/dev/null 2>&1 || true
    done
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

suffix=$$_$RANDOM
failures=0

# new_database NAME: creates it, prints nothing, drops it at the end.
new_database() {
    databases+=("$1")
    psql -XAtq -c "CREATE DATABASE $1"
}

sql() { psql -XAtq -v ON_ERROR_STOP=1 "$@"; }

# The reason a case fails; use as `|| fail ...`.
fail() {
    printf '%s\n' "$*" >"$work/why"
    exit 1
}
same() { [ "$1" = "$2" ] || fail "$3: got '${1:0:200}', want '${2:0:200}'"; }

# check FUNCTION: runs it as one case, in a subshell with `set -e`. The
# subshell stands alone on its line because `if` or `||` would switch -e off.
check() {
    local rc
    rm -f "$work/why"
    set +e
    (set -e; "$1") >"$work/log" 2>&1
    rc=$?
    set -e
    if [ "$rc" -eq 0 ]; then
        echo "ok $1"
    else
        failures=$((failures + 1))
        if [ -s "$work/why" ]; then
            echo "not ok $1: $(tr '\n' ' ' <"$work/why")"
        else
            echo "not ok $1: status $rc: $(tail -n 3 "$work/log" | tr '\n' ' ')"
        fi
        cat "$work/log" >&2
    fi
}
skip() { echo "ok $1 # skip: $2"; }

done_checking() { [ "$failures" -eq 0 ] || exit 1; }

server_major() { sql -c "SELECT current_setting('server_version_num')::int / 10000"; }
client_major() { "$1" --version | sed 's/.*) \([0-9]*\).*/\1/'; }

# Waits, up to 10 s, for the query to give the value.
until_query() {
    local deadline=$((SECONDS + 10))
    until [ "$(sql -c "$1")" = "$2" ]; do
        [ "$SECONDS" -le "$deadline" ] || fail "still not '$2' after 10 s: $1"
        sleep 0.1
    done
}
