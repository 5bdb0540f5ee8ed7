# The set-up itself, run by ensure_setup with the checkout's lock held: `bash scripts/lib/install.sh`.
# Each step looks first and does only what is missing. The last one writes the stamp.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
LOG=$TINYOS_TOP/build/setup.log
VENV=$TINYOS_TOP/.venv
: >"$LOG" || fail "cannot write to $LOG"

# run_logged MESSAGE COMMAND…: the command's output goes to the log; its end is shown where it fails.
run_logged() {
    local message=$1
    shift
    say "$message"
    printf '\n== %s\n' "$*" >>"$LOG"
    "$@" >>"$LOG" 2>&1 </dev/null || {
        tail -n 20 "$LOG" >&2
        fail "$message: failed; the whole log is $LOG"
    }
}

. "$TINYOS_TOP/scripts/lib/tools.sh"
. "$TINYOS_TOP/scripts/lib/debian.sh"
. "$TINYOS_TOP/scripts/lib/advice.sh"

# Sets MISSING to the needs that are not met, and PROBLEM_<need> for each.
look_for_programs() {
    local need
    MISSING=()
    hash -r
    for need in $NEEDS; do
        "check_$need" || {
            MISSING+=("$need")
            printf -v "PROBLEM_$need" %s "$PROBLEM"
        }
    done
}

install_programs() {
    look_for_programs
    [ ${#MISSING[@]} -gt 0 ] || return 0
    debian_can_install || {
        explain "$REASON" "${MISSING[@]}"
        exit 1
    }
    debian_install "${MISSING[@]}"
    look_for_programs
    [ ${#MISSING[@]} -eq 0 ] || {
        explain "Debian's packages do not meet the need" "${MISSING[@]}"
        exit 1
    }
}

# .venv holds what pyproject.toml names; its own stamp says for which content, interpreter and place it was made.
install_python_packages() {
    local stamp wanted
    stamp=$VENV/tinyos.stamp
    wanted="$VENV $FOUND_PYTHON $(cksum <"$TINYOS_TOP/pyproject.toml")"
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && "$VENV/bin/python" -c '' 2>/dev/null; then
        return
    fi
    # A virtual environment made elsewhere, or by another interpreter, is made anew; else it is brought up to date.
    if ! { [ -f "$stamp" ] && [ "$(cut -d ' ' -f 1,2 "$stamp")" = "$VENV $FOUND_PYTHON" ]; }; then
        run_logged "making .venv" "$FOUND_PYTHON" -m venv --clear "$VENV"
    fi
    rm -f "$stamp"
    run_logged "installing the Python packages" "$VENV/bin/python" -m pip install \
        --disable-pip-version-check --no-input --editable "$TINYOS_TOP[test]"
    printf '%s\n' "$wanted" >"$stamp"
}

# Left alone where nothing changed: the kernel is built again when this file is newer than it.
write_environment() {
    local unfinished=$ENVIRONMENT_FILE.new
    {
        printf 'TINYOS_ROOT=%q\n' "$TINYOS_TOP"
        printf 'TINYOS_PYTHON=%q\n' "$VENV/bin/python"
        printf 'TINYOS_QEMU=%q\n' "$FOUND_QEMU"
        printf 'TINYOS_GDB=%q\n' "$FOUND_GDB"
        printf 'TINYOS_CARGO=%q\n' "$FOUND_RUST"
        printf 'TINYOS_RUST_HOST=%q\n' "$FOUND_RUST_HOST"
        printf 'TINYOS_RUST_BUILD_STD=%q\n' "$FOUND_RUST_BUILD_STD"
        printf 'TINYOS_RUST_LINKER=%q\n' "$FOUND_RUST_LINKER"
    } >"$unfinished"
    if cmp -s "$unfinished" "$ENVIRONMENT_FILE"; then
        rm "$unfinished"
    else
        mv "$unfinished" "$ENVIRONMENT_FILE"
    fi
}

# The stamp carries the time set-up began, so that an input saved while it runs is newer.
: >"$SETUP_STAMP.new"
rm -f "$SETUP_STAMP"
install_programs
install_python_packages
write_environment
mv "$SETUP_STAMP.new" "$SETUP_STAMP"
