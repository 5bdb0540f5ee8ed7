//! The link script lies in the folder above.

fn main() {
    let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    println!("cargo:rustc-link-arg=-T{folder}/../link.ld");
    println!("cargo:rerun-if-changed={folder}/../link.ld");
}
