# Builds, runs and proves Panzer. Needs cargo and a C linker; no root. The tests
# need strace and python3 too.
#
#   make            ./panzer and ./panzerctl, the programs that ship (without std)
#   make run        the HTTP example under it, on 127.0.0.1:8080
#   make test       all tests, against ./panzer
#
# Some drills download what they need, or take long, and are not in .ci/run: test-systemd-new,
# test-systemd-vm, soak, torture, fuzz, controls, mutants, miri, other-builds, all benches, and
# the parts of test-packaging but install.
#
# PREFIX and DESTDIR are make install's; T and N are make again's; F is make faults' and
# faults-kernel's; BENCH and BENCH_JSON are make bench's, PEERS make bench-peers', EXPERIMENT make
# soak's, MINUTES make torture's, FILES make yaml's, SESSION make session's, SEEDS and FROM make
# sim's, C make controls', S make test-servers' and bench-servers', U and KILLS make test-systemd's,
# K make test-containers', ROUNDS make test-rolling's and bench-servers', SUPERVISORS make
# test-supervisors', SECONDS and FUZZ make fuzz's, P make test-packaging's, B make other-builds',
# and ASYNC make test-async's: how many reloads and final stops.

CARGO = cargo
PREFIX = /usr/local
DESTDIR =
T =
N = 100
BENCH =
BENCH_JSON =
EXPERIMENT =
PEERS = --document
MINUTES = 10
F =
FILES = 10000
C =
S =
SEEDS = 100
FROM =
ASYNC = 100 20
U =
KILLS = 3
K =
ROUNDS = 10
SUPERVISORS =
SECONDS = 60
FUZZ =
P =

SHIP = --release --no-default-features
MUSL = x86_64-unknown-linux-musl
TARGET = target
EXAMPLES = $(TARGET)/debug/examples
SYSTEMD = $(TARGET)/systemd

all: panzer panzerctl

panzer panzerctl: always
	$(CARGO) build --quiet $(SHIP) --bin $@ --target-dir $(TARGET)/ship
	cmp -s $(TARGET)/ship/release/$@ $@ || { cp $(TARGET)/ship/release/$@ $@.new && mv $@.new $@; }

examples: always
	$(CARGO) build --quiet --examples --target-dir $(TARGET)

run: panzer panzerctl examples
	mkdir -p tmp
	./panzer $(EXAMPLES)/http

basic: panzer examples
	./panzer $(EXAMPLES)/basic

stubborn: panzer examples
	./panzer $(EXAMPLES)/stubborn

test: panzer panzerctl examples
	PANZER_BIN="$$PWD/panzer" PANZERCTL_BIN="$$PWD/panzerctl" $(CARGO) test --target-dir $(TARGET)

# One test over and over: make again T=a_first_sigint N=200
again: panzer panzerctl examples
	i=0; while [ $$i -lt $(N) ]; do \
	  PANZER_BIN="$$PWD/panzer" PANZERCTL_BIN="$$PWD/panzerctl" \
	  $(CARGO) test --quiet --target-dir $(TARGET) '$(T)' || exit 1; \
	  i=$$((i + 1)); echo "$$i of $(N)"; \
	done

# Everything by the thousand: SEED=n repeats, QUICK=1 takes a minute.
soak: panzer panzerctl
	$(CARGO) build --quiet --release --examples --target-dir $(TARGET)
	PANZER_BIN="$$PWD/panzer" PANZERCTL_BIN="$$PWD/panzerctl" \
	$(CARGO) bench --bench soak --target-dir $(TARGET) -- $(EXPERIMENT)

# Three services under load, while everything that can happen happens at random: SEED=n
# repeats, CALM=1 kills, stops and freezes no process. Needs root and a C compiler.
torture: static examples
	$(CARGO) build --quiet --manifest-path examples/axum/Cargo.toml --target-dir $(TARGET)/async
	PANZER_BIN="$$PWD/$(TARGET)/$(MUSL)/release/panzer" \
	PANZERCTL_BIN="$$PWD/$(TARGET)/$(MUSL)/release/panzerctl" \
	tests/torture/run $(MINUTES)

# The picture of the README, from a run of docs/session/commands. Needs ab(1), ip(8) and root.
SESSION = docs/session/session.svg
session: panzer panzerctl
	$(CARGO) build --quiet --release --example http --target-dir $(TARGET)
	PANZER_EXAMPLES="$$PWD/$(TARGET)/release/examples" docs/session/record $(SESSION)

# What the static program costs, beside the least that C does for the same: make bench
# BENCH=respawn BENCH_JSON=FILE. Needs a C compiler for that, and an idle machine. In a
# folder of its own: cargo builds the programs for a bench, too, and with std.
bench: static
	PANZER_BIN="$$PWD/$(TARGET)/$(MUSL)/release/panzer" \
	PANZERCTL_BIN="$$PWD/$(TARGET)/$(MUSL)/release/panzerctl" BENCH_JSON=$(abspath $(BENCH_JSON)) \
	$(CARGO) bench --quiet --bench figures --target $(MUSL) --target-dir $(TARGET)/bench -- $(BENCH)

# Panzer beside nginx, HAProxy, unicorn, puma, gunicorn, uWSGI, php-fpm, start_server, s6, runit,
# supervisord and pm2, which are installed. Writes docs/peers.md. An hour, of an idle machine; root.
# PEERS="--rounds 3 nginx s6" tries some, and writes no document.
bench-peers: static
	$(CARGO) build --quiet --release --example http --target $(MUSL) --target-dir $(TARGET)
	PANZER_BIN="$$PWD/$(TARGET)/$(MUSL)/release/panzer" \
	HTTP_BIN="$$PWD/$(TARGET)/$(MUSL)/release/examples/http" benches/peers/run $(PEERS)

# Reloads under load, of all kinds of sockets: not one request may fail.
bench-reload: panzer
	PANZER_BIN="$$PWD/panzer" $(CARGO) bench --bench reload --target-dir $(TARGET)

# Faults planted in the plans, one at a time: the walk must find each. F="--some 15" plants
# some, F=NAME that one.
faults: always
	tests/faults/run $(F)

# Every call of a main that was executed in place fails once: a table. Needs strace.
faults-restart: panzer panzerctl
	tests/restart/calls ./panzer ./panzerctl

# Every call of main, of a library monitor and of a pool fails once in each way that its
# environment can make it fail. F="--some 50" tries some. Needs root, strace and cc; ten minutes.
faults-kernel: static
	$(CARGO) build --quiet --release --target $(MUSL) --manifest-path examples/small/Cargo.toml --target-dir $(TARGET)/small
	tests/kernel/run $(F)

# What a configuration file means, to Panzer and to two parsers of YAML, which
# pip knows as pyyaml and ruamel.yaml: make yaml FILES=10000
yaml: panzer
	tests/yaml/compare ./panzer $(FILES)

# Other people's servers, installed from their registries: each says in its own
# words that it is ready. S=NAME tries some.
test-servers: panzer panzerctl
	tests/servers/run $(S)

# What they lose in reloads, and what a broken release of each does: the table of
# docs/servers.md. S=NAME tries some. Takes root where a package of Debian's is missing.
bench-servers: panzer panzerctl
	benches/servers/run $(S)

# The examples under tokio and mio, from cargo's registry: reloads and final stops under load.
test-async: panzer panzerctl
	tests/async/run $(ASYNC)

# The example without std, linked statically, and what embedding Panzer adds to it.
test-small: panzer panzerctl
	tests/small/run

# Under a real systemd: the one that is installed, in namespaces of its own. Needs root.
# U=NAME tries some, KILLS=20 kills main so often under load.
test-systemd: panzer panzerctl examples
	PANZER_EXAMPLES="$$PWD/$(EXAMPLES)" PANZER_KILLS=$(KILLS) tests/systemd/run $(U)

# The same under the systemd of another Debian, 257, which has Type=notify-reload. Needs
# debootstrap too, which downloads that Debian once, below target/.
test-systemd-new: panzer panzerctl examples
	tests/systemd/make-root $(SYSTEMD)/root
	PANZER_ROOT="$$PWD/$(SYSTEMD)/root" PANZER_EXAMPLES="$$PWD/$(EXAMPLES)" PANZER_KILLS=$(KILLS) \
	tests/systemd/run $(U)

# What needs the memory controller of control groups of version 2: in a virtual machine.
# Needs debootstrap, qemu-system-x86, busybox-static and e2fsprogs, and some minutes.
test-systemd-vm: panzer panzerctl examples
	tests/systemd/make-root $(SYSTEMD)/root
	PANZER_EXAMPLES="$$PWD/$(EXAMPLES)" tests/systemd/vm $(SYSTEMD)/vm $(SYSTEMD)/root memory memory_kill

# As process 1 of containers whose root has static files alone. Needs root. K=NAME tries some.
test-containers: static-examples
	tests/containers/run $(K)

# Two containers behind a HAProxy, which is installed here, are replaced under load.
test-rolling: static-examples
	tests/containers/rolling $(ROUNDS)

# The Dockerfile, by the docker and the dockerd that are installed here.
test-docker: static-examples
	tests/containers/docker

static-examples: static
	$(CARGO) build --quiet --example http --example witness --target $(MUSL) --target-dir $(TARGET)

# The run scripts for s6, runit and supervisord, by those of them that are installed.
test-supervisors: panzer panzerctl examples
	PANZER_EXAMPLES="$$PWD/$(EXAMPLES)" tests/supervisors/run $(SUPERVISORS)

# Both state machines under a false kernel: tests/sim. FROM=seed begins there, without the
# seeds that have found something before.
sim: always
	CARGO_PROFILE_RELEASE_OPT_LEVEL=2 CARGO_PROFILE_RELEASE_LTO=false \
	CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 SEEDS=$(SEEDS) FROM=$(FROM) \
	$(CARGO) test --quiet --release --test sim --target-dir $(TARGET)/sim

# Guards taken out of the program, one at a time: a test must miss each. C=NAME takes
# out some, C="--since COMMIT 20" some of the files that changed since then.
controls: always
	tests/controls/run $(C)

# Each function of the pure files changed in all small ways, one at a time: a unit test
# must notice. With process ids of their own: some would signal every process. Needs
# cargo-mutants; tests/mutants.md has what is left. PURE=FILES tries others.
PURE = src/backoff.rs src/stall.rs src/decimal.rs src/split.rs src/nearest.rs src/seconds.rs \
	src/text.rs src/exit_status.rs src/exec_result.rs src/environment.rs src/printable.rs \
	src/log_line.rs src/types.rs src/persist.rs src/ctl/args.rs 'src/config/*.rs' \
	'src/protocol/*.rs' src/main_process/announcements.rs src/main_process/situation.rs
mutants: always
	CARGO_PROFILE_TEST_OPT_LEVEL=0 CARGO_PROFILE_TEST_DEBUG=0 \
	unshare --map-root-user --pid --fork --mount-proc --kill-child \
	$(CARGO) mutants --no-shuffle --baseline skip --timeout 30 --output $(TARGET) --cargo-arg=--lib \
	  $(addprefix --file ,$(PURE)) -- -- --skip walk --skip heap

# The heap of the programs without std, under Miri, which looks at each access to memory. Needs a
# nightly toolchain, which rustup installs there.
miri: always
	tests/miri/run

# All kinds of bytes into all that reads what comes from outside, for so many
# seconds each; make test reads those that were kept. Needs cargo-fuzz and a nightly
# toolchain: cargo install cargo-fuzz --locked. FUZZ=yaml is that one alone.
fuzz: always
	fuzz/run $(SECONDS) $(FUZZ)

lint: always
	$(CARGO) fmt --check
	rustfmt --check --edition 2024 examples/*/src/*.rs fuzz/targets/*.rs
	$(CARGO) clippy --quiet --all-targets --target-dir $(TARGET) -- -D warnings
	$(CARGO) clippy --quiet --lib --bins --target-dir $(TARGET) -- -D warnings
	$(CARGO) clippy --quiet --no-default-features --bins --target-dir $(TARGET) -- -D warnings
	.ci/layers
	tests/controls/check

# The manual pages, and where all documents lead. Needs mandoc and python3.
lint-docs: always
	mandoc -T lint -W warning man/*
	tests/docs/width man/*
	tests/docs/links

# The sessions of docs/troubleshooting.md, typed.
test-docs: panzer panzerctl examples
	PANZER_BIN=./panzer PANZERCTL_BIN=./panzerctl PANZER_EXAMPLES=$(EXAMPLES) tests/docs/troubleshooting

# Lines of code by folder: no blanks, no comments, no tests.
lines: always
	.ci/lines

# The table of sections is for debuggers; the kernel does not look at it.
static: always
	$(CARGO) build --quiet $(SHIP) --bins --target $(MUSL) --config static.toml --target-dir $(TARGET)
	sysroot=$$(rustc --print sysroot) && for program in panzer panzerctl; do \
	  LD_LIBRARY_PATH="$$sysroot/lib" "$$sysroot"/lib/rustlib/*/bin/rust-objcopy \
	    --strip-sections $(TARGET)/$(MUSL)/release/$$program || exit 1; \
	done
	ls -l $(TARGET)/$(MUSL)/release/panzer $(TARGET)/$(MUSL)/release/panzerctl

# The tests of the processes, against the static programs. No clock that lies can
# be preloaded into these.
test-static: static examples
	PANZER_BIN="$$PWD/$(TARGET)/$(MUSL)/release/panzer" \
	PANZERCTL_BIN="$$PWD/$(TARGET)/$(MUSL)/release/panzerctl" \
	$(CARGO) test --target-dir $(TARGET) --test process -- --skip wall_clock_jump

# With the manual pages, the completions of bash, zsh and fish, and what a service is made from.
install: panzer panzerctl
	packaging/install install "$(DESTDIR)$(PREFIX)" ./panzer ./panzerctl

uninstall:
	packaging/install uninstall "$(DESTDIR)$(PREFIX)"

# From what the programs print; make test says when they are not equal.
completions: panzer panzerctl
	packaging/completions ./panzer ./panzerctl completions

# Typed into the three shells, which are installed here.
test-completions: always
	tests/completions/run

# The source of the last commit and static programs built from it, with checksums, below
# target/dist: the same bytes wherever they are made. MUSL names the processor.
dist: always
	packaging/dist $(TARGET)/dist $(MUSL)

# A package for Debian of these programs. Needs dpkg-deb.
deb: dist
	packaging/deb $(TARGET)/dist $(MUSL)

# By the oldest and the newest Rust, debug and release, glibc and musl, and for aarch64; what can
# be run here serves and is reloaded. B=WORD: those with it in their names.
other-builds: always
	tests/builds/run $(B)

# Installed, built twice, packed, and purged again: P="install cargo dist deb" are all parts.
test-packaging: panzer panzerctl
	packaging/test $(P)

clean:
	rm -rf $(TARGET) panzer panzer.new panzerctl panzerctl.new

always:

.PHONY: all examples run basic stubborn session test again soak torture fuzz bench bench-peers \
	bench-reload faults faults-restart \
	faults-kernel yaml sim controls mutants miri lint lint-docs lines static \
	test-static test-servers bench-servers test-async test-small test-systemd test-systemd-new test-systemd-vm \
	test-containers test-rolling test-docker static-examples test-supervisors \
	install uninstall completions test-docs test-completions dist deb test-packaging other-builds clean always
