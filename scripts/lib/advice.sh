# What to tell a person whose system set-up cannot mend: program, version, and how to get it.

# describe NEED: the program, the version and what it must be able to do.
describe() {
    case $1 in
        python) echo "Python $PYTHON_MINIMUM or newer, with venv (python3)" ;;
        compiler) echo "a C compiler that links programs for this machine (cc), any version" ;;
        qemu) echo "QEMU $QEMU_MINIMUM or newer, with the machine raspi4b (qemu-system-aarch64)" ;;
        gdb) echo "GDB $GDB_MINIMUM or newer, with AArch64 and Python $PYTHON_MINIMUM or newer inside (gdb-multiarch)" ;;
        rust) echo "Rust $RUST_MINIMUM or newer with clippy, rustfmt and the target $KERNEL_TARGET (cargo)" ;;
    esac
}

# how_to_get NEED: one line for each system.
how_to_get() {
    case $1 in
        python)
            cat <<'TEXT'
Debian    apt install python3 python3-venv  (12 or newer)
Ubuntu    apt install python3 python3-venv  (24.04 or newer)
Fedora    dnf install python3
Arch      pacman -S python
macOS     brew install python
TEXT
            ;;
        compiler)
            cat <<'TEXT'
Debian    apt install gcc libc6-dev
Ubuntu    apt install gcc libc6-dev
Fedora    dnf install gcc
Arch      pacman -S gcc
macOS     xcode-select --install
TEXT
            ;;
        qemu)
            cat <<'TEXT'
Debian    apt install -t bookworm-backports qemu-system-arm  (12, with that archive; from 13 on without -t)
Ubuntu    apt install qemu-system-arm  (25.04 or newer; 24.04 has 8.2, which lacks raspi4b)
Fedora    dnf install qemu-system-aarch64
Arch      pacman -S qemu-system-aarch64
macOS     brew install qemu
TEXT
            ;;
        gdb)
            cat <<'TEXT'
Debian    apt install gdb-multiarch
Ubuntu    apt install gdb-multiarch
Fedora    dnf install gdb
Arch      pacman -S aarch64-linux-gnu-gdb
macOS     brew install aarch64-elf-gdb
TEXT
            ;;
        rust)
            cat <<TEXT
Debian    apt install rustc-web cargo-web rust-web-src rustfmt-web rust-web-clippy lld-19  (12, with the archive bookworm-security; else as Ubuntu)
Ubuntu    apt install rustup && rustup toolchain install stable --target $KERNEL_TARGET
Fedora    dnf install rustup && rustup-init -y --target $KERNEL_TARGET
Arch      pacman -S rustup && rustup toolchain install stable --target $KERNEL_TARGET
macOS     brew install rustup && rustup toolchain install stable --target $KERNEL_TARGET
TEXT
            ;;
    esac
}

# explain REASON NEED…: the one message, on standard error. PROBLEM_<need> holds what was found instead.
explain() {
    local need problem reason=$1
    shift
    {
        printf 'tinyos: error: programs are missing, and set-up cannot install them here: %s.\n' "$reason"
        for need in "$@"; do
            problem=PROBLEM_$need
            printf '\n  %s\n  (%s)\n' "$(describe "$need")" "${!problem}"
            how_to_get "$need" | sed 's/^/    /'
        done
        printf '\nThen run the command again.\n'
    } >&2
}
