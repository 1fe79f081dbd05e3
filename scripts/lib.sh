# Shared by the scripts here and under tests/; sourced by bash, never run.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*" >&2; }
die() { say "${0##*/}: $*"; exit 1; }
is_root() { [ "$(id -u)" -eq 0 ]; }

# Where downloads and built environments live. Outside the checkout, so that
# `git clean` keeps them; for root not under its home, because the server then
# runs as user postgres, who may not enter there.
cache_dir() {
    if [ -n "${PGSLUICE_CACHE:-}" ]; then
        printf '%s\n' "$PGSLUICE_CACHE"
    elif is_root; then
        printf '%s\n' /var/cache/pgsluice
    else
        printf '%s\n' "${XDG_CACHE_HOME:-$HOME/.cache}/pgsluice"
    fi
}

# Postgres refuses to run as root. Its working directory must be one that
# postgres may enter, or every command warns about it.
as_postgres() {
    if is_root; then
        (cd / && exec runuser -u postgres -- "$@")
    else
        "$@"
    fi
}

# The distribution's server binaries, newest version first.
system_postgres_bin() {
    local dir
    for dir in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -t/ -k5 -rn); do
        if [ -x "$dir/postgres" ] && [ -x "$dir/initdb" ] && [ -x "$dir/pg_ctl" ]; then
            printf '%s\n' "$dir"
            return 0
        fi
    done
    return 1
}

# A port nobody listens on at this moment, below the ephemeral range so that
# no outgoing connection takes it before the server binds it.
free_port() {
    local port
    while :; do
        port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            printf '%s\n' "$port"
            return 0
        fi
    done
}

random_secret() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }

require_pg_env() {
    local name
    for name in PGHOST PGPORT PGUSER PGPASSWORD PGDATABASE; do
        [ -n "${!name:-}" ] || die "$name is not set; see tests/drivers/README.md"
    done
}

# run_checks LABEL JOBS FUNCTION NAME...
#
# Runs check programs, JOBS at a time, and prints their lines, each with the
# program's name, as every program ends. FUNCTION NAME sets the array `command`.
# A program counts as failed if it exits other than 0, says `not ok`, has no
# `ok` line at all, or takes longer than CHECK_SECONDS.
run_checks() {
    local label=$1 jobs=$2 function=$3 name dir began=$SECONDS command
    shift 3
    dir=$(mktemp -d)
    # shellcheck disable=SC2064 # the directory is known now
    trap "rm -rf '$dir'" EXIT
    trap 'kill $(jobs -p) 2>/dev/null; exit 130' INT TERM
    for name; do
        while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n || true; done
        command=()
        "$function" "$name" || die "no such check: $name"
        (
            rc=0
            timeout -k 5 "${CHECK_SECONDS:-300}" "${command[@]}" \
                >"$dir/$name.out" 2>"$dir/$name.err" </dev/null || rc=$?
            exec 9>"$dir/lock"
            flock 9
            sed "s/^/$name: /" "$dir/$name.out"
            if [ "$rc" -ne 0 ] || ! grep -q '^ok ' "$dir/$name.out" || grep -q '^not ok ' "$dir/$name.out"; then
                touch "$dir/$name.failed"
                tail -n 60 "$dir/$name.err" | sed "s/^/$name! /" >&2
                printf '%s: not ok: the program ended with status %s\n' "$name" "$rc"
            fi
        ) &
    done
    wait

    local ok skipped bad failed
    ok=$(cat "$dir"/*.out | grep '^ok ' | grep -vc ' # skip' || true)
    skipped=$(cat "$dir"/*.out | grep -c '^ok .* # skip' || true)
    bad=$(cat "$dir"/*.out | grep -c '^not ok ' || true)
    failed=$(find "$dir" -name '*.failed' | wc -l)
    printf '%s: %s programs, %s failed; %s cases ok, %s not ok, %s skipped; %s s\n' \
        "$label" "$#" "$failed" "$ok" "$bad" "$skipped" "$((SECONDS - began))"
    [ "$failed" -eq 0 ] && [ "$ok" -gt 0 ]
}
