# Shell functions shared by scripts/*. Source it from bash, then call what you need:
#
#     . "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
#     ensure_ready            # set-up and kernel are in place; TINYOS_* variables are exported
#
# Nothing here writes to standard output: progress and errors go to standard error.
# It runs in bash 3.2 too (macOS), so there are no associative arrays.

# What a user has set for other programs changes neither what is built nor which Python runs: `cd` prints where
# CDPATH is set, RUSTFLAGS takes the place of the link script's, and PYTHONHOME keeps .venv's Python from starting.
# Not among them is what says where packages come from, as PIP_INDEX_URL.
unset CDPATH PYTHONHOME PYTHONPATH PYTHONPLATLIBDIR PYTHONSTARTUP PYTHONINSPECT PYTHONWARNINGS PYTHONSAFEPATH
unset PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT PIP_REQUIRE_VIRTUALENV PIP_DRY_RUN
unset RUSTFLAGS RUSTC "${!CARGO_BUILD_@}" "${!CARGO_TARGET_@}" "${!CARGO_PROFILE_@}" \
    "${!CARGO_ENCODED_@}"

TINYOS_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
KERNEL_TARGET=aarch64-unknown-none-softfloat
ENVIRONMENT_FILE=$TINYOS_TOP/build/environment
SETUP_STAMP=$TINYOS_TOP/build/setup.stamp
KERNEL_STAMP=$TINYOS_TOP/build/kernel.stamp
RECORDER=$TINYOS_TOP/build/recorder.so

# What set-up was made from: when one of these changes, it is looked at again.
SETUP_INPUTS=(
    "$TINYOS_TOP/pyproject.toml"
    "$TINYOS_TOP"/scripts/lib/*.sh
    "$TINYOS_TOP"/scripts/lib/{setup,debian,rust}.py
    "$TINYOS_TOP/gdbplugin/programs.py"
)

# A tool named by the caller wins over what would be found, and is remembered in build/environment.
REQUESTED_CARGO=${TINYOS_CARGO:-}
REQUESTED_QEMU=${TINYOS_QEMU:-}
REQUESTED_GDB=${TINYOS_GDB:-}

# Where standard error is closed or full nobody is told, and the script goes on.
say() { printf '%s\n' "tinyos: $*" >&2 || true; }
fail() {
    say "error: $*"
    exit 1
}

# Exports the variables that set-up wrote; fails where there are none.
load_environment() {
    [ -f "$ENVIRONMENT_FILE" ] || return 1
    set -a
    # shellcheck disable=SC1090
    . "$ENVIRONMENT_FILE"
    set +a
}

# True when the stamp is newer than each input. Only shell builtins: this is on the way of every command.
setup_is_current() {
    local input
    [ -f "$SETUP_STAMP" ] && load_environment || return 1
    # A checkout that was moved has a .venv that points to its old place.
    [ "$TINYOS_ROOT" = "$TINYOS_TOP" ] || return 1
    [ "${REQUESTED_CARGO:-$TINYOS_CARGO}" = "$TINYOS_CARGO" ] || return 1
    [ "${REQUESTED_QEMU:-$TINYOS_QEMU}" = "$TINYOS_QEMU" ] || return 1
    [ "${REQUESTED_GDB:-$TINYOS_GDB}" = "$TINYOS_GDB" ] || return 1
    [ -x "$TINYOS_CARGO" ] && [ -x "$TINYOS_QEMU" ] && [ -x "$TINYOS_GDB" ] && [ -x "$TINYOS_PYTHON" ] || return 1
    for input in "${SETUP_INPUTS[@]}"; do
        [ "$SETUP_STAMP" -nt "$input" ] || return 1
    done
}

# True when no source of the kernel, and no tool that builds it, changed since the last build began.
kernel_is_current() {
    local newer file pool=
    for file in kernel.elf kernel8.img boot/kernel8.img boot/config.txt; do
        [ -f "$TINYOS_TOP/build/$file" ] || return 1
    done
    [ -f "$KERNEL_STAMP" ] || return 1
    # The stamp holds what the kernel was built with beside its sources.
    read -r pool <"$KERNEL_STAMP"
    [ "$pool" = "${TINYOS_POOL_MIB:-}" ] || return 1
    newer=$(find "$TINYOS_TOP/kernel" "$TINYOS_TOP/scripts/lib" "$ENVIRONMENT_FILE" \
        \( -path "$TINYOS_TOP/kernel/target" -o -name __pycache__ \) -prune \
        -o -type f -newer "$KERNEL_STAMP" -print -quit) || return 1
    [ -z "$newer" ]
}

# Runs "$2…" with the lock of this checkout held, unless "$1" (a check) holds by then.
# The command does not inherit the lock, so nothing it leaves behind can keep it.
under_lock_unless() {
    local current=$1
    shift
    command -v flock >/dev/null || fail "flock is missing (util-linux; on macOS: brew install flock)"
    mkdir -p "$TINYOS_TOP/build" || fail "cannot write to $TINYOS_TOP/build"
    (
        flock -n 9 || {
            say "waiting for another set-up or build in this checkout"
            flock 9
        }
        "$current" || "$@" 9>&-
    ) 9>"$TINYOS_TOP/build/lock" || exit 1
}

# The set-up itself is Python: lib/python.sh finds one to run it with. Of the programs, only those that the
# caller named are handed on, not those that the last set-up found.
install() {
    . "$TINYOS_TOP/scripts/lib/python.sh"
    ensure_python
    TINYOS_CARGO=$REQUESTED_CARGO TINYOS_QEMU=$REQUESTED_QEMU TINYOS_GDB=$REQUESTED_GDB \
        "$SETUP_PYTHON" -B "$TINYOS_TOP/scripts/lib/setup.py" "$TINYOS_TOP"
}

# Programs, Python packages: returns at once where nothing changed.
ensure_setup() {
    setup_is_current && return
    under_lock_unless setup_is_current install
    load_environment
}

# build/kernel.elf, build/kernel8.img and build/boot; needs ensure_setup first.
ensure_kernel() {
    kernel_is_current && return
    under_lock_unless kernel_is_current build_kernel
}

# All that scripts/test and the like stand on.
ensure_ready() {
    ensure_setup
    ensure_kernel
    ensure_recorder
}

# cargo with its own rustc, rustfmt and clippy: another toolchain earlier on PATH must not mix in.
# It runs in kernel/, for cargo reads .cargo/config.toml from the current directory.
cargo_in_kernel() (
    cd "$TINYOS_TOP/kernel" || exit
    PATH=${TINYOS_CARGO%/*}:$PATH exec "$TINYOS_CARGO" "$@"
)

# cargo for the kernel's target: `cargo_for_kernel build --release`. Arguments for the compiler's
# driver may follow `--`.
cargo_for_kernel() (
    local subcommand=$1
    shift
    local options=(--target "$KERNEL_TARGET")
    if [ "$TINYOS_RUST_BUILD_STD" = yes ]; then
        # Distributions ship no compiled `core` for this target, but its source. Building it is an
        # unstable option of cargo, which a stable compiler takes only with RUSTC_BOOTSTRAP.
        export RUSTC_BOOTSTRAP=1
        options+=(-Zbuild-std=core,compiler_builtins -Zbuild-std-features=compiler-builtins-mem)
    fi
    if [ -n "$TINYOS_RUST_LINKER" ]; then
        export CARGO_TARGET_AARCH64_UNKNOWN_NONE_SOFTFLOAT_LINKER=$TINYOS_RUST_LINKER
    fi
    cargo_in_kernel "$subcommand" "${options[@]}" "$@"
)

# QEMU's plugin that records the guest, build/recorder.so; needs ensure_setup first.
ensure_recorder() {
    recorder_is_current && return
    under_lock_unless recorder_is_current build_recorder
}

recorder_is_current() {
    local newer
    [ -f "$RECORDER" ] || return 1
    newer=$(find "$TINYOS_TOP/qemu/recorder" -type f -newer "$RECORDER" -print -quit) || return 1
    [ -z "$newer" ]
}

build_recorder() {
    local target=$TINYOS_TOP/build/recorder built
    built=$target/$TINYOS_RUST_HOST/release/libtinyos_recorder.so
    say "building the recorder"
    cargo_for_recorder build --quiet --locked --release >&2 || fail "the recorder does not build"
    cp "$built" "$RECORDER.new" && touch "$RECORDER.new" && mv "$RECORDER.new" "$RECORDER" || fail "cannot write $RECORDER"
}

cargo_in_recorder() (
    cd "$TINYOS_TOP/qemu/recorder" || exit
    PATH=${TINYOS_CARGO%/*}:$PATH exec "$TINYOS_CARGO" "$@"
)

# cargo for the recorder, which runs on this machine: `cargo_for_recorder build --release`.
cargo_for_recorder() {
    local subcommand=$1
    shift
    cargo_in_recorder "$subcommand" --target "$TINYOS_RUST_HOST" --target-dir "$TINYOS_TOP/build/recorder" "$@"
}

build_kernel() {
    local built=$TINYOS_TOP/kernel/target/$KERNEL_TARGET/release/kernel build=$TINYOS_TOP/build
    [ -f "$TINYOS_TOP/kernel/Cargo.toml" ] || fail "there is no kernel to build: kernel/Cargo.toml is missing"
    # The stamp carries the time the build began: a source saved while it runs is newer than that.
    printf '%s\n' "${TINYOS_POOL_MIB:-}" >"$build/kernel.stamp.new"
    say "building the kernel"
    cargo_for_kernel build --quiet --locked --release --bin kernel >&2 || fail "the kernel does not build"
    # An unchanged ELF keeps its file, so that a GDB that has it open need not read it again.
    cmp -s "$built" "$build/kernel.elf" || {
        cp "$built" "$build/kernel.elf.new" && mv "$build/kernel.elf.new" "$build/kernel.elf"
    } || fail "cannot write $build/kernel.elf"
    "$TINYOS_PYTHON" "$TINYOS_TOP/scripts/lib/flat_image.py" "$build/kernel.elf" "$build/kernel8.img" || exit 1
    # What a board's boot partition needs of ours.
    mkdir -p "$build/boot" && cp "$build/kernel8.img" "$TINYOS_TOP/scripts/lib/config.txt" "$build/boot" ||
        fail "cannot write to $build/boot"
    mv "$build/kernel.stamp.new" "$KERNEL_STAMP"
}
