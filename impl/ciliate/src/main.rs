// SPDX-License-Identifier: Apache-2.0
//! The single binary. What it does follows from the name by which it is called, then from its first argument.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// What the binary is this time.
#[derive(Debug, PartialEq, Eq)]
enum Role {
    Cni,
}

/// The role, and the arguments that are left for it.
fn role(mut arguments: Vec<OsString>) -> (Role, Vec<OsString>) {
    let name = arguments.first().map(|name| name.to_owned()).unwrap_or_default();
    let name = Path::new(&name).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match name {
        "cilium-cni" | "ciliate-cni" => (Role::Cni, arguments),
        _ => {
            if arguments.get(1).is_some_and(|first| first == "cni") {
                arguments.remove(1);
            }
            (Role::Cni, arguments)
        }
    }
}

fn main() -> ExitCode {
    let (role, _arguments) = role(std::env::args_os().collect());
    match role {
        Role::Cni => cni::run(),
    }
}
