// SPDX-License-Identifier: Apache-2.0
//! Rules over single files: licence line, module doc, names, and the habits of tests.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The line that every source file carries.
const LICENCE: &str = "SPDX-License-Identifier: Apache-2.0";
/// The line of programs for the kernel, which takes no others.
const KERNEL_LICENCE: &str = "SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)";
/// Endings of source files. Data that a program writes (locks, JSON) and prose carry no such line.
const SOURCES: &[&str] = &["c", "h", "rs", "sh", "toml", "yaml", "yml"];
/// Names that say nothing.
const FORBIDDEN: &[&str] =
    &["base", "common", "core", "helper", "helpers", "manager", "managers", "misc", "util", "utils"];

/// All violations under a directory.
///
/// # Errors
/// When the tree cannot be read.
pub fn check(root: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    walk(root, &mut files)?;
    files.sort();
    let mut violations = Vec::new();
    for path in files {
        let relative = path.strip_prefix(root).unwrap_or(&path);
        let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        let Ok(text) = std::str::from_utf8(&bytes) else { continue };
        for (line, violation) in check_file(relative, text) {
            violations.push(format!("{}:{line}: {violation}", relative.display()));
        }
    }
    Ok(violations)
}

/// Every file but those of git and those that programs made: a directory of cargo's carries a mark.
fn walk(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let read = || -> std::io::Result<Vec<fs::DirEntry>> { fs::read_dir(directory)?.collect() };
    for entry in read().with_context(|| format!("read {}", directory.display()))? {
        let path = entry.path();
        let kind = entry.file_type().with_context(|| format!("look at {}", path.display()))?;
        if kind.is_file() {
            files.push(path);
        } else if kind.is_dir() {
            let made = entry.file_name() == ".git"
                || path.join("CACHEDIR.TAG").exists()
                || ["out", "target"]
                    .iter()
                    .any(|name| path == directory.join(name) && directory.join("Cargo.lock").exists());
            if !made {
                walk(&path, files)?;
            }
        }
    }
    Ok(())
}

/// `(line, violation)` of one file.
fn check_file(path: &Path, text: &str) -> Vec<(usize, String)> {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    let mut violations = Vec::new();
    if SOURCES.contains(&extension) || text.starts_with("#!/") {
        let kernel = path.starts_with("bpf") && matches!(extension, "c" | "h");
        violations.extend(licence(text, if kernel { KERNEL_LICENCE } else { LICENCE }));
    }
    if extension == "rs" {
        violations.extend(module_doc(text));
        violations.extend(name(path));
        violations.extend(inline_modules(text));
        violations.extend(test_habits(path, text));
    }
    violations
}

/// On the first line, or on the second where the first says which program reads the file.
fn licence(text: &str, wanted: &str) -> Option<(usize, String)> {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let line = if first.starts_with("#!/") { lines.next().unwrap_or_default() } else { first };
    let comment = ["// ", "# ", "/* "]
        .iter()
        .any(|mark| line.strip_prefix(mark).is_some_and(|l| l.starts_with(wanted)));
    (!comment).then(|| (1, format!("the first line must be a comment `{wanted}`")))
}

fn module_doc(text: &str) -> Option<(usize, String)> {
    let first = text.lines().enumerate().find(|(_, line)| {
        let line = line.trim();
        !line.is_empty() && !line.contains(LICENCE) && !line.starts_with("#![")
    });
    let documented = first.is_some_and(|(_, line)| line.starts_with("//!"));
    (!documented).then(|| {
        (first.map_or(1, |(n, _)| n + 1), "the file must begin with a doc `//!` of the module".into())
    })
}

fn name(path: &Path) -> Option<(usize, String)> {
    path.with_extension("")
        .iter()
        .filter_map(|part| part.to_str())
        .find(|part| FORBIDDEN.contains(part))
        .map(|part| (1, forbidden(part)))
}

fn inline_modules(text: &str) -> impl Iterator<Item = (usize, String)> {
    text.lines().enumerate().filter_map(|(n, line)| {
        let mut words = line.split_ascii_whitespace().skip_while(|word| word.starts_with("pub"));
        let name = (words.next() == Some("mod")).then(|| words.next())??.trim_end_matches(['{', ';', '}']);
        FORBIDDEN.contains(&name).then(|| (n + 1, forbidden(name)))
    })
}

fn forbidden(name: &str) -> String {
    format!("`{name}` says nothing of what is inside: name it after what it does")
}

/// No test is left out, and none waits for time to pass instead of for a condition.
fn test_habits(path: &Path, text: &str) -> Vec<(usize, String)> {
    let mut in_tests = is_test_file(path);
    let mut violations = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let line = line.trim();
        // By convention the module of tests ends the file.
        in_tests |= line == "#[cfg(test)]";
        if line.starts_with("#[ignore") {
            violations.push((n + 1, "no test is ignored: make it pass or remove it".into()));
        }
        let code = line.split("//").next().unwrap_or_default();
        if in_tests && code.contains("sleep(") {
            violations.push((n + 1, "no sleep in a test: wait for a condition with a deadline".into()));
        }
    }
    violations
}

fn is_test_file(path: &Path) -> bool {
    let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    name == "tests" || name.ends_with("_tests") || path.iter().any(|part| part == "tests")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Assembled, so that this file does not break the rules that it tests.
    const SLEEP: &str = concat!("std::thread::sle", "ep(PAUSE);");
    const IGNORE: &str = concat!("#[ign", "ore]");

    /// The violations of a tree of these files.
    fn violations(files: &[(&str, &str)]) -> Vec<String> {
        let root = tempfile::tempdir().expect("temporary directory");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("inside the root")).expect("create");
            fs::write(path, text).expect("write");
        }
        check(root.path()).expect("the tree can be read")
    }

    fn rust(body: &str) -> String {
        format!("// {LICENCE}\n//! A doc.\n{body}\n")
    }

    #[test]
    fn a_tidy_tree_has_no_violation() {
        let files = [
            ("a/src/lib.rs", &*rust("fn f() {}")),
            ("run.sh", "#!/usr/bin/env bash\n# SPDX-License-Identifier: Apache-2.0\n"),
            ("x.h", "/* SPDX-License-Identifier: Apache-2.0 */\n"),
            ("README.md", "words"),
            ("data.json", "{}"),
            ("picture.png", "\u{0}"),
        ];
        assert_eq!(violations(&files), Vec::<String>::new());
    }

    #[test]
    fn a_file_without_the_licence_line_is_found_whatever_its_language() {
        for (path, text) in [
            ("a.rs", "//! A doc.\n"),
            ("a.yaml", "name: x\n"),
            ("Cargo.toml", "[package]\n"),
            ("a.c", "int x;\n"),
            (".ci/run", "#!/usr/bin/env bash\nexec true\n"),
            ("empty.sh", ""),
            ("late.toml", "x = 1\n# SPDX-License-Identifier: Apache-2.0\n"),
        ] {
            let found = violations(&[(path, text)]);
            assert!(found.len() == 1 && found[0].starts_with(&format!("{path}:1: ")), "{path}: {found:?}");
        }
    }

    #[test]
    fn programs_for_the_kernel_carry_its_licence() {
        let (kernel, other) = (format!("/* {KERNEL_LICENCE} */\n"), format!("/* {LICENCE} */\n"));
        assert_eq!(violations(&[("bpf/lib/x.h", &*kernel), ("x.h", &*other)]), Vec::<String>::new());
        assert_eq!(violations(&[("bpf/lib/x.h", &*other), ("x.h", &*kernel)]).len(), 2);
        assert_eq!(violations(&[("bpf/build.rs", &*rust(""))]), Vec::<String>::new());
    }

    #[test]
    fn a_module_without_a_doc_is_found() {
        let found = violations(&[("a.rs", &format!("// {LICENCE}\n#![no_std]\nuse x;\n"))]);
        assert_eq!(found, ["a.rs:3: the file must begin with a doc `//!` of the module"]);
        assert_eq!(violations(&[("a.rs", &format!("// {LICENCE}\n"))]).len(), 1);
    }

    #[test]
    fn names_that_say_nothing_are_found_as_file_directory_and_module() {
        for path in ["src/utils.rs", "src/common/x.rs", "impl/core/src/lib.rs"] {
            assert_eq!(violations(&[(path, &rust(""))]).len(), 1, "{path}");
        }
        assert_eq!(violations(&[("a.rs", &rust("pub(crate) mod manager {}"))]).len(), 1);
        assert_eq!(violations(&[("a.rs", &rust("mod base;"))]).len(), 1);
        assert_eq!(violations(&[("a.rs", &rust("mod baseline; use core::fmt; // mod utils"))]).len(), 0);
    }

    #[test]
    fn a_sleep_is_found_in_tests_and_only_there() {
        assert_eq!(violations(&[("src/a.rs", &rust(&format!("fn pace() {{ {SLEEP} }}")))]).len(), 0);
        assert_eq!(
            violations(&[("src/a.rs", &rust(&format!("#[cfg(test)]\nmod tests {{ {SLEEP} }}")))]).len(),
            1
        );
        assert_eq!(violations(&[("tests/a.rs", &rust(SLEEP))]).len(), 1);
        assert_eq!(violations(&[("src/a/tests.rs", &rust(SLEEP))]).len(), 1);
    }

    #[test]
    fn an_ignored_test_is_found() {
        let found = violations(&[("src/a.rs", &rust(&format!("{IGNORE}\nfn f() {{}}")))]);
        assert_eq!(found, ["src/a.rs:3: no test is ignored: make it pass or remove it"]);
    }

    #[test]
    fn what_programs_made_is_not_looked_at() {
        let files = [
            ("Cargo.lock", ""),
            ("target/x.rs", ""),
            (".git/x.rs", ""),
            ("b/CACHEDIR.TAG", ""),
            ("b/x.rs", ""),
        ];
        assert_eq!(violations(&files), Vec::<String>::new());
        assert_eq!(violations(&[("a/target/x.rs", &rust(""))]).len(), 0);
        assert!(!violations(&[("a/target/x.rs", "")]).is_empty());
    }
}
