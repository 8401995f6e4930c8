// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask tidy`: the rules of this repository that no compiler knows. `cargo test -p xtask` holds them too.

mod arrows;
mod layers;
mod sources;

use anyhow::Result;

use crate::workspace::Workspace;

/// Prints what breaks a rule, one line each; the exit code is 1 when anything does.
pub fn run(workspace: &Workspace) -> Result<u8> {
    let violations = check(workspace)?;
    for violation in &violations {
        println!("{violation}");
    }
    if violations.is_empty() {
        println!("tidy: {} crates, all rules hold", workspace.packages.len());
        return Ok(0);
    }
    println!("tidy: {} violations", violations.len());
    Ok(1)
}

/// All violations, each in one line that begins with the place.
fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let mut violations = arrows::check(&workspace.packages);
    violations.extend(sources::check(&workspace.root)?);
    Ok(violations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_repository_keeps_its_rules() {
        let workspace = Workspace::find().expect("cargo metadata");
        let violations = check(&workspace).expect("the tree can be read");
        assert!(violations.is_empty(), "{}", violations.join("\n"));
    }
}
