# Debian's packages and sources, unpacked but not installed; sourced by bash after
# lib.sh, never run. apt gets lists of its own: the system's keeps its settings.

# Makes a directory in which `debian_apt` keeps everything.
debian_lists() {
    debian_dir=$1
    mkdir -p "$debian_dir/lists/partial" "$debian_dir/archives/partial"
    # The sources that the system is configured with, but for those of others.
    # shellcheck disable=SC2016 # apt's variables, not the shell's
    apt-get indextargets 'Created-By: Packages' --format '$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)' |
        while read -r origin uri release component; do
            case $origin in
            Debian | Ubuntu | apt.postgresql.org) printf '%s\n' "deb $uri $release $component" "deb-src $uri $release $component" ;;
            esac
        done | sort -u >"$debian_dir/sources.list"
    [ -s "$debian_dir/sources.list" ] || die "apt knows no mirror of Debian; run apt-get update"
    debian_apt update
}

debian_apt() {
    (cd "$debian_dir" && exec apt-get -qq -o Dir::Etc::sourcelist="$debian_dir/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::lists="$debian_dir/lists" -o Dir::Cache="$debian_dir" -o APT::Get::List-Cleanup=0 \
        -o APT::Sandbox::User="$(id -un)" "$@" </dev/null >&2)
}

# The source of the installed server's version, and the package of its headers.
debian_postgres() {
    local major=$1 version=$2
    if ! debian_apt source --download-only --tar-only "postgresql-$major=$version"; then
        # Mirrors keep the newest of a series only; the suites of one differ little.
        say "${0##*/}: no source of $version; taking the newest of $major"
        debian_apt source --download-only --tar-only "postgresql-$major"
    fi
    debian_apt download "postgresql-server-dev-$major=$version" || debian_apt download "postgresql-server-dev-$major"
}
