//! Of both kernels, whose folders lie beside the link script.

fn main() {
    let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    println!("cargo:rustc-link-arg=-T{folder}/../link.ld");
    println!("cargo:rerun-if-changed={folder}/../link.ld");
}
