// SPDX-License-Identifier: Apache-2.0
//! Nodes that run our agent: what is left of them when their owner is killed, when they are kept, and when all is well.
//! Needs root, and the agent's program, which is built for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use netlink::NetNs;
use netns_lab::agent::BINARY_VARIABLE;
use netns_lab::lab::{Listed, ProcessState, STATE_DIR, Scope, control_groups, list, sweep};

const PROGRAM: &str = env!("CARGO_BIN_EXE_netns-lab");
const DEADLINE: Duration = Duration::from_secs(60);

/// The agent's program: the one that is named, or the one that cargo builds beside the lab's.
fn agent() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        if let Some(path) = std::env::var_os(BINARY_VARIABLE) {
            return path.into();
        }
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target directory");
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--package", "ciliate", "--bin", "ciliate", "--target-dir"])
            .arg(target)
            .status()
            .expect("run cargo");
        assert!(status.success(), "the agent does not build");
        target.join("debug/ciliate")
    })
}

fn lab(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).env(BINARY_VARIABLE, agent());
    command
}

fn run(arguments: &[&str]) -> Output {
    lab(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What is left of a lab: namespaces, mounts, its directory, and these processes.
fn left_of(lab: &str, processes: &[ProcessState]) -> Vec<String> {
    let mut left = NetNs::names().unwrap();
    left.retain(|name| name.starts_with(&format!("{lab}-")));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let inside = format!("{STATE_DIR}/{lab}/");
    left.extend(mounts.lines().filter(|line| line.contains(&inside)).map(String::from));
    let groups = control_groups().into_iter().map(|path| path.display().to_string());
    left.extend(groups.filter(|path| path.contains(&format!("/{lab}-"))));
    if Path::new(STATE_DIR).join(lab).exists() {
        left.push(STATE_DIR.into());
    }
    left.extend(processes.iter().filter(|process| process.runs()).map(|process| process.pid.to_string()));
    left
}

/// The lab of a process, once an agent runs in it.
fn wait_for_agent(owner: &Child) -> Listed {
    let deadline = Instant::now() + DEADLINE;
    while Instant::now() < deadline {
        let found = list().unwrap().into_iter().find(|lab| {
            lab.state.as_ref().is_some_and(|s| s.owner_pid == owner.id() && !s.processes.is_empty())
        });
        match found {
            Some(lab) => return lab,
            None => std::thread::yield_now(),
        }
    }
    panic!("no agent was started in time");
}

/// Waits until a condition holds.
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn an_agent_dies_with_its_owner_and_the_rest_of_its_lab_is_swept() {
    let mut owner = lab(&["demo"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let found = wait_for_agent(&owner);
    let processes = found.state.unwrap().processes;
    owner.kill().unwrap();
    owner.wait().unwrap();
    eventually("the agent outlives its owner", || processes.iter().all(|process| !process.runs()));
    sweep(Scope::Dead);
    assert_eq!(left_of(&found.name, &processes), [""; 0]);
    let own = format!("/clab.{}.", owner.id());
    assert!(control_groups().iter().all(|path| !path.display().to_string().contains(&own)));
}

#[test]
fn an_agent_that_up_leaves_standing_runs_until_its_lab_is_cleaned() {
    let up = run(&["up", "ciliate-veth-policy"]);
    assert!(up.status.success(), "{}", text(&up.stderr));
    let out = text(&up.stdout);
    let (_, rest) = out.split_once("It stays until `cargo xtask lab clean ").expect(&out);
    let name = rest.trim_end_matches("`.\n");
    let kept = list().unwrap().into_iter().find(|lab| lab.name == name).unwrap();
    let state = kept.state.unwrap();
    let processes = state.processes;
    let alone = matches!(&processes[..], [agent] if agent.runs());
    let swept = sweep(Scope::Dead);
    let answers = Command::new(agent())
        .arg("status")
        .env("CILIUM_SOCK", Path::new(STATE_DIR).join(name).join("ciliate-veth-policy/cilium.sock"))
        .output()
        .unwrap();
    let cleaned = run(&["clean", name]);
    assert!(alone, "one agent runs: {processes:?}");
    assert!(swept.left.contains(&name.to_owned()), "{swept:?}");
    assert!(answers.status.success(), "{}", text(&answers.stderr));
    assert!(cleaned.status.success(), "{}", text(&cleaned.stderr));
    assert_eq!(left_of(name, &processes), [""; 0]);
    let own = format!("/clab.{}.", state.owner_pid);
    assert!(control_groups().iter().all(|path| !path.display().to_string().contains(&own)));
}

#[test]
fn the_demo_shows_what_is_allowed_and_what_is_dropped_and_leaves_nothing() {
    let before = NetNs::names().unwrap();
    let demo = run(&["demo"]);
    let out = text(&demo.stdout);
    assert!(demo.status.success(), "{}", text(&demo.stderr));
    let (without, with) = out.split_once("This policy comes into").expect(&out);
    assert!(without.contains("port 8081: allowed"), "{out}");
    assert!(with.contains("port 8080: allowed") && with.contains("port 8081: dropped"), "{out}");
    assert!(with.contains(":8081 tcp SYN"), "the monitor tells of the drop: {out}");
    let after = NetNs::names().unwrap();
    let new = |name: &&String| name.contains("-demo-") && !before.contains(name);
    // Another test's demo may be on its way.
    let owned: Vec<_> = after.iter().filter(new).collect();
    eventually("the demo leaves namespaces", || {
        owned.iter().all(|name| !NetNs::names().unwrap().contains(name))
    });
}

#[test]
fn a_policy_of_the_users_own_that_makes_no_sense_is_refused_with_the_agents_words() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("policy.yaml");
    fs::write(&file, "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: x}\nspec: {endpointSelektor: {}}\n").unwrap();
    let demo = run(&["demo", "--policy", file.to_str().unwrap()]);
    assert_eq!(demo.status.code(), Some(1));
    let said = text(&demo.stderr);
    assert!(said.contains("endpointSelektor"), "{said}");
}

/// Two nodes with an agent each; it goes on until its load has been stopped after more changes than are ever made.
const TWO_NODES: &str = "\
name: Two nodes that stand until they are killed
covers: [lab/sweep]
topology: {subject: ciliate-veth, nodes: {a: {}, b: {}}, pods: {server: {node: b}}}
listen: {udp: [7001]}
steps:
  - probe: {kind: udp, from: a, to: server, port: 7001, expect: allowed, answered_by: server}
  - start-churn: {name: long, file: x, per_second: 1, manifests: ['---', '--- {}']}
  - stop-churn: {name: long, changes: 100000}
";

#[test]
fn agents_of_several_nodes_die_with_their_owner_and_the_rest_of_their_lab_is_swept() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("lab")).unwrap();
    fs::write(directory.path().join("lab/nodes.yaml"), TWO_NODES).unwrap();
    let arguments = ["scenario", "--dir", directory.path().to_str().unwrap()];
    let mut owner = lab(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut found = wait_for_agent(&owner);
    let groups = |lab: &str| {
        let beneath = format!("/{lab}-");
        control_groups().iter().filter(|path| path.display().to_string().contains(&beneath)).count()
    };
    eventually("the second node's agent is not started", || {
        let now = list().unwrap().into_iter().find(|lab| lab.name == found.name).unwrap();
        now.state.as_ref().is_some_and(|state| state.processes.len() == 2) && now.namespaces.len() == 5
    });
    found = list().unwrap().into_iter().find(|lab| lab.name == found.name).unwrap();
    assert_eq!(groups(&found.name), 2, "each node has a control group");
    let processes = found.state.unwrap().processes;
    owner.kill().unwrap();
    owner.wait().unwrap();
    eventually("an agent outlives its owner", || processes.iter().all(|process| !process.runs()));
    sweep(Scope::Dead);
    assert_eq!(left_of(&found.name, &processes), [""; 0]);
    let own = format!("/clab.{}.", owner.id());
    assert!(control_groups().iter().all(|path| !path.display().to_string().contains(&own)));
}
