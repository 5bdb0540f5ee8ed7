# Finding the programs. Each check_NEED sets FOUND_NEED and succeeds, or says in PROBLEM what is wrong.
# A program is tried for what it must do, not asked for its version alone.

QEMU_MINIMUM=9.0
GDB_MINIMUM=13
PYTHON_MINIMUM=3.11
# The kernel itself says which compiler it takes; 1.85 brought the 2024 edition.
RUST_MINIMUM=$(sed -n 's/^rust-version *= *"\([0-9.]*\)".*/\1/p' "$TINYOS_TOP/kernel/Cargo.toml" 2>/dev/null || true)
RUST_MINIMUM=${RUST_MINIMUM:-1.85}

NEEDS="python compiler qemu gdb rust"

# version_at_least HAVE WANTED: compares up to three numbers; an epoch and what follows the numbers are left out.
version_at_least() {
    local IFS=. have wanted position
    have=${1#*:} wanted=$2
    # shellcheck disable=SC2206
    have=(${have%%[!0-9.]*}) wanted=($wanted)
    for position in 0 1 2; do
        [ "${have[position]:-0}" -gt "${wanted[position]:-0}" ] && return 0
        [ "${have[position]:-0}" -lt "${wanted[position]:-0}" ] && return 1
    done
    return 0
}

# Each executable file of these names on PATH, in the order of the names.
on_path() {
    local name
    for name in "$@"; do
        type -aP "$name" || true
    done
}

# The first of the lines on standard input for which "$1 LINE" succeeds. PROBLEM stays that of the first line,
# which is the one a person would have expected to be taken.
first_that() {
    local serves=$1 candidate first_problem=''
    while read -r candidate; do
        "$serves" "$candidate" && return 0
        first_problem=${first_problem:-$PROBLEM}
    done
    PROBLEM=${first_problem:-not found}
    return 1
}

# serves_on_request SERVES VARIABLE PROGRAM: the program that the caller named is the only candidate.
serves_on_request() {
    local program
    program=$(type -P "$3") || fail "$2=$3 is not a program"
    "$1" "$program" || fail "$2: $PROBLEM"
}

python_serves() {
    local version
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || {
        PROBLEM="$1 does not run"
        return 1
    }
    version_at_least "$version" "$PYTHON_MINIMUM" || {
        PROBLEM="found $1, which is $version"
        return 1
    }
    "$1" -c 'import venv, ensurepip' 2>/dev/null || {
        PROBLEM="found $1, but without the modules venv and ensurepip"
        return 1
    }
    FOUND_PYTHON=$1
}

# The system's own Python first: GDB has that one inside, and a version manager's shim may change its mind.
check_python() {
    first_that python_serves < <(
        { type -aP python3 | grep -x /usr/bin/python3; on_path python3 python3.14 python3.13 python3.12 python3.11; } || true
    )
}

compiler_serves() {
    local program
    program=$TINYOS_TOP/build/compiled
    printf 'int main(void) { return 0; }\n' | "$1" -x c -o "$program" - 2>/dev/null || {
        rm -f "$program"
        PROBLEM="found $1, but it cannot link a program"
        return 1
    }
    rm -f "$program"
    FOUND_COMPILER=$1
}

check_compiler() {
    first_that compiler_serves < <(on_path cc)
}

qemu_serves() {
    local machines version
    machines=$("$1" -machine help 2>/dev/null) || {
        PROBLEM="$1 does not run"
        return 1
    }
    case $machines in
        *raspi4b*) FOUND_QEMU=$1 ;;
        *)
            version=$("$1" --version 2>/dev/null | sed -n '1s/.*version \([0-9.]*\).*/\1/p')
            PROBLEM="found $1, which is ${version:-of no known version} and has no machine raspi4b"
            return 1
            ;;
    esac
}

check_qemu() {
    if [ -n "$REQUESTED_QEMU" ]; then
        serves_on_request qemu_serves TINYOS_QEMU "$REQUESTED_QEMU"
    else
        first_that qemu_serves < <(on_path qemu-system-aarch64)
    fi
}

# GDB without Python, or without AArch64, answers this with an error.
GDB_QUESTION='import sys; gdb.execute("set architecture aarch64"); print("serves", gdb.VERSION, "%d.%d" % sys.version_info[:2])'

gdb_serves() {
    local answer
    answer=$("$1" -nx -batch -ex "python $GDB_QUESTION" 2>/dev/null | grep '^serves ') || {
        PROBLEM="found $1, but it lacks AArch64 or Python"
        return 1
    }
    # shellcheck disable=SC2086
    set -- "$1" $answer
    # Fedora's says "Fedora Linux 15.2": the number is the last word before Python's version.
    local gdb_version=${*: -2:1} python_version=${*: -1}
    version_at_least "$gdb_version" "$GDB_MINIMUM" || {
        PROBLEM="found $1, which is $gdb_version"
        return 1
    }
    version_at_least "$python_version" "$PYTHON_MINIMUM" || {
        PROBLEM="found $1, but with Python $python_version inside"
        return 1
    }
    FOUND_GDB=$1
}

check_gdb() {
    if [ -n "$REQUESTED_GDB" ]; then
        serves_on_request gdb_serves TINYOS_GDB "$REQUESTED_GDB"
    else
        first_that gdb_serves < <(on_path gdb-multiarch aarch64-elf-gdb aarch64-none-elf-gdb aarch64-linux-gnu-gdb gdb)
    fi
}

# The rustup that is installed, if any; its installer puts it where a shell started before has no PATH to.
rustup_program() {
    { on_path rustup; PATH=${HOME:-}/.cargo/bin on_path rustup; } | sed -n 1p
}

# The cargo of the toolchain that rustup takes in kernel/, where a file may choose one.
rustup_cargo() {
    local rustup
    rustup=$(rustup_program)
    [ -n "$rustup" ] && (cd "$TINYOS_TOP/kernel" && "$rustup" which cargo 2>>"$LOG")
}

# rustup_completes CARGO SYSROOT: asks rustup for what its toolchain lacks; where it cannot get that, the check
# that follows says so.
rustup_completes() {
    local rustup toolchain
    [ "$1" = "$(rustup_cargo)" ] || return 0
    rustup=$(rustup_program) toolchain=$(basename "$2")
    rust_has_target "$2" ||
        "$rustup" target add --toolchain "$toolchain" "$KERNEL_TARGET" >>"$LOG" 2>&1 ||
        say "rustup cannot get the target $KERNEL_TARGET for $toolchain"
    rust_has_components "$2" ||
        "$rustup" component add --toolchain "$toolchain" clippy rustfmt >>"$LOG" 2>&1 ||
        say "rustup cannot get clippy and rustfmt for $toolchain"
}

rust_has_target() { compgen -G "$1/lib/rustlib/$KERNEL_TARGET/lib/libcore-*.rlib" >/dev/null; }

rust_has_components() {
    local name
    for name in cargo cargo-clippy clippy-driver cargo-fmt rustfmt; do
        [ -x "$1/bin/$name" ] || return 1
    done
}

rust_serves() {
    local directory sysroot version host
    directory=$(dirname "$1")
    # A cargo may be a proxy or a link; the compiler itself knows where its toolchain is.
    sysroot=$(cd "$TINYOS_TOP/kernel" && "$directory/rustc" --print sysroot 2>>"$LOG") || {
        PROBLEM="found $1, but its rustc does not run"
        return 1
    }
    version=$("$sysroot/bin/rustc" --version --verbose | sed -n 's/^release: //p')
    host=$("$sysroot/bin/rustc" --version --verbose | sed -n 's/^host: //p')
    version_at_least "$version" "$RUST_MINIMUM" || {
        PROBLEM="found $1, which is ${version:-of no known version}"
        return 1
    }
    rustup_completes "$sysroot/bin/cargo" "$sysroot"
    rust_has_components "$sysroot" || {
        PROBLEM="found $1, but without clippy and rustfmt"
        return 1
    }
    if rust_has_target "$sysroot"; then
        FOUND_RUST_BUILD_STD=no
    elif [ -f "$sysroot/lib/rustlib/src/rust/library/core/Cargo.toml" ]; then
        FOUND_RUST_BUILD_STD=yes
    else
        PROBLEM="found $1, but without the target $KERNEL_TARGET, and without the library's source to build it from"
        return 1
    fi
    FOUND_RUST_LINKER=
    if [ ! -x "$sysroot/lib/rustlib/$host/bin/rust-lld" ]; then
        FOUND_RUST_LINKER=$(on_path ld.lld-19 ld.lld | sed -n 1p)
        [ -n "$FOUND_RUST_LINKER" ] || {
            PROBLEM="found $1, but neither rust-lld nor ld.lld"
            return 1
        }
    fi
    FOUND_RUST=$sysroot/bin/cargo
    FOUND_RUST_HOST=$host
}

check_rust() {
    if [ -n "$REQUESTED_CARGO" ]; then
        serves_on_request rust_serves TINYOS_CARGO "$REQUESTED_CARGO"
    else
        first_that rust_serves < <(
            # rustup's first, wherever it stands on PATH: it is the one a person chose.
            rustup_cargo || true
            on_path cargo
        )
    fi
}
