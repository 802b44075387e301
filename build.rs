//! Compiles `proto/` with protox, so that no protoc has to be installed.
use prost::Message;

#[allow(
    clippy::disallowed_methods,
    reason = "cargo tells the output directory in a variable"
)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "casegate/v1/record.proto",
        "casegate/v1/roster.proto",
        "casegate/v1/exchange.proto",
        "casegate/v1/custodian.proto",
        "casegate/v1/desk.proto",
        "casegate/v1/local.proto",
    ];
    println!("cargo:rerun-if-changed=proto");
    let fds = protox::compile(files, ["proto"])?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("casegate.fds"), fds.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").compile_fds(fds)?;
    Ok(())
}
