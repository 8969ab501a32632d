//! Compiles the wire contracts in `proto/` with protox, so that no protoc is needed on the machine.

use std::path::Path;

const CONTRACTS: [&str; 3] = [
    "csi/v1/csi.proto",
    "pluginregistration/v1/api.proto",
    "admin/v1/admin.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_files(CONTRACTS)?;
    // For tests that go through every field of every call.
    let out = std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    std::fs::write(
        Path::new(&out).join("descriptors.bin"),
        compiler.encode_file_descriptor_set(),
    )?;
    tonic_prost_build::configure()
        .generate_default_stubs(true)
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
