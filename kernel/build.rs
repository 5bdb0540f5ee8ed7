//! Passes the linker script, and the addresses that it needs, to the linker; for the kernel binary only.

#[allow(dead_code)]
#[path = "src/memory/layout.rs"]
mod layout;

fn main() {
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    println!("cargo::rustc-link-arg-bin=kernel=-T{folder}/link.ld");
    for (name, address) in [
        ("IMAGE_OFFSET", layout::IMAGE_OFFSET),
        ("POOL_BASE", layout::POOL_BASE),
        ("USER_TEXT_BASE", layout::USER_TEXT_BASE),
        ("USER_TEXT_END", layout::USER_TEXT_END),
    ] {
        println!("cargo::rustc-link-arg-bin=kernel=--defsym={name}={address:#x}");
    }
    println!("cargo::rerun-if-changed=link.ld");
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-env-changed=TINYOS_POOL_MIB");
}
