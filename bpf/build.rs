// SPDX-License-Identifier: Apache-2.0
//! Compiles the datapath's C files into objects with BTF.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use libbpf_cargo::SkeletonBuilder;

const CLANG: &str = "clang-19";
const PROGRAMS: &[&str] = &["bpf_lxc", "bpf_host", "bpf_sock", "abi"];

fn main() -> ExitCode {
    for watched in ["bpf_lxc.c", "bpf_host.c", "bpf_sock.c", "abi.c", "lib", "build.rs"] {
        println!("cargo:rerun-if-changed={watched}");
    }
    match compile() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn compile() -> Result<(), String> {
    if Command::new(CLANG).arg("--version").output().is_err() {
        return Err(format!("{CLANG} compiles the datapath and was not found: apt install {CLANG}"));
    }
    let out = PathBuf::from(env::var("OUT_DIR").map_err(|error| format!("OUT_DIR: {error}"))?);
    let headers = uapi_headers()?;
    let here = env::var("CARGO_MANIFEST_DIR").map_err(|error| format!("CARGO_MANIFEST_DIR: {error}"))?;
    let lib = format!("-I{here}/lib");
    for program in PROGRAMS {
        // libbpf-cargo takes sources that are called `.bpf.c` only.
        let source = out.join(format!("{program}.bpf.c"));
        fs::write(&source, format!("#include \"{here}/{program}.c\"\n"))
            .map_err(|error| format!("{}: {error}", source.display()))?;
        SkeletonBuilder::new()
            .source(&source)
            .obj(out.join(format!("{program}.o")))
            .clang(CLANG)
            .clang_args([
                "-mcpu=v3",
                "-O2",
                "-Wall",
                "-Wextra",
                "-Werror",
                lib.as_str(),
                "-isystem",
                headers.as_str(),
            ])
            .build()
            .map_err(|error| format!("{program}.c: {error:#}"))?;
    }
    Ok(())
}

/// Debian keeps `asm/types.h` in a directory named after the architecture, where clang does not look when its target is
/// BPF.
fn uapi_headers() -> Result<String, String> {
    let architecture =
        env::var("CARGO_CFG_TARGET_ARCH").map_err(|error| format!("CARGO_CFG_TARGET_ARCH: {error}"))?;
    let multiarch = format!("/usr/include/{architecture}-linux-gnu");
    for directory in [multiarch.as_str(), "/usr/include"] {
        if Path::new(directory).join("asm/types.h").exists() {
            return Ok(directory.to_owned());
        }
    }
    Err(format!("{multiarch}/asm/types.h: the kernel's headers are missing: apt install linux-libc-dev"))
}
