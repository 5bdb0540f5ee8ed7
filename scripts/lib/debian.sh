# Installing Debian packages on Debian 12, without ever asking a question.

OS_RELEASE=${TINYOS_OS_RELEASE:-/etc/os-release}

# os_release KEY: a value of os-release, unquoted.
os_release() {
    sed -n "s/^$1=//p" "$OS_RELEASE" 2>/dev/null | tr -d '"' | sed -n 1p
}

# Succeeds where packages can be installed; else REASON says why not.
debian_can_install() {
    local system
    system=$(os_release PRETTY_NAME)
    if [ "$(os_release ID)" != debian ] || [ "$(os_release VERSION_ID)" != 12 ]; then
        REASON="it installs packages on Debian 12 only, and this is ${system:-$(uname -s)}"
        return 1
    fi
    command -v apt-get >/dev/null || {
        REASON="there is no apt-get"
        return 1
    }
    [ "$(id -u)" = 0 ] && return
    command -v sudo >/dev/null || {
        REASON="it is not run as root, and there is no sudo"
        return 1
    }
    # Where a person sits at the terminal, sudo may ask for the password.
    sudo -n true 2>/dev/null || { [ -t 0 ] && sudo true; } || {
        REASON="it is not run as root, and sudo does not allow it"
        return 1
    }
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        env DEBIAN_FRONTEND=noninteractive "$@"
    else
        sudo env DEBIAN_FRONTEND=noninteractive "$@"
    fi
}

apt_get() {
    as_root apt-get -y -q -o DPkg::Lock::Timeout=600 -o Dpkg::Options::=--force-confold "$@"
}

candidate_version() {
    LC_ALL=C apt-cache policy "$1" | sed -n 's/^  Candidate: \([^(].*\)/\1/p'
}

# add_source SUITE URI: one more archive of Debian's own.
add_source() {
    say "adding Debian's archive $1 to apt's sources"
    printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' \
        "$2" "$1" /usr/share/keyrings/debian-archive-keyring.gpg |
        as_root tee "/etc/apt/sources.list.d/$1.sources" >/dev/null ||
        fail "cannot write /etc/apt/sources.list.d/$1.sources"
    run_logged "reading apt's package lists" apt_get update
}

# The mirror that bookworm itself comes from has the backports too.
debian_mirror() {
    local mirror
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Codename: bookworm' 'Component: main' | sed -n 1p)
    echo "${mirror:-http://deb.debian.org/debian}"
}

install_qemu() {
    if ! version_at_least "$(candidate_version qemu-system-arm)" "$QEMU_MINIMUM"; then
        # Backports carry a lower priority than the release: they may be there and yet be no candidate.
        case $(apt-cache madison qemu-system-arm) in
            *bookworm-backports*) ;;
            *) add_source bookworm-backports "$(debian_mirror)" ;;
        esac
        set -- -t bookworm-backports
    fi
    run_logged "installing QEMU" apt_get install --no-install-recommends "$@" qemu-system-arm
}

install_rust() {
    # Debian keeps a current Rust for its web browsers; it arrives through the security archive.
    version_at_least "$(candidate_version rustc-web)" "$RUST_MINIMUM" ||
        add_source bookworm-security http://deb.debian.org/debian-security
    run_logged "installing Rust" apt_get install --no-install-recommends \
        rustc-web cargo-web rust-web-src rustfmt-web rust-web-clippy lld-19
}

# debian_install NEED…
debian_install() {
    local need packages=()
    run_logged "reading apt's package lists" apt_get update
    # cargo and pip fetch over https, which needs the certificates a bare system lacks.
    [ -s /etc/ssl/certs/ca-certificates.crt ] || packages+=(ca-certificates)
    # The terminal in which the tests type. No program needs it: elsewhere, that test is left out.
    command -v tmux >/dev/null || packages+=(tmux)
    for need in "$@"; do
        case $need in
            python) packages+=(python3 python3-venv) ;;
            compiler) packages+=(gcc libc6-dev) ;;
            gdb) packages+=(gdb-multiarch) ;;
        esac
    done
    if [ ${#packages[@]} -gt 0 ]; then
        run_logged "installing ${packages[*]}" apt_get install --no-install-recommends "${packages[@]}"
    fi
    for need in "$@"; do
        case $need in
            qemu) install_qemu ;;
            rust) install_rust ;;
        esac
    done
}
