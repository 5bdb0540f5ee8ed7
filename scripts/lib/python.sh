# Finds a Python that can run the set-up, scripts/lib/setup.py, or has apt-get install one. All else that set-up
# needs is found and installed from Python.

PYTHON_MINOR_MINIMUM=11
SETUP_LOG=$TINYOS_TOP/build/setup.log

# python_is_new_enough PROGRAM: sets PROBLEM where it is not.
python_is_new_enough() {
    local version
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || {
        PROBLEM="found $1, but it does not run"
        return 1
    }
    case $version in
        3.*[!0-9]* | [!3]*) ;;
        3.*) [ "${version#3.}" -lt "$PYTHON_MINOR_MINIMUM" ] || return 0 ;;
    esac
    PROBLEM="found $1, which is ${version:-of no known version}"
    return 1
}

# Sets SETUP_PYTHON to the first that is new enough; else PROBLEM is what is wrong with the first one found.
find_setup_python() {
    local candidate name first_problem=
    hash -r
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        while read -r candidate; do
            # An active .venv: set-up may have to make it anew.
            [ "${candidate#"$TINYOS_TOP/.venv/"}" = "$candidate" ] || continue
            python_is_new_enough "$candidate" && {
                SETUP_PYTHON=$candidate
                return
            }
            first_problem=${first_problem:-$PROBLEM}
        done < <(type -aP "$name")
    done
    PROBLEM=${first_problem:-there is no program python3}
    return 1
}

# Succeeds with AS_ROOT, the words before a command that root is to run; else REASON says why there are none.
may_use_apt() {
    local system=${TINYOS_OS_RELEASE:-/etc/os-release}
    grep -Eqs '^ID(_LIKE)?=.*(debian|ubuntu)' "$system" || {
        system=$(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' "$system" 2>/dev/null) || true
        REASON="it installs packages on Debian and Ubuntu only, and this is ${system:-$(uname -s)}"
        return 1
    }
    command -v apt-get >/dev/null || {
        REASON="there is no apt-get"
        return 1
    }
    AS_ROOT=(env DEBIAN_FRONTEND=noninteractive)
    [ "$(id -u)" != 0 ] || return 0
    AS_ROOT=(sudo "${AS_ROOT[@]}")
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

# refuse_without_python REASON
refuse_without_python() {
    cat >&2 <<TEXT
tinyos: error: programs are missing, and set-up cannot install them here: $1.

  Python 3.$PYTHON_MINOR_MINIMUM or newer, with venv (python3)
  ($PROBLEM)
    Debian    apt install python3 python3-venv  (12 or newer)
    Ubuntu    apt install python3 python3-venv  (24.04 or newer)
    Fedora    dnf install python3
    Arch      pacman -S python
    macOS     brew install python

Then run the command again: with Python it looks for a C compiler, QEMU, GDB and Rust.
TEXT
    exit 1
}

ensure_python() {
    local REASON PROBLEM AS_ROOT
    : >"$SETUP_LOG" || fail "cannot write to $SETUP_LOG"
    find_setup_python && return
    may_use_apt || refuse_without_python "$REASON"
    say "installing python3 and python3-venv"
    local apt_get=("${AS_ROOT[@]}" apt-get -y -q -o DPkg::Lock::Timeout=600)
    {
        "${apt_get[@]}" update &&
            "${apt_get[@]}" install --no-install-recommends python3 python3-venv
    } >>"$SETUP_LOG" 2>&1 </dev/null || {
        tail -n 20 "$SETUP_LOG" >&2
        fail "installing python3 and python3-venv: failed; the whole log is $SETUP_LOG"
    }
    find_setup_python || refuse_without_python "the system's own Python does not serve"
}
