//! Passes the linker script to the linker, for the kernel binary only.

fn main() {
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    println!("cargo::rustc-link-arg-bin=kernel=-T{folder}/link.ld");
    println!("cargo::rerun-if-changed=link.ld");
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-env-changed=TINYOS_POOL_MIB");
}
