// SPDX-License-Identifier: Apache-2.0
//! What a runtime does to pods, with the agent there, gone and back.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::thread;
use std::time::Duration;

use ipnet::IpNet;
use netlink::{NetNs, Netlink};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::node::Node;
use crate::plugin::{Answer, Plugin, config, with};

const PORT: u16 = 8080;
/// How long an answer may take, and after how long there is none.
const PATIENCE: Duration = Duration::from_secs(2);

pub struct Pod {
    netns: NetNs,
    plugin: Plugin,
    result: Value,
}

impl Pod {
    fn call(&self, node: &Node, command: &str, version: &str) -> Answer {
        let config = with(config(version, &node.socket()), "prevResult", self.result.clone());
        self.plugin.call_in(&node.netns, command, &config)
    }

    pub fn addresses(&self) -> Vec<IpAddr> {
        let ips = self.result["ips"].as_array().expect("addresses");
        ips.iter().map(|ip| ip["address"].as_str().unwrap().parse::<IpNet>().unwrap().addr()).collect()
    }

    /// Answers each connection with what it sends.
    pub fn serve(&self) {
        for address in self.addresses() {
            let listener = self.netns.run(|| TcpListener::bind((address, PORT))).unwrap().expect("listen");
            thread::spawn(move || {
                for mut stream in listener.incoming().flatten() {
                    let mut word = [0; 4];
                    // One that goes away in the middle is its own affair.
                    let _ = stream.read_exact(&mut word).and_then(|()| stream.write_all(&word));
                }
            });
        }
    }

    pub fn ask(&self, address: IpAddr) -> io::Result<()> {
        let asked = self.netns.run(|| {
            let mut stream = TcpStream::connect_timeout(&SocketAddr::new(address, PORT), PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(b"ping")?;
            let mut word = [0; 4];
            stream.read_exact(&mut word)?;
            Ok::<_, io::Error>(word)
        });
        assert_eq!(&asked.expect("enter the pod's namespace")?, b"ping");
        Ok(())
    }
}

/// Attaches a pod with a label `app`.
pub fn attach(node: &Node, id: &str, version: &str) -> Pod {
    let netns = NetNs::create_unnamed().expect("a namespace");
    Netlink::open(&netns).unwrap().set_up("lo").unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), netns.as_fd().as_raw_fd());
    let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={id}");
    let plugin = Plugin::subcommand().container(id, &path, "eth0").with("CNI_ARGS", &args);
    let labels = json!({"cni": {"labels": [{"key": "app", "value": id}]}});
    let config = with(config(version, &node.socket()), "args", labels);
    let answer = plugin.call_in(&node.netns, "ADD", &config);
    assert!(answer.success, "{:?}\n{}", answer.json, node.log());
    Pod { netns, plugin, result: answer.json.expect("a result") }
}

fn container_ids(node: &Node) -> Vec<String> {
    let endpoints = node.client().endpoints(&[]).expect("the agent answers");
    let mut ids: Vec<_> = endpoints.into_iter().map(|e| e.status.external_identifiers.container_id).collect();
    ids.sort();
    ids
}

fn interfaces(node: &Node) -> usize {
    let links = Netlink::open(&node.netns).unwrap().links().unwrap();
    links.iter().filter(|link| link.name.starts_with("lxc")).count()
}

#[test]
fn two_pods_talk_as_soon_as_add_has_returned_and_leave_nothing_behind() {
    let node = Node::start();
    let before = node.given();
    let (web, client) = (attach(&node, "web", "1.0.0"), attach(&node, "client", "1.1.0"));
    web.serve();
    for address in web.addresses() {
        client.ask(address).unwrap_or_else(|e| panic!("{address}: {e}\n{}", node.log()));
    }
    web.call(&node, "CHECK", "1.0.0").is_silent_success();
    client.call(&node, "CHECK", "1.1.0").is_silent_success();
    assert_eq!((container_ids(&node), node.given()), (vec!["client".into(), "web".into()], before + 4));
    for pod in [&web, &client] {
        for _ in 0..2 {
            pod.call(&node, "DEL", "1.0.0").is_silent_success();
        }
    }
    assert_eq!((container_ids(&node).len(), node.given(), interfaces(&node)), (0, before, 0));
}

#[test]
fn labels_of_the_configuration_are_what_policy_selects() {
    let node = Node::start();
    let policy = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: friends-only, namespace: default}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{podSelector: {matchLabels: {app: friend}}}]}]
";
    fs::write(node.directory.path().join("policy/friends.yaml"), policy).unwrap();
    let [web, friend, stranger] = ["web", "friend", "stranger"].map(|id| attach(&node, id, "1.0.0"));
    web.serve();
    let end = std::time::Instant::now() + Duration::from_secs(30);
    // The file is read when it is read; the pods may have been first.
    while stranger.ask(web.addresses()[0]).is_ok() {
        assert!(std::time::Instant::now() < end, "the policy is never enforced\n{}", node.log());
    }
    for address in web.addresses() {
        friend.ask(address).unwrap_or_else(|e| panic!("friend to {address}: {e}\n{}", node.log()));
        let denied = stranger.ask(address).expect_err("the policy names friends only");
        assert_eq!(denied.kind(), io::ErrorKind::TimedOut, "{denied}");
    }
}

#[test]
fn a_second_add_is_refused_and_the_pod_goes_on() {
    let node = Node::start();
    let (web, client) = (attach(&node, "web", "1.0.0"), attach(&node, "client", "1.0.0"));
    web.serve();
    let again = web.plugin.call_in(&node.netns, "ADD", &config("1.0.0", &node.socket()));
    again.fails_with(101, "call DEL first");
    client.ask(web.addresses()[0]).expect("the pod goes on");
    web.call(&node, "CHECK", "1.0.0").is_silent_success();
}

#[test]
fn pods_outlive_an_agent_that_dies_and_are_detached_by_the_next_one() {
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let mut node = Node::start();
        let before = node.given();
        let (web, client) = (attach(&node, "web", "1.0.0"), attach(&node, "client", "1.0.0"));
        web.serve();
        node.end_agent(signal);
        for address in web.addresses() {
            client.ask(address).unwrap_or_else(|e| panic!("{signal}, {address}: {e}"));
        }
        // The interface goes at once, the rest when the agent is back.
        client.call(&node, "DEL", "1.0.0").fails_with(11, "cilium.sock");
        assert_eq!(interfaces(&node), 1);
        node.start_agent();
        client.call(&node, "DEL", "1.0.0").is_silent_success();
        web.call(&node, "CHECK", "1.0.0").is_silent_success();
        web.call(&node, "DEL", "1.0.0").is_silent_success();
        assert_eq!((container_ids(&node).len(), node.given(), interfaces(&node)), (0, before, 0));
    }
}

#[test]
fn gc_removes_pods_whose_runtime_has_forgotten_them() {
    let node = Node::start();
    let before = node.given();
    let keep = attach(&node, "keep", "1.1.0");
    let _stale = attach(&node, "stale", "1.1.0");
    drop(attach(&node, "namespace-gone", "1.1.0"));
    let valid = json!([{"containerID": "keep", "ifname": "eth0"}]);
    let config = with(config("1.1.0", &node.socket()), "cni.dev/valid-attachments", valid);
    Plugin::subcommand().call_in(&node.netns, "GC", &config).is_silent_success();
    assert_eq!((container_ids(&node), node.given(), interfaces(&node)), (vec!["keep".into()], before + 2, 1));
    keep.call(&node, "CHECK", "1.1.0").is_silent_success();
}

#[test]
fn status_follows_the_agent() {
    let mut node = Node::start();
    let config = config("1.1.0", &node.socket());
    Plugin::subcommand().call_in(&node.netns, "STATUS", &config).is_silent_success();
    node.end_agent(Signal::SIGTERM);
    Plugin::subcommand().call_in(&node.netns, "STATUS", &config).fails_with(50, "cilium.sock");
}
