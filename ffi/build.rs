//! Gives the shared library its SONAME: the number changes with the ABI, not with the version.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libkeyface.so.0");
}
