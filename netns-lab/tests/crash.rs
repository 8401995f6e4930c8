// SPDX-License-Identifier: Apache-2.0
//! Labs whose owner was killed, labs that are kept, and the command line around them. Needs root.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use netlink::NetNs;
use netns_lab::lab::{BpfFs, Lab, Listed, ProcessState, STATE_DIR, Scope, list, sweep};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PROGRAM: &str = env!("CARGO_BIN_EXE_netns-lab");

fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn up(subject: &str) -> Child {
    Command::new(PROGRAM).args(["up", subject]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// A lab that `up` left standing: gone with the test, also when that fails.
struct Kept(String);

impl Drop for Kept {
    fn drop(&mut self) {
        drop(netns_lab::lab::remove(&self.0));
    }
}

/// The lab of a process, once it has at least this many namespaces.
fn wait_for_lab(owner: &Child, namespaces: usize) -> Listed {
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline {
        let found = list().unwrap().into_iter().find(|lab| {
            lab.state.as_ref().is_some_and(|state| state.owner_pid == owner.id())
                && lab.namespaces.len() >= namespaces
        });
        match found {
            Some(lab) => return lab,
            None => std::thread::yield_now(),
        }
    }
    panic!("the process did not build its lab in time");
}

fn left_of(lab: &str) -> Vec<String> {
    let mut left = NetNs::names().unwrap();
    left.retain(|name| name.starts_with(&format!("{lab}-")));
    if std::path::Path::new(STATE_DIR).join(lab).exists() {
        left.push(STATE_DIR.into());
    }
    left
}

#[test]
fn a_lab_whose_owner_was_killed_is_swept_by_the_next_one() {
    let mut owner = up("kube-proxy-like-5000");
    let dead = wait_for_lab(&owner, 1);
    owner.kill().unwrap();
    owner.wait().unwrap();
    let next = Lab::create().unwrap();
    assert_eq!(left_of(&dead.name), [""; 0]);
    // The next one's own is not touched by a further sweep, nor is anybody else's that is alive.
    assert!(sweep(Scope::Dead).left.contains(&next.name().to_owned()));
    assert!(next.dir().exists());
}

#[test]
fn taking_a_lab_down_ends_its_processes_and_unmounts_what_is_in_it() {
    let lab = Lab::create().unwrap();
    let inner = lab.dir().join("node/bpf");
    let mounted = BpfFs::mount(&inner).unwrap();
    let mut process = Command::new("/bin/sh").args(["-c", "read x"]).stdin(Stdio::piped()).spawn().unwrap();
    lab.record_process(ProcessState::of(process.id()).unwrap()).unwrap();
    // As after a crash: nobody is left who would drop these.
    std::mem::forget(mounted);
    assert!(netns_lab::lab::remove(lab.name()).unwrap());
    assert_eq!(process.wait().unwrap().signal(), Some(9));
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(lab.name()), "{mounts}");
    assert!(!lab.dir().exists());
    lab.keep().unwrap_err();
}

#[test]
fn an_interrupted_up_takes_everything_down_again() {
    let owner = up("kube-proxy-like-5000");
    let lab = wait_for_lab(&owner, 1);
    kill(Pid::from_raw(owner.id().cast_signed()), Signal::SIGINT).unwrap();
    let ended = owner.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130), "{}", text(&ended.stderr));
    assert_eq!(left_of(&lab.name), [""; 0]);
}

#[test]
fn what_up_leaves_standing_is_listed_survives_a_sweep_and_is_cleaned() {
    let ended = run(&["up", "routed"]);
    let out = text(&ended.stdout);
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    let (_, rest) = out.split_once("It stays until `cargo xtask lab clean ").expect(&out);
    let kept = Kept(rest.trim_end_matches("`.\n").to_owned());
    let lab = kept.0.as_str();
    assert!(out.contains(&format!("nsenter --net=/run/netns/{lab}-routed-client bash")), "{out}");
    assert!(sweep(Scope::Dead).left.contains(&lab.to_owned()));
    let listed = text(&run(&["ls"]).stdout);
    let line = listed.lines().find(|line| line.starts_with(lab)).unwrap();
    assert!(
        line.contains("routed") && line.contains("10.244.0.2 10.244.0.3") && line.ends_with("kept"),
        "{line}"
    );
    let cleaned = run(&["clean", lab]);
    assert_eq!(text(&cleaned.stdout), format!("Removed lab {lab}.\n"));
    assert_eq!(left_of(lab), [""; 0]);
    let again = run(&["clean", lab]);
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(
        text(&again.stderr),
        format!("netns-lab: there is no lab {lab}; `cargo xtask lab ls` lists them\n")
    );
}

#[test]
fn a_lab_in_use_is_not_cleaned() {
    let lab = Lab::create().unwrap();
    let refused = run(&["clean", lab.name()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("is in use"), "{}", text(&refused.stderr));
    assert!(lab.dir().exists());
}

#[test]
fn an_unknown_subject_is_one_line_and_exit_code_2() {
    let ended = run(&["up", "calico-like-10"]);
    assert_eq!(ended.status.code(), Some(2));
    let said = text(&ended.stderr);
    assert!(
        said.starts_with("netns-lab: there is no subject \"calico-like-10\"; did you mean calico-like-1"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1);
}
