# patched_kernel PATCH: prints the ELF of the kernel with a patch, built in build/docs-kernels. Source it after
# common.sh; needs ensure_setup first.

patched_kernel() {
    local name=${1##*/} top=$TINYOS_TOP/build/docs-kernels
    name=${name%.patch}
    _patch_copy "$1" "$top/$name" || fail "$1 does not fit the kernel"
    say "building the kernel with $name.patch"
    cargo_for_kernel build --quiet --locked --release --bin kernel \
        --manifest-path "$top/$name/kernel/Cargo.toml" --target-dir "$top/target" >&2 ||
        fail "the kernel with $name.patch does not build"
    cp "$top/target/$KERNEL_TARGET/release/kernel" "$top/$name.elf"
    printf '%s\n' "$top/$name.elf"
}

# _patch_copy PATCH FOLDER: the kernel's sources with the patch. An unchanged copy keeps its times, so that cargo
# builds nothing.
_patch_copy() {
    local new=$2.new
    rm -rf "$new"
    mkdir -p "$new/kernel"
    (cd "$TINYOS_TOP/kernel" && tar -c --exclude ./target .) | tar -x -C "$new/kernel" || return
    # Outside of any repository as git sees it: it applies the patch here, and not to the checkout.
    GIT_CEILING_DIRECTORIES=${2%/*} git -C "$new" apply "$(realpath "$1")" || return
    diff -r --brief "$new" "$2" >/dev/null 2>&1 && return
    rm -rf "$2"
    mv "$new" "$2"
}
