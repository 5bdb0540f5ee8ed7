//! Gives the linker the kernel's script, for the kernel alone.

fn main() {
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo names the package's folder");
    println!("cargo::rustc-link-arg-bin=kernel=-T{folder}/link.ld");
    println!("cargo::rerun-if-changed=link.ld");
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-env-changed=TINYOS_POOL_MIB");
}
