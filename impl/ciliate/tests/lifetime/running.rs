// SPDX-License-Identifier: Apache-2.0
//! Starting, ending and starting again.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use api::StatusState;
use monitor::wire::Request;
use monitor::{AgentEvent, Event, Events};
use nix::sys::signal::Signal;

use crate::node::Node;

/// How long the agent may take to end.
const END: Duration = Duration::from_secs(1);
/// What the agent's own memory may be, KiB.
const MEMORY: u64 = 40 << 10;
const RULE: &str = r#"[{"endpointSelector":{"matchLabels":{"app":"web"}},"ingress":[{}],
  "labels":[{"key":"name","value":"web","source":"unspec"}]}]"#;

#[test]
fn the_agent_ends_within_a_second_and_leaves_what_forwards_packets() {
    let mut node = Node::start();
    let pinned = || {
        let names = fs::read_dir(node.path("bpf/tc/globals")).unwrap();
        names.map(|entry| entry.unwrap().file_name()).collect::<std::collections::BTreeSet<_>>()
    };
    let before = pinned();
    assert!(before.contains(std::ffi::OsStr::new("cilium_ipcache")), "{before:?}");
    let start = Instant::now();
    node.end_agent(Signal::SIGTERM);
    assert!(start.elapsed() < END, "{:?}\n{}", start.elapsed(), node.log());
    assert!(!node.socket().exists() && !node.path("monitor.sock").exists());
    let names = fs::read_dir(node.path("bpf/tc/globals")).unwrap();
    assert_eq!(
        names.map(|entry| entry.unwrap().file_name()).collect::<std::collections::BTreeSet<_>>(),
        before
    );
    assert!(node.log().contains("ended"), "{}", node.log());
}

#[test]
fn an_agent_that_was_killed_starts_again_with_its_rules() {
    let mut node = Node::start();
    node.client().put_policy(RULE).unwrap();
    let addressing = node.client().config().unwrap().status.addressing;
    node.end_agent(Signal::SIGKILL);
    assert!(node.socket().exists(), "a dead agent leaves its socket");
    node.start_agent();
    assert_eq!(node.client().config().unwrap().status.addressing, addressing);
    assert!(node.client().policy(&["name=web".into()]).unwrap().policy.contains("app"));
}

/// The last line of an agent that does not start beside the one of the node.
fn refused_beside(node: &Node, state_dir: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ciliate"));
    command.arg("agent").arg(format!("--state-dir={}", node.path(state_dir).display()));
    command.arg(format!("--socket-path={}", node.path("other.sock").display()));
    command.arg(format!("--bpf-root={}", node.path("bpf").display())).arg("--ipv4-range=10.9.0.0/24");
    let netns = node.netns.try_clone().unwrap();
    // SAFETY: between fork and exec only a system call is made.
    unsafe { command.pre_exec(move || netns.enter().map_err(std::io::Error::other)) };
    let output = command.output().unwrap();
    assert!(!output.status.success(), "two agents run at once");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    error.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn a_second_agent_on_the_same_node_is_refused_and_the_first_goes_on() {
    let node = Node::start();
    let pid = node.pid().unwrap().to_string();
    let same_state = refused_beside(&node, "state");
    assert!(same_state.contains("--state-dir") && same_state.contains(&pid), "{same_state}");
    let same_namespace = refused_beside(&node, "other-state");
    assert!(same_namespace.contains("network namespace"), "{same_namespace}");
    assert_eq!(node.client().status().unwrap().cilium.unwrap().state, StatusState::Ok);
}

#[test]
fn listeners_get_events_and_prometheus_gets_metrics() {
    let mut node = Node::start();
    node.end_agent(Signal::SIGTERM);
    node.flags.push("--prometheus-serve-addr=127.0.0.1:9090".into());
    node.start_agent();
    let mut events = Events::open(node.path("monitor.sock"), &Request::default()).unwrap();
    node.client().put_policy(RULE).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        assert!(Instant::now() < deadline, "the import is not told");
        let event = events.next().unwrap().unwrap();
        if matches!(event, Event::Agent(AgentEvent::PolicyUpdated { rule_count: 1, .. })) {
            break;
        }
    }
    let text = node.netns.run(|| {
        let mut stream = TcpStream::connect("127.0.0.1:9090").unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    });
    let text = text.unwrap();
    for name in ["cilium_policy_count 1", "cilium_endpoint_count 0", "cilium_process_resident_memory_bytes"] {
        assert!(text.contains(name), "{name}: {text}");
    }
}

#[test]
fn the_agents_own_memory_stays_small() {
    let node = Node::start();
    let status = fs::read_to_string(format!("/proc/{}/status", node.pid().unwrap())).unwrap();
    let value = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name)).expect(name);
        line.split_ascii_whitespace().nth(1).and_then(|number| number.parse().ok()).expect(name)
    };
    // The pages of the program itself are the build's, which is not optimised here, and shared between processes.
    let own = value("RssAnon:") + value("RssShmem:");
    assert!(own < MEMORY, "{own} KiB of {MEMORY}: {status}");
    assert!(value("Threads:") < 12, "{status}");
}
