// SPDX-License-Identifier: Apache-2.0
//! What is not there, what is not understood, and agents that are not reached.

use std::ffi::OsString;
use std::os::unix::net::UnixListener;

use crate::server::{Server, run};
use cli::CliError;
use monitor::{AgentEvent, Event, Hub};

fn line(words: &[&str]) -> Vec<OsString> {
    ["cilium"].iter().chain(words).map(Into::into).collect()
}

#[test]
fn commands_of_1_4_whose_feature_is_missing_are_refused_by_name() {
    for (words, feature) in [
        (&["fqdn", "cache", "list"][..], "DNS-aware policy"),
        (&["prefilter", "update", "--cidr", "10.0.0.0/8"], "prefilter"),
        (&["kvstore", "get", "--recursive", "x"], "key-value store"),
        (&["node", "list"], "several nodes"),
        (&["bpf", "proxy", "flush"], "L7 proxy"),
        (&["bpf", "tunnel", "list"], "tunnels"),
        (&["bpf", "policy", "add", "1", "ingress", "2"], "policy import"),
        (&["bpf", "endpoint", "delete", "10.0.0.1"], "endpoint disconnect"),
        (&["status", "--all-health"], "health between nodes"),
        (&["status", "--all-redirects"], "L7 proxy"),
    ] {
        let error = run(line(words)).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{words:?}");
        let text = error.to_string();
        assert!(text.starts_with("not supported yet: ") && text.contains(feature), "{words:?}: {text}");
    }
}

#[test]
fn what_is_missing_is_not_in_the_help_and_what_is_there_is() {
    let Err(CliError::Usage(help)) = run(line(&["--help"])) else { panic!("no help") };
    assert!(!help.use_stderr());
    let help = help.to_string();
    for command in
        ["bpf", "cleanup", "completion", "config", "debuginfo", "endpoint", "identity", "map", "metrics"]
            .into_iter()
            .chain(["monitor", "policy", "service", "status", "version"])
    {
        assert!(help.contains(&format!("\n  {command} ")), "{command}: {help}");
    }
    for command in ["fqdn", "prefilter", "kvstore", "node "] {
        assert!(!help.contains(&format!("\n  {command}")), "{command}: {help}");
    }
}

#[test]
fn what_is_not_understood_ends_with_2() {
    for words in
        [&["nothing"][..], &[], &["endpoint", "get"], &["-o", "yaml", "status"], &["monitor", "-t", "x"]]
    {
        assert_eq!(run(line(words)).unwrap_err().exit_code(), 2, "{words:?}");
    }
}

#[test]
fn an_agent_that_is_not_there_is_one_line_with_the_socket_and_the_remedy() {
    for words in [&["endpoint", "list"][..], &["status"], &["monitor"], &["policy", "get"]] {
        let mut all = vec!["-H", "/nonexistent/cilium.sock"];
        all.extend(words);
        let error = run(line(&all)).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.exit_code(), 1);
        assert!(text.contains("/nonexistent/") && text.ends_with("is the agent running?"), "{text}");
        assert!(!text.contains('\n'), "{text}");
    }
    let tcp = run(line(&["-H", "tcp://192.0.2.1:80", "status"])).unwrap_err().to_string();
    assert!(tcp.contains("is no address of the agent"), "{tcp}");
}

#[test]
fn maps_that_are_not_there_are_told_with_the_remedy() {
    let root = tempfile::tempdir().unwrap();
    for words in [
        &["bpf", "ct", "list"][..],
        &["bpf", "ct", "flush", "global"],
        &["bpf", "ipcache", "list"],
        &["bpf", "endpoint", "list"],
        &["bpf", "lb", "list"],
        &["bpf", "lb", "list", "--revnat"],
        &["bpf", "lb", "list", "--backends"],
        &["bpf", "lb", "list", "--affinity"],
        &["bpf", "metrics", "list"],
        &["bpf", "config", "get"],
        &["bpf", "policy", "get", "-n", "7"],
    ] {
        let mut all = words.to_vec();
        all.extend(["--bpf-root", root.path().to_str().unwrap()]);
        let text = run(line(&all)).unwrap_err().to_string();
        assert!(text.contains("tc/globals/cilium_") && !text.contains('\n'), "{text}");
        assert!(text.ends_with("has an agent run here with this --bpf-root?"), "{text}");
    }
}

#[test]
fn a_script_that_completes_names_the_program() {
    for (program, shell) in [("cilium", "bash"), ("ciliate", "zsh")] {
        let script = run([program, "completion", shell].map(Into::into).to_vec()).unwrap();
        assert!(script.contains(program) && script.contains("endpoint"), "{shell}");
    }
}

#[test]
fn cleanup_leaves_a_running_agent_alone() {
    let server = Server::start().on("GET /v1/healthz", 200, &serde_json::json!({}));
    let error = server.run(&["cleanup", "-f"]).unwrap_err().to_string();
    assert!(error.contains("an agent runs at ") && error.contains("stop it first"), "{error}");
}

#[test]
fn events_are_printed_until_the_agent_ends() {
    let directory = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(directory.path().join("monitor.sock")).unwrap();
    // The agent tells one event to whoever listens, and ends.
    let (sender, listening) = std::sync::mpsc::channel();
    let hub = Hub::new(16, move |listening| {
        // The test may have ended.
        let _ = sender.send(listening.subscribers);
    });
    let server = monitor::Server::start(listener, hub.clone()).unwrap();
    let agent = std::thread::spawn(move || {
        assert_eq!(listening.recv(), Ok(1));
        let labels = vec!["k8s:app=web".to_owned()];
        hub.publish(Event::Agent(AgentEvent::PolicyUpdated { labels, revision: 3, rule_count: 1 }));
        // The listener is gone when it has read the event.
        listening
    });
    let socket = directory.path().join("cilium.sock");
    let mut output = Output { text: Vec::new(), server: Some(server) };
    let error = cli::run_into(line(&["-H", socket.to_str().unwrap(), "monitor", "-t", "agent"]), &mut output);
    assert_eq!(error.unwrap_err().to_string(), "the agent ended");
    assert_eq!(
        String::from_utf8(output.text).unwrap(),
        ">> Policy updated: {\"labels\":[\"k8s:app=web\"],\"revision\":3,\"rule_count\":1}\n"
    );
    drop(agent.join().unwrap());
}

/// Ends the agent once something has been printed.
struct Output {
    text: Vec<u8>,
    server: Option<monitor::Server>,
}

impl std::io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        drop(self.server.take());
        Ok(())
    }
}
