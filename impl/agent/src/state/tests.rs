// SPDX-License-Identifier: Apache-2.0
//! The state directory, on a real one.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::{fs, io};

use super::{NodeFile, StateDir, StateError};

type Content = BTreeMap<String, u32>;

fn content(value: u32) -> Content {
    Content::from([("value".into(), value)])
}

#[test]
fn what_was_written_is_found_after_a_restart_in_order_of_ids() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(dir.path()).unwrap();
    for id in [300, 20, 65535] {
        state.write(id, &content(id.into())).unwrap();
    }
    state.write(20, &content(1)).unwrap();
    state.write_node(NodeFile::Node, &content(9)).unwrap();
    drop(state);
    let state = StateDir::open(dir.path()).unwrap();
    let found = state.endpoints::<Content>().unwrap();
    assert_eq!(found.endpoints, [(20, content(1)), (300, content(300)), (65535, content(65535))]);
    assert!(found.skipped.is_empty());
    assert_eq!(state.node(NodeFile::Node).unwrap(), Some(content(9)));
    assert_eq!(state.node::<Content>(NodeFile::Addressing).unwrap(), None);
}

#[test]
fn an_endpoint_that_is_forgotten_is_not_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(dir.path()).unwrap();
    state.write(7, &content(7)).unwrap();
    state.remove(7).unwrap();
    state.remove(7).unwrap();
    assert!(state.endpoints::<Content>().unwrap().endpoints.is_empty());
    assert!(!dir.path().join("state/7").exists());
}

#[test]
fn corrupt_files_are_reported_by_name_and_the_others_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(dir.path()).unwrap();
    state.write(1, &content(1)).unwrap();
    let files = [
        (2, &b"{\"value\":"[..], "EOF"),
        (3, b"[]", "invalid type"),
        (4, b"{\"value\":\"x\"}", "invalid type"),
        (5, b"\xff\xfe", "expected value"),
        (6, &[b' '; (1 << 20) + 1], "larger than"),
    ];
    for (id, bytes, _) in files {
        fs::create_dir(dir.path().join(format!("state/{id}"))).unwrap();
        fs::write(dir.path().join(format!("state/{id}/ep_config.json")), bytes).unwrap();
    }
    let found = state.endpoints::<Content>().unwrap();
    assert_eq!(found.endpoints, [(1, content(1))]);
    assert_eq!(found.skipped.len(), files.len());
    for ((id, _, expected), (skipped, problem)) in files.iter().zip(&found.skipped) {
        let problem = problem.to_string();
        assert_eq!(id, skipped);
        assert!(
            problem.contains(&format!("state/{id}/ep_config.json")) && problem.contains(expected),
            "{problem}"
        );
    }
    // They are kept for whoever wants to look, and not found again.
    assert!(dir.path().join("state/2.corrupt/ep_config.json").exists());
    state.write(2, &content(2)).unwrap();
    fs::write(dir.path().join("state/2/ep_config.json"), "{").unwrap();
    let found = state.endpoints::<Content>().unwrap();
    assert_eq!((found.endpoints.len(), found.skipped.len()), (1, 1));
}

#[test]
fn the_nodes_file_may_be_large_and_is_put_aside_if_it_is_of_no_use() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(dir.path()).unwrap();
    let many: Vec<String> = (0..100_000).map(|number| format!("203.0.113.{number}")).collect();
    state.write_node(NodeFile::Node, &many).unwrap();
    assert!(fs::metadata(dir.path().join("state/node.json")).unwrap().len() > 1 << 20);
    assert_eq!(state.node(NodeFile::Node).unwrap(), Some(many));

    let refused = state.write_node(NodeFile::Node, &" ".repeat(super::NODE_LIMIT as usize)).unwrap_err();
    assert!(matches!(refused, StateError::TooLarge { .. }), "{refused}");
    assert!(state.node::<Vec<String>>(NodeFile::Node).unwrap().is_some(), "the file before is still there");

    let path = dir.path().join("state/node.json");
    type Spoil = fn(&Path) -> io::Result<()>;
    let spoil: [(Spoil, &str); 2] = [
        (|path| fs::write(path, "{"), "EOF"),
        (|path| fs::File::create(path)?.set_len(super::NODE_LIMIT + 1), "larger than"),
    ];
    for (spoil, expected) in spoil {
        spoil(&path).unwrap();
        let refused = state.node::<Content>(NodeFile::Node).unwrap_err();
        assert!(refused.to_string().contains(expected), "{refused}");
        assert_eq!(state.node::<Content>(NodeFile::Node).unwrap(), None, "it is put aside");
        assert!(dir.path().join("state/node.json.corrupt").exists());
    }
}

#[test]
fn what_a_crash_left_half_done_is_no_endpoint() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(dir.path()).unwrap();
    state.write(8, &content(8)).unwrap();
    // Died before the rename: of a change, and of a first write.
    fs::write(dir.path().join("state/8/ep_config.json.tmp"), "{").unwrap();
    fs::create_dir(dir.path().join("state/9")).unwrap();
    fs::write(dir.path().join("state/9/ep_config.json.tmp"), "{").unwrap();
    for name in ["0", "010", "65536", "x"] {
        fs::create_dir(dir.path().join("state").join(name)).unwrap();
    }
    let found = state.endpoints::<Content>().unwrap();
    assert_eq!((found.endpoints, found.skipped.len()), (vec![(8, content(8))], 0));
    assert!(!dir.path().join("state/9").exists(), "what never was is cleaned up");
    state.write(8, &content(10)).unwrap();
    assert_eq!(state.endpoints().unwrap().endpoints, [(8, content(10))]);
}

#[test]
fn a_second_agent_is_refused_until_the_first_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let first = StateDir::open(dir.path()).unwrap();
    let pid = std::process::id().to_string();
    assert_eq!(fs::read_to_string(first.pid_file()).unwrap().trim(), pid);
    let refused = StateDir::open(dir.path()).unwrap_err();
    assert!(matches!(&refused, StateError::Taken { pid: other, .. } if *other == pid), "{refused}");
    assert!(refused.to_string().contains("--state-dir"), "{refused}");
    let path = first.pid_file().to_owned();
    drop(first);
    assert_eq!(fs::read_to_string(path).unwrap(), "");
    StateDir::open(dir.path()).unwrap();
}

#[test]
fn strangers_cannot_read_the_state() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(dir.path()).unwrap();
    state.write(3, &content(3)).unwrap();
    for path in ["state", "state/3", "state/3/ep_config.json"] {
        let mode = fs::metadata(dir.path().join(path)).unwrap().permissions().mode();
        assert_eq!(mode & 0o007, 0, "{path}: {mode:o}");
    }
}
