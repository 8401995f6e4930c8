// SPDX-License-Identifier: Apache-2.0
//! Which crate may know which: the table that ARCHITECTURE.md explains.

/// The crates under `impl/` from the ground up. A crate depends only on those of lower layers.
pub const LAYERS: &[&[&str]] = &[
    &["addr", "identity"],
    &["policy", "loadbalancer", "fqdn"],
    &["controlplane"],
    &["netlink", "maps", "kvstore"],
    &["datapath", "monitor", "proxy", "k8s", "clustermesh", "api"],
    &["agent", "cni", "cli", "operator", "health", "bugtool"],
    &["ciliate"],
];

/// Layers below this one are pure: they return what happened, and touch nothing.
pub const PURE_LAYERS: usize = 3;

/// What a pure crate must not be given: an executor, a clock, randomness, sockets, files, the kernel, Kubernetes.
pub const IMPURE: &[&str] = &[
    "async-std",
    "aya",
    "etcd-client",
    "getrandom",
    "hyper",
    "k8s-openapi",
    "kube",
    "libbpf-rs",
    "libbpf-sys",
    "libc",
    "mio",
    "nix",
    "rand",
    "reqwest",
    "rtnetlink",
    "rustix",
    "socket2",
    "tokio",
];

/// Crates from outside that only the named ones may use.
pub const OWNERS: &[(&str, &[&str])] = &[
    ("aya", &["netns-lab"]),
    ("etcd-client", &["kvstore"]),
    ("k8s-openapi", &["k8s", "operator"]),
    ("kube", &["k8s", "operator"]),
    ("libbpf-cargo", &["bpf"]),
    ("libbpf-rs", &["maps", "datapath", "bpf", "bpf-tests"]),
    ("libbpf-sys", &["maps", "datapath", "bpf", "bpf-tests"]),
    ("rtnetlink", &["netlink"]),
];

/// Crates outside of `impl/` that the product is made of, and the crates that may use them: the compiled programs are
/// loaded by `datapath`, and `maps` compares its twins with their types.
pub const EMBEDDED: &[(&str, &[&str])] = &[("bpf", &["maps", "datapath"])];

/// For the crates outside of `impl/`, the crates of this repository that each may use. One that is not here may use
/// any: a suite or a test of packets stands above the whole product.
pub const OUTSIDE: &[(&str, &[&str])] = &[
    ("netns-lab", &["netlink"]),
    ("reports", &["netns-lab"]),
    ("bench-lab", &["netns-lab", "reports"]),
    ("containerd", &["netlink", "netns-lab"]),
    ("xtask", &[]),
];

/// All that `xtask` may use: a user waits for it before anything else happens, and it must build with nothing but a
/// Rust toolchain and a linker.
pub const XTASK: &[&str] = &["anyhow", "clap", "nix", "serde_json"];
