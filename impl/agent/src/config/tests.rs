// SPDX-License-Identifier: Apache-2.0
//! The configuration as users write it.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use loadbalancer::Algorithm;
use policy::EnforcementMode;

use super::absent::ABSENT;
use super::settings::Layer;
use super::*;

type Variables<'a> = &'a [(&'a str, &'a str)];

fn attempt(flags: &[&str], variables: Variables<'_>) -> Result<Loaded, ConfigError> {
    let arguments = std::iter::once("cilium-agent").chain(flags.iter().copied()).map(OsString::from);
    load(arguments, variables.iter().map(|(name, value)| (name.into(), value.into())))
}

fn config(flags: &[&str], variables: Variables<'_>) -> Config {
    match attempt(flags, variables) {
        Ok(Loaded::Run { config, .. }) => *config,
        other => panic!("{flags:?} {variables:?}: {other:?}"),
    }
}

/// The one line by which something is refused.
fn refused(flags: &[&str], variables: Variables<'_>) -> String {
    let text = match attempt(flags, variables) {
        Err(error) => error.to_string(),
        Ok(loaded) => panic!("{flags:?} {variables:?} was taken: {loaded:?}"),
    };
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

/// Whether a text has all these parts.
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
}

#[test]
fn every_option_of_the_table_is_read_and_every_default_is_valid() {
    let settings = Settings::new(&[Layer::default()]).unwrap();
    Config::parse(&settings).unwrap();
    assert_eq!(settings.unread(), Vec::<&str>::new());
}

#[test]
fn no_name_is_there_twice() {
    let mut names: Vec<_> = OPTIONS
        .iter()
        .flat_map(|spec| spec.keys.iter().copied().chain([spec.name]))
        .chain(ABSENT.iter().map(|absent| absent.name))
        .collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
    sources::command().debug_assert();
}

#[test]
fn nothing_said_gives_the_defaults_of_1_4() {
    let Config { places, network, services, workloads, telling } = config(&[], &[]);
    assert_eq!(places.socket_path, Path::new("/var/run/cilium/cilium.sock"));
    assert_eq!(places.monitor_socket, Path::new("/var/run/cilium/monitor.sock"));
    assert_eq!(places.bpf_root, Path::new("/sys/fs/bpf"));
    assert!(network.ipv4.is_some() && network.ipv6.is_some() && network.masquerade);
    assert_eq!((network.connections_tcp, network.connections_any), (1_000_000, 262_144));
    assert_eq!((network.device, network.mtu), (None, None));
    assert!(services.kubernetes && services.sockets && services.cgroup_root.is_none());
    assert_eq!(
        (services.node_ports.to_string().as_str(), services.algorithm),
        ("30000-32767", Algorithm::Random)
    );
    assert_eq!(
        (services.frontends_max, services.slots_max, services.backends_max),
        (65_535, 1_048_576, 262_144)
    );
    assert_eq!(services.source_ranges_max, 65_536);
    assert_eq!(workloads.enforcement, EnforcementMode::Default);
    assert_eq!(workloads.allow_localhost, AllowLocalhost::Auto);
    assert_eq!(
        (telling.aggregation, telling.monitor_queue, telling.prometheus),
        (Aggregation::None, 32768, None)
    );
}

#[test]
fn a_flag_outweighs_a_variable_outweighs_the_directory_outweighs_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys");
    fs::create_dir(&keys).unwrap();
    let file = dir.path().join("ciliumd.yaml");
    fs::write(&file, "mtu: 1301\ncluster-name: file\nenable-policy: always\nmonitor-queue-size: 11\n")
        .unwrap();
    for (key, value) in [("mtu", "1302\n"), ("cluster-name", "dir"), ("enable-policy", "never")] {
        fs::write(keys.join(key), value).unwrap();
    }
    let variables: Variables<'_> = &[("CILIUM_MTU", "1303"), ("CILIUM_CLUSTER_NAME", "env")];
    let (keys, file) = (keys.to_str().unwrap(), file.to_str().unwrap());
    let config = config(&["--config-dir", keys, "--config", file, "--mtu=1304"], variables);
    assert_eq!(config.network.mtu, Some(1304));
    assert_eq!(config.workloads.cluster_name, "env");
    assert_eq!(config.workloads.enforcement, EnforcementMode::Never);
    assert_eq!(config.telling.monitor_queue, 11);
}

#[test]
fn switches_are_written_as_go_takes_them() {
    assert!(config(&["--debug"], &[]).telling.debug);
    assert!(config(&["-D"], &[]).telling.debug);
    assert!(!config(&["--masquerade=false"], &[]).network.masquerade);
    assert!(!config(&[], &[("CILIUM_MASQUERADE", "F")]).network.masquerade);
    says(&refused(&["--masquerade=no"], &[]), &["--masquerade", "\"no\"", "true or false"]);
    // `--debug false` is a flag and a stray word, in Go as here.
    says(&refused(&["--debug", "false"], &[]), &["false"]);
}

#[test]
fn other_names_of_1_4_are_understood() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("ct-global-max-entries-tcp"), "524288").unwrap();
    fs::write(dir.path().join("monitor-aggregation-level"), "medium").unwrap();
    let variables: Variables<'_> =
        &[("CILIUM_GLOBAL_CT_MAX_ANY", "65536"), ("PROMETHEUS_SERVE_ADDR", ":9090")];
    let config = config(&["--config-dir", dir.path().to_str().unwrap(), "-d", "eth7"], variables);
    assert_eq!((config.network.connections_tcp, config.network.connections_any), (524_288, 65_536));
    assert_eq!(config.network.device.as_deref(), Some("eth7"));
    assert_eq!(config.telling.aggregation.level(), 3);
    assert_eq!(config.telling.prometheus, Some("[::]:9090".parse().unwrap()));
}

#[test]
fn services_are_set_as_later_ciliums_write_it() {
    let dir = tempfile::tempdir().unwrap();
    for (key, value) in [("node-port-range", "31000,31099\n"), ("bpf-lb-map-max", "1024")] {
        fs::write(dir.path().join(key), value).unwrap();
    }
    let variables: Variables<'_> = &[("CILIUM_BPF_LB_ALGORITHM", "Maglev"), ("CILIUM_CGROUP_ROOT", "/cg")];
    let flags = [
        "--disable-k8s-services",
        "--bpf-lb-maglev-table-size=4093",
        "--bpf-lb-mode=dsr",
        "--bpf-lb-sock=false",
        "--config-dir",
        dir.path().to_str().unwrap(),
    ];
    let services = config(&flags, variables).services;
    assert!(!services.kubernetes && !services.sockets && services.dsr);
    assert!(!config(&["--bpf-lb-mode=snat"], &[]).services.dsr && !config(&[], &[]).services.dsr);
    assert_eq!(services.algorithm, Algorithm::Maglev { table_size: 4093 });
    assert_eq!(services.node_ports.to_string(), "31000-31099");
    assert_eq!(services.cgroup_root.as_deref(), Some(Path::new("/cg")));
    assert_eq!(services.frontends_max, 1024);
    let one_port = config(&["--node-port-range=31000", "--node-port-range=31000"], &[]);
    assert_eq!(one_port.services.node_ports.to_string(), "31000");
}

#[test]
fn a_loopback_of_services_is_nobody_elses() {
    let services = config(&["--ipv4-service-loopback-address=10.1.0.7"], &[]).services;
    let pods = ["10.1.0.0/24".parse().unwrap(), "f00d::a01:0:0:0/96".parse().unwrap()];
    let in_range = services.check_loopback(&pods, &[]).unwrap_err().to_string();
    says(&in_range, &["--ipv4-service-loopback-address=10.1.0.7", "10.1.0.0/24", "nobody"]);
    let of_node = services.check_loopback(&pods[1..], &["10.1.0.7".parse().unwrap()]).unwrap_err();
    says(&of_node.to_string(), &["--ipv4-service-loopback-address", "this node"]);
    services.check_loopback(&pods[1..], &["10.1.0.8".parse().unwrap()]).unwrap();
}

#[test]
fn one_option_by_two_names_in_one_place_is_refused() {
    let variables: Variables<'_> =
        &[("CILIUM_GLOBAL_CT_MAX_TCP", "2000"), ("CILIUM_BPF_CT_GLOBAL_TCP_MAX", "3000")];
    says(
        &refused(&[], variables),
        &["CILIUM_GLOBAL_CT_MAX_TCP", "CILIUM_BPF_CT_GLOBAL_TCP_MAX", "same option"],
    );
}

#[test]
fn unknown_options_are_refused_wherever_they_stand_but_strange_variables_are_only_told() {
    says(&refused(&["--no-such-thing"], &[]), &["--no-such-thing"]);
    says(&refused(&["positional"], &[]), &["positional"]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    fs::write(dir.path().join("masqerade"), "true").unwrap();
    says(&refused(&["--config-dir", path], &[]), &["masqerade", "did you mean \"masquerade\""]);
    let file = dir.path().join("c.yaml");
    fs::write(&file, "no-such-thing: 1\n").unwrap();
    says(&refused(&["--config", file.to_str().unwrap()], &[]), &["c.yaml", "no-such-thing", "--help"]);
    let variables: Variables<'_> = &[("CILIUM_AGENT_SERVICE_HOST", "10.0.0.1"), ("PATH", "/bin")];
    let Ok(Loaded::Run { unknown_variables, .. }) = attempt(&[], variables) else { panic!("refused") };
    assert_eq!(unknown_variables, ["CILIUM_AGENT_SERVICE_HOST"]);
}

#[test]
fn what_is_not_there_is_refused_by_name_with_the_remedy() {
    for (flag, parts) in [
        ("--enable-ipsec", &["--enable-ipsec=\"true\"", "encryption", "leave the option out"][..]),
        ("--sockops-enable", &["--sockops-enable", "sockmap"]),
        ("--tunnel=vxlan", &["--tunnel=\"vxlan\"", "write \"disabled\""]),
        ("--kvstore=etcd", &["--kvstore", "no kvstore"]),
        ("--datapath-mode=ipvlan", &["--datapath-mode", "write \"veth\""]),
        ("--access-log=/tmp/x", &["--access-log", "layer 7"]),
    ] {
        says(&refused(&[flag], &[]), parts);
    }
    says(&refused(&[], &[("CILIUM_TUNNEL", "geneve")]), &["CILIUM_TUNNEL", "geneve"]);
}

#[test]
fn what_is_not_there_may_be_switched_off() {
    let flags = ["--tunnel=disabled", "--enable-ipsec=False", "--kvstore=", "--datapath-mode=veth"];
    config(&flags, &[("CILIUM_SOCKOPS_ENABLE", "0"), ("CILIUM_FLANNEL_MASTER_DEVICE", "")]);
    for absent in ABSENT {
        for value in absent.accepted {
            config(&[&format!("--{}={value}", absent.name)], &[]);
        }
    }
}

#[test]
fn contradictions_name_both_sides() {
    let neither = refused(&["--enable-ipv4=false"], &[("CILIUM_ENABLE_IPV6", "false")]);
    says(&neither, &["--enable-ipv4", "CILIUM_ENABLE_IPV6"]);
    let off = refused(&["--enable-ipv6=false", "--ipv6-range=fd00::/96"], &[]);
    says(&off, &["--enable-ipv6", "--ipv6-range"]);
    let wide = refused(&["--ipv4-range=10.1.0.0/16", "--ipv4-cluster-cidr-mask-size=24"], &[]);
    says(&wide, &["--ipv4-range", "--ipv4-cluster-cidr-mask-size"]);
    let same = refused(&["--socket-path=/a", "--monitor-socket=/a"], &[]);
    says(&same, &["--socket-path", "--monitor-socket"]);
}

#[test]
fn values_that_make_no_sense_name_the_option_and_what_would_be_right() {
    let long = format!("--socket-path=/{}", "x".repeat(107));
    for (flag, parts) in [
        ("--ipv4-range=10.0.0.0/33", &["--ipv4-range", "prefix"][..]),
        ("--ipv4-range=10.0.0.1/24", &["without host bits"]),
        ("--ipv4-range=10.0.0.0/30", &["8 to 29"]),
        ("--ipv6-range=fd00::/64", &["/96"]),
        ("--ipv6-cluster-alloc-cidr=fd00::/48", &["64 bits"]),
        ("--ipv4-node=::1", &["--ipv4-node", "IPv4 address"]),
        ("--mtu=100", &["1280"]),
        ("--bpf-ct-global-tcp-max=100", &["1024"]),
        ("--enable-policy=sometimes", &["default, always, never"]),
        ("--monitor-aggregation=4", &["lowest"]),
        ("--cluster-name=-x", &["--cluster-name"]),
        ("--labels=[", &["--labels", "regular expression"]),
        ("--fixed-identity-mapping=x=y", &["ID=LABEL"]),
        ("--fixed-identity-mapping=5=y", &["128 to 255"]),
        ("--prometheus-serve-addr=9090", &[":PORT"]),
        ("--node-port-range=32767,30000", &["--node-port-range", "behind", "30000,32767"]),
        ("--node-port-range=30000", &["FIRST,LAST"]),
        ("--node-port-range=0,10", &["1 to 65535"]),
        ("--node-port-range=1,2,3", &["\"1,2,3\""]),
        ("--bpf-lb-algorithm=round-robin", &["random, maglev"]),
        ("--bpf-lb-maglev-table-size=250", &["251, 509"]),
        ("--bpf-lb-mode=hybrid", &["snat, dsr"]),
        ("--bpf-lb-map-max=65536", &["1 to 65535"]),
        ("--bpf-lb-slot-map-max=0", &["from 1"]),
        ("--bpf-lb-backend-map-max=99999999", &["16777216"]),
        ("--bpf-lb-source-range-map-max=0", &["from 1"]),
        ("--cgroup-root=cgroup", &["absolute"]),
        ("--ipv4-service-loopback-address=::1", &["IPv4 address"]),
        ("--ipv4-service-loopback-address=127.0.0.1", &["refuses packets"]),
        ("--ipv6-service-loopback-address=ff02::1", &["refuses packets"]),
        ("--ipv4-service-range=10.96.0.0/12", &["--ipv4-service-range", "write \"auto\""]),
        ("--lb=eth0", &["--lb", "load balancer alone"]),
        ("--state-dir=relative", &["absolute"]),
        ("--state-dir=", &["--state-dir"]),
        ("--policy-dir=/no/such/dir", &["is no directory"]),
        ("--config-dir=/no/such/dir", &["--config-dir", "No such file"]),
        ("--config=/no/such/file", &["--config", "No such file"]),
        ("--label-prefix-file=/no/such/file", &["--label-prefix-file", "No such file"]),
        (&*long, &["107"]),
    ] {
        says(&refused(&[flag], &[]), parts);
    }
}

#[test]
fn a_mounted_config_map_is_read_through_the_links_of_the_kubelet() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("..2026_01_01");
    fs::create_dir(&data).unwrap();
    std::os::unix::fs::symlink("..2026_01_01", dir.path().join("..data")).unwrap();
    for (key, value) in [("debug", "true\n"), ("labels", "k8s:a k8s:b"), ("tunnel", "disabled"), ("mtu", "")]
    {
        fs::write(data.join(key), value).unwrap();
        std::os::unix::fs::symlink(Path::new("..data").join(key), dir.path().join(key)).unwrap();
    }
    let config = config(&["--config-dir", dir.path().to_str().unwrap()], &[]);
    assert!(config.telling.debug);
    assert_eq!(config.network.mtu, None);
}

#[test]
fn a_file_takes_lists_mappings_numbers_and_switches_and_refuses_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.yaml");
    let text =
        "debug: true\nmtu: 1400\nlabels: ['k8s:a', 'k8s:b']\nfixed-identity-mapping: {128: kv, 129: x}\n";
    fs::write(&path, text).unwrap();
    let flag = format!("--config={}", path.display());
    let Config { network, workloads, .. } = config(&[&flag], &[]);
    assert_eq!(network.mtu, Some(1400));
    assert!(workloads.fixed_identities.iter().any(|(identity, _)| identity.to_string() == "129"));
    for (text, parts) in [
        ("mtu: [1, 2]\n", &["c.yaml: mtu", "single value"][..]),
        ("- mtu\n", &["mapping"]),
        ("mtu: 1400\nmtu: 1500\n", &["c.yaml"]),
        ("a: {{{\n", &["c.yaml"]),
        ("config-dir: /tmp\n", &["config-dir", "flag or variable"]),
        ("labels: [{a: b}]\n", &["labels"]),
    ] {
        fs::write(&path, text).unwrap();
        says(&refused(&[&flag], &[]), parts);
    }
    fs::write(&path, vec![b'#'; (1 << 20) + 1]).unwrap();
    says(&refused(&[&flag], &[]), &["larger than"]);
    fs::write(&path, "").unwrap();
    config(&[&flag], &[]);
}

#[test]
fn help_and_version_are_printed_and_hide_what_is_not_there() {
    for flag in ["--help", "--version"] {
        let Ok(Loaded::Print(text)) = attempt(&[flag], &[]) else { panic!("{flag}") };
        assert!(!text.is_empty());
        assert!(!text.contains("--sockops-enable"), "{text}");
    }
}
