//! Compiles the wire contracts in `proto/` with protox, so that no protoc is needed on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(
        [
            "csi/v1/csi.proto",
            "pluginregistration/v1/api.proto",
            "admin/v1/admin.proto",
        ],
        ["proto"],
    )?;
    tonic_prost_build::configure()
        .generate_default_stubs(true)
        .compile_fds(descriptors)?;
    Ok(())
}
