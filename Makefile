# Everything needs a Rust toolchain; the scripts install the rest on Debian and
# Ubuntu as root, and otherwise say what to install. `make demo` and `make test` need
# a C compiler, openssl and Postgres, the other targets more: see scripts/install-deps.

VERSIONS ?= 14 15 16 17 18
CARGO ?= cargo

.PHONY: build demo check test test-versions test-languages test-pgbouncer drivers pins suites conformance conformance-versions regress matrix endurance soak bench bench-quick clean

build:
	$(CARGO) build --release --locked

# A Postgres with TLS and the proxy in front of it, until Ctrl-C.
demo:
	scripts/install-deps base
	@echo "Building pgsluice for the demo: three to four minutes on two cores, the first time."
	$(CARGO) build --profile demo --locked
	target/demo/pgsluice demo

check:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --locked -- -D warnings
	$(CARGO) clippy $(addprefix --test ,versions languages pgbouncer endurance) --locked -- -D warnings
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --document-private-items --no-deps --locked
	$(CARGO) test --locked --test it -- architecture docs::

test:
	scripts/install-deps base
	$(MAKE) --no-print-directory check
	$(CARGO) test --locked

# What depends on the server's version, against 15 and 18: Debian's packages of Node.js
# and npm are almost 400, and npm fetches the server that Debian has not.
test-versions:
	scripts/install-deps base versions
	$(CARGO) test --locked --test versions

# Functions in PL/Perl, PL/Python and PL/Tcl.
test-languages:
	scripts/install-deps base languages
	$(CARGO) test --locked --test languages -- languages::

# With pgbouncer as the upstream.
test-pgbouncer:
	scripts/install-deps base pgbouncer
	$(CARGO) test --locked --test pgbouncer

# Every driver check, through the proxy, and through a pool of four connections in
# transaction mode, where clients log in with the server or with the proxy.
drivers:
	scripts/install-deps base drivers
	$(CARGO) build --release --locked
	tests/drivers/through-proxy tests/drivers/run
	tests/conformance/through-proxy --limit 4 --config tests/drivers/pool.toml tests/drivers/run
	REFUSED_BY="pgsluice: " tests/conformance/through-proxy --limit 4 --config tests/drivers/held.toml tests/drivers/run

# A hundred clients of each driver on a pool of eight: what drivers always do pins
# nobody. PINS="--compare --rounds 3" measures beside pgbouncer.
pins:
	scripts/install-deps base $(if $(findstring compare,$(PINS)),peers) drivers
	$(CARGO) build --release --locked
	tests/drivers/pins/run $(PINS)

# Drivers' and ORMs' own test suites, directly and through the proxy: no test worse.
# SUITES="asyncpg --mode transaction" for fewer, and other options.
suites:
	scripts/install-deps base suites
	$(CARGO) build --release --locked
	tests/suites/run $(SUITES)

# SQL scripts and pipelines, through the proxy and directly: the same, to the byte.
conformance:
	scripts/install-deps base drivers
	$(CARGO) build --release --locked
	tests/conformance/through-proxy tests/conformance/all
	# More clients than connections; the one script left out logs in as roles that it makes.
	tests/conformance/through-proxy --limit 8 --config tests/conformance/pool.toml \
		tests/conformance/run --clients 8 --poison 6 --only '^(?!role$$)'
	tests/conformance/through-proxy --limit 8 --config tests/conformance/pool.toml tests/conformance/pipeline

# The ring in pools, for each version of the server, logins held and passed through:
# make conformance-versions VERSIONS="15 18" RING="--mode session --login held"
conformance-versions:
	scripts/install-deps base drivers
	$(CARGO) build --release --locked
	tests/conformance/versions $(RING) $(VERSIONS)

# PostgreSQL's own regression suite, through a pool of eight connections in
# transaction mode, alone and beside clients that set all they can on it;
# REGRESS="--held --size 3" for other options.
regress:
	scripts/install-deps base regress
	$(CARGO) build --release --locked
	tests/regress/run $(REGRESS)
	tests/regress/run --poison 6 $(REGRESS)

# Postgres's own tools and two drivers, through the proxy, for each version of
# the server: make matrix VERSIONS="15 18"
matrix:
	scripts/install-deps base drivers
	$(CARGO) build --release --locked
	tests/matrix $(VERSIONS)

# A gigabyte each way, 2,000 idle clients, and a minute of COPY at 64 MiB/s in each direction.
endurance:
	scripts/install-deps base
	$(CARGO) test --release --locked --test endurance -- --nocapture --test-threads 1

# Pools under load: 500 clients on eight connections for ten minutes in each
# mode, then priorities, recovery and logins. SOAK="--minutes 0.5 held" for less.
soak:
	scripts/install-deps base
	$(CARGO) build --release --locked --bins --example soak
	tests/endurance/run $(or $(SOAK),--minutes 10)

# Side by side with other proxies; writes bench/RESULTS.md and bench/plots.
# An hour on an otherwise idle machine; BENCH="--rounds 3" for other options.
bench bench-quick:
	scripts/install-deps base peers
	$(CARGO) build --release --locked --bins --examples
	bench/run $(if $(filter bench-quick,$@),--quick) $(BENCH)

clean:
	$(CARGO) clean
