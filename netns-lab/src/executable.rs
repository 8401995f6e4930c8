// SPDX-License-Identifier: Apache-2.0
//! Files that tests write and then run.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Writes an executable file by a process of its own. What another test of this process starts in that moment would
/// inherit the file open for writing, and the kernel refuses to run such a file (ETXTBSY, execve(2)).
pub(crate) fn write_executable(path: &Path, contents: &[u8]) {
    let mut writer = Command::new("sh")
        .args(["-c", r#"cat > "$0" && chmod 755 "$0""#])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    writer.stdin.take().unwrap().write_all(contents).unwrap();
    assert!(writer.wait().unwrap().success());
}
