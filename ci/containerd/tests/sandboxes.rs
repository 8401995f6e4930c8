// SPDX-License-Identifier: Apache-2.0
//! Pods of a container runtime on our network, with our agent. Needs root, containerd, runc and the reference plugin
//! `loopback`, which containerd calls for every pod.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use containerd::{
    ClientError, Containerd, Installed, LinuxPodSandboxConfig, PodSandboxConfig, PodSandboxMetadata, Sandbox,
};
use netlink::NetNs;
use netns_lab::agent::{AgentOptions, Ending, Ground, Manifest};
use netns_lab::cni::PluginPath;
use netns_lab::lab::Lab;
use serde_json::{Value, json};

const PLUGIN: &str = "cilium-cni";
const PORT: u16 = 80;
/// How long a connection that is allowed may take; and after how long one is held to be denied.
const PATIENCE: Duration = Duration::from_secs(2);

const MANIFESTS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: default, labels: {app: web}}
---
apiVersion: v1
kind: Pod
metadata: {name: friend, namespace: default, labels: {app: friend}}
---
apiVersion: v1
kind: Pod
metadata: {name: stranger, namespace: default, labels: {app: stranger}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: friends-only, namespace: default}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress]
  ingress:
  - from: [{podSelector: {matchLabels: {app: friend}}}]
    ports: [{protocol: TCP, port: 80}]
"#;

/// A node with our agent and a containerd.
struct Scene {
    // In the order in which they are dropped.
    daemon: Containerd,
    ground: Ground,
    _plugins: tempfile::TempDir,
    _lab: Lab,
}

impl Scene {
    /// `None` where something is not installed and nobody promised that it is.
    fn build() -> Option<Self> {
        let installed = match (Installed::find(), PluginPath::from_environment().find("loopback")) {
            (Ok(installed), Ok(loopback)) => (installed, loopback),
            (programs, plugin) => {
                let missing = [programs.err().map(|e| e.to_string()), plugin.err().map(|e| e.to_string())];
                let missing = missing.into_iter().flatten().collect::<Vec<_>>().join("; ");
                assert!(std::env::var_os("CI").is_none(), "{missing}");
                eprintln!("not run: {missing}");
                return None;
            }
        };
        Some(Self::build_with(&installed.0, &installed.1))
    }

    fn build_with(installed: &Installed, loopback: &Path) -> Self {
        let lab = Lab::create().expect("this test needs root: it makes network namespaces");
        let options = AgentOptions { ipv6: true, ..AgentOptions::default() };
        let mut ground = Ground::build(&lab, "containerd", options).expect("the agent starts");
        ground
            .agent
            .apply_policy(&Manifest { name: "all", text: MANIFESTS })
            .expect("the policy is realized");
        let plugins = tempfile::tempdir().unwrap();
        symlink(ground.agent.binary(), plugins.path().join(PLUGIN)).unwrap();
        symlink(loopback, plugins.path().join("loopback")).unwrap();
        let network = json!({
            "cniVersion": "1.0.0", "name": "cilium", "type": PLUGIN, "socket-path": ground.agent.socket(),
        });
        let daemon = Containerd::start(installed, ground.node.netns(), plugins.path(), &network.to_string())
            .expect("containerd starts");
        Self { daemon, ground, _plugins: plugins, _lab: lab }
    }

    fn config(&self, name: &str, attempt: u32) -> PodSandboxConfig {
        PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: name.into(),
                uid: format!("uid-{name}"),
                namespace: "default".into(),
                attempt,
            }),
            hostname: name.into(),
            linux: Some(LinuxPodSandboxConfig { cgroup_parent: self.daemon.cgroup().into() }),
        }
    }

    fn run(&self, name: &str) -> (Sandbox, NetNs) {
        self.run_again(name, 0)
    }

    fn run_again(&self, name: &str, attempt: u32) -> (Sandbox, NetNs) {
        let sandbox = match self.daemon.client().run(self.config(name, attempt)) {
            Ok(sandbox) => sandbox,
            Err(e) => panic!("{e}\n{}", self.daemon.log()),
        };
        let netns = self.daemon.namespace(&sandbox.netns).expect("the pod's namespace");
        (sandbox, netns)
    }

    fn stop_and_remove(&self, id: &str) {
        // The kubelet stops a pod more than once.
        for _ in 0..2 {
            self.daemon.client().stop(id).expect("stop");
        }
        self.daemon.client().remove(id).expect("remove");
    }

    /// The container ids of the agent's endpoints.
    fn endpoints(&self) -> Vec<String> {
        let endpoints = self.ground.agent.api().read("/endpoint").expect("the agent answers");
        let id = |endpoint: &Value| {
            endpoint.pointer("/status/external-identifiers/container-id")?.as_str().map(str::to_owned)
        };
        endpoints.as_array().into_iter().flatten().filter_map(id).collect()
    }

    /// Interfaces that lead to pods.
    fn pod_interfaces(&self) -> Vec<String> {
        let links = self.ground.node.netlink().links().expect("the node's links");
        links.into_iter().map(|link| link.name).filter(|name| name.starts_with("lxc")).collect()
    }
}

/// Answers each connection with what it sends, until the process ends.
fn serve(netns: &NetNs, address: IpAddr) {
    let listener = netns.run(|| TcpListener::bind((address, PORT))).unwrap().expect("listen in the pod");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut word = [0; 4];
            // One that goes away in the middle is its own affair: who asks finds out.
            let _ = stream.read_exact(&mut word).and_then(|()| stream.write_all(&word));
        }
    });
}

fn ask(netns: &NetNs, address: IpAddr) -> io::Result<()> {
    let asked = netns.run(|| {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::new(address, PORT), PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"ping")?;
        let mut word = [0; 4];
        stream.read_exact(&mut word)?;
        Ok::<_, io::Error>(word)
    });
    let word = asked.expect("enter the pod's namespace")?;
    assert_eq!(&word, b"ping");
    Ok(())
}

#[test]
fn pods_of_containerd_reach_each_other_as_the_policy_says_and_leave_nothing_behind() {
    let Some(scene) = Scene::build() else { return };
    let ((web, server), (friend, near), (stranger, far)) =
        (scene.run("web"), scene.run("friend"), scene.run("stranger"));
    assert_eq!(web.addresses.len(), 2, "one address of each family: {:?}", web.addresses);
    for address in &web.addresses {
        serve(&server, *address);
        ask(&near, *address).unwrap_or_else(|e| panic!("friend to {address}: {e}"));
        let denied = ask(&far, *address).expect_err("the policy names friends only");
        assert_eq!(denied.kind(), io::ErrorKind::TimedOut, "{denied}");
    }
    let mut ids: Vec<_> = [&web, &friend, &stranger].map(|sandbox| sandbox.id.clone()).into();
    let mut found = scene.endpoints();
    ids.sort();
    found.sort();
    assert_eq!(found, ids);
    for sandbox in [&web, &friend, &stranger] {
        scene.stop_and_remove(&sandbox.id);
    }
    assert_eq!((scene.endpoints(), scene.pod_interfaces()), (Vec::new(), Vec::new()));
}

#[test]
fn a_pod_that_is_asked_for_while_the_agent_is_down_is_refused_with_the_remedy_and_runs_later() {
    let Some(mut scene) = Scene::build() else { return };
    scene.ground.agent.end(Ending::Terminate).expect("the agent ends");
    let refused = scene.daemon.client().run(scene.config("web", 0)).expect_err("there is no agent");
    assert!(matches!(refused, ClientError::Refused { .. }), "{refused}");
    assert!(refused.to_string().contains("start the agent"), "{refused}");
    assert_eq!(scene.pod_interfaces(), Vec::<String>::new());
    scene.ground.agent.start_again().expect("the agent starts again");
    // As the kubelet does: what the daemon could not clean up without the agent is stopped and removed, then the pod is
    // tried again.
    let left = scene.daemon.client().list().expect("list");
    assert_eq!(left.len(), 1);
    scene.stop_and_remove(&left[0]);
    let (web, server) = scene.run_again("web", 1);
    serve(&server, web.addresses[0]);
    ask(&server, web.addresses[0]).expect("a pod reaches itself");
    scene.stop_and_remove(&web.id);
    assert_eq!(scene.endpoints(), Vec::<String>::new());
}

#[test]
fn a_daemon_that_ends_takes_its_pods_and_cgroups_with_it() {
    let Some(scene) = Scene::build() else { return };
    scene.run("web");
    let cgroup = scene.daemon.cgroup().trim_start_matches('/').to_owned();
    assert!(!cgroups(&cgroup).is_empty(), "a pod has cgroups");
    drop(scene);
    assert_eq!(cgroups(&cgroup), Vec::<PathBuf>::new());
}

fn cgroups(name: &str) -> Vec<PathBuf> {
    let roots = std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
    roots.chain(["/sys/fs/cgroup".into()]).map(|root| root.join(name)).filter(|path| path.is_dir()).collect()
}
