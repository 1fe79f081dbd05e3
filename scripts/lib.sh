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
