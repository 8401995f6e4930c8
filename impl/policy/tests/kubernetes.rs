// SPDX-License-Identifier: Apache-2.0
//! Kubernetes objects: which rules they mean, and what those do to pods.

mod node;

use addr::Protocol;
use node::{HOST, Node, WORLD, ports};
use policy::{Direction, Feature, Options, ParseError, PolicyKey, kubernetes};

const WEB: u16 = 10;
const IN_NAMESPACE: u32 = 300;
const DB_IN_NAMESPACE: u32 = 301;
const ELSEWHERE: u32 = 302;
const DB_ELSEWHERE: u32 = 303;
const UNLABELLED: u32 = 304;

fn pod(labels: &str, namespace: &str, team: &str) -> String {
    let team = if team.is_empty() {
        String::new()
    } else {
        format!(" k8s:io.cilium.k8s.namespace.labels.team={team}")
    };
    format!("{labels} k8s:io.kubernetes.pod.namespace={namespace}{team}")
}

/// A pod `app=web` in namespace `shop`; identities of pods in it and in `bank`, and of one in a namespace with no labels.
fn node() -> Node {
    let mut node = Node::new(Options::default());
    node.identity(IN_NAMESPACE, &pod("k8s:app=client", "shop", "a"));
    node.identity(DB_IN_NAMESPACE, &pod("k8s:app=db", "shop", "a"));
    node.identity(ELSEWHERE, &pod("k8s:app=client", "bank", "b"));
    node.identity(DB_ELSEWHERE, &pod("k8s:app=db", "bank", "b"));
    node.identity(UNLABELLED, &pod("k8s:app=client", "bare", ""));
    node.endpoint(WEB, &pod("k8s:app=web", "shop", "a"));
    node
}

fn network_policy(spec: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p, namespace: shop, uid: u-1}}\nspec: {spec}\n"
    )
}

fn cilium_policy(spec: &str) -> String {
    format!(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {{name: p, namespace: shop}}\nspec: {spec}\n"
    )
}

fn applied(yaml: &str) -> Node {
    let mut node = node();
    node.apply(yaml);
    node
}

/// Which of the known peers the web pod may receive from on a port.
fn receives(node: &Node, port: &str) -> Vec<u32> {
    let peers = [HOST, WORLD, IN_NAMESPACE, DB_IN_NAMESPACE, ELSEWHERE, DB_ELSEWHERE, UNLABELLED];
    peers.into_iter().filter(|peer| node.receives(WEB, *peer, port)).collect()
}

fn refused(yaml: &str) -> ParseError {
    let documents = kubernetes::documents(yaml).unwrap();
    kubernetes::policy_of(&documents[0]).unwrap_err()
}

#[test]
fn policy_types_say_which_directions_close() {
    for (spec, ingress, egress) in [
        ("{podSelector: {}}", true, false),
        ("{podSelector: {}, policyTypes: []}", true, false),
        ("{podSelector: {}, egress: []}", true, false),
        ("{podSelector: {}, egress: [{}]}", true, true),
        ("{podSelector: {}, policyTypes: [Ingress]}", true, false),
        ("{podSelector: {}, policyTypes: [Ingress], egress: [{}]}", true, false),
        ("{podSelector: {}, policyTypes: [Egress]}", false, true),
        ("{podSelector: {}, policyTypes: [Egress], ingress: [{}]}", false, true),
        ("{podSelector: {}, policyTypes: [Ingress, Egress]}", true, true),
        ("{podSelector: {matchLabels: {app: other}}, policyTypes: [Ingress, Egress]}", false, false),
    ] {
        let node = applied(&network_policy(spec));
        assert_eq!(node.enforces(WEB, Direction::Ingress), ingress, "{spec}");
        assert_eq!(node.enforces(WEB, Direction::Egress), egress, "{spec}");
    }
}

#[test]
fn a_policy_selects_pods_of_its_namespace_only() {
    let mut node = node();
    node.endpoint(11, &pod("k8s:app=web", "bank", "b"));
    node.apply(&network_policy("{podSelector: {matchLabels: {app: web}}}"));
    assert!(node.enforces(WEB, Direction::Ingress) && !node.enforces(11, Direction::Ingress));
}

#[test]
fn an_entry_without_peers_is_for_everybody() {
    let node = applied(&network_policy("{podSelector: {}, ingress: [{}]}"));
    assert!(node.map(WEB).contains_key(&PolicyKey::any(Direction::Ingress)));
    let node = applied(&network_policy("{podSelector: {}, ingress: [{from: [], ports: [{port: 80}]}]}"));
    assert_eq!(receives(&node, "80/TCP").len(), 7);
    assert!(receives(&node, "80/UDP").is_empty(), "the protocol is TCP unless another is named");
    assert!(receives(&node, "81/TCP").is_empty());
}

#[test]
fn selectors_of_pods_namespaces_and_both() {
    for (peer, expected) in [
        ("{podSelector: {}}", vec![IN_NAMESPACE, DB_IN_NAMESPACE]),
        ("{podSelector: {matchLabels: {app: db}}}", vec![DB_IN_NAMESPACE]),
        ("{namespaceSelector: {}}", vec![IN_NAMESPACE, DB_IN_NAMESPACE, ELSEWHERE, DB_ELSEWHERE, UNLABELLED]),
        ("{namespaceSelector: {matchLabels: {team: b}}}", vec![ELSEWHERE, DB_ELSEWHERE]),
        (
            "{namespaceSelector: {matchLabels: {team: b}}, podSelector: {matchLabels: {app: db}}}",
            vec![DB_ELSEWHERE],
        ),
        (
            "{namespaceSelector: {}, podSelector: {matchLabels: {app: db}}}",
            vec![DB_IN_NAMESPACE, DB_ELSEWHERE],
        ),
        (
            "{namespaceSelector: {matchExpressions: [{key: team, operator: NotIn, values: [a]}]}}",
            vec![ELSEWHERE, DB_ELSEWHERE, UNLABELLED],
        ),
        ("{namespaceSelector: {matchExpressions: [{key: team, operator: DoesNotExist}]}}", vec![UNLABELLED]),
        (
            "{podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [db]}]}}",
            vec![IN_NAMESPACE],
        ),
    ] {
        let node = applied(&network_policy(&format!("{{podSelector: {{}}, ingress: [{{from: [{peer}]}}]}}")));
        assert_eq!(receives(&node, "80/TCP"), expected, "{peer}");
    }
}

#[test]
fn a_namespace_label_may_be_as_long_as_kubernetes_lets_it() {
    let long = "l".repeat(63);
    let mut node = node();
    node.identity(400, &format!("k8s:io.cilium.k8s.namespace.labels.{long}=x"));
    node.apply(&network_policy(&format!(
        "{{podSelector: {{}}, ingress: [{{from: [{{namespaceSelector: {{matchLabels: {{{long}: x}}}}}}]}}]}}"
    )));
    assert!(node.receives(WEB, 400, "80/TCP"));
}

#[test]
fn blocks_have_exceptions_and_ports_and_stand_beside_selectors() {
    let mut node = node();
    node.cidr(16_777_217, "172.17.0.0/16").cidr(16_777_218, "172.17.1.0/24").cidr(16_777_219, "10.0.0.0/8");
    node.apply(&network_policy(
        "
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress]
  ingress:
  - from:
    - ipBlock: {cidr: 172.17.0.0/16, except: [172.17.1.0/24]}
    - namespaceSelector: {matchLabels: {team: b}}
    - podSelector: {matchLabels: {app: db}}
    ports: [{port: 6379, protocol: TCP}]",
    ));
    for (peer, allowed) in [
        (16_777_217, true),
        (16_777_218, false),
        (16_777_219, false),
        (ELSEWHERE, true),
        (DB_IN_NAMESPACE, true),
    ] {
        assert_eq!(node.receives(WEB, peer, "6379/TCP"), allowed, "{peer}");
        assert!(!node.receives(WEB, peer, "6380/TCP"), "{peer}");
    }
    assert!(!node.receives(WEB, IN_NAMESPACE, "6379/TCP"));
}

#[test]
fn ports_of_all_kinds() {
    let mut node = node();
    node.endpoint_with(WEB, &pod("k8s:app=web", "shop", "a"), ports(&[("http", Protocol::Tcp, 8080)]));
    node.apply(&network_policy(
        "
  podSelector: {}
  ingress:
  - ports:
    - {port: 32000, endPort: 32768}
    - {port: http}
    - {port: 7, protocol: SCTP}
    - {protocol: UDP}
    - {port: '443'}",
    ));
    for (port, allowed) in [
        ("32000/TCP", true),
        ("32768/TCP", true),
        ("31999/TCP", false),
        ("32769/TCP", false),
        ("8080/TCP", true),
        ("7/SCTP", true),
        ("7/TCP", false),
        ("12345/UDP", true),
        ("443/TCP", true),
        ("icmp", false),
    ] {
        assert_eq!(node.receives(WEB, WORLD, port), allowed, "{port}");
    }
}

#[test]
fn egress_to_peers_and_ports() {
    let node = applied(&network_policy(
        "
  podSelector: {}
  policyTypes: [Egress]
  egress:
  - to: [{podSelector: {matchLabels: {app: db}}}]
    ports: [{port: 5432}]
  - ports: [{port: 53, protocol: UDP}]",
    ));
    assert!(node.sends(WEB, DB_IN_NAMESPACE, "5432/TCP") && !node.sends(WEB, DB_ELSEWHERE, "5432/TCP"));
    assert!(node.sends(WEB, WORLD, "53/UDP") && !node.sends(WEB, WORLD, "53/TCP"));
    assert!(node.receives(WEB, WORLD, "80/TCP"));
}

#[test]
fn rules_carry_the_labels_of_their_object() {
    let documents = kubernetes::documents(&network_policy("{podSelector: {}}")).unwrap();
    let policy = kubernetes::policy_of(&documents[0]).unwrap().unwrap();
    let labels = policy.rules[0].labels().to_string();
    assert_eq!(
        labels,
        "[k8s:io.cilium.k8s.policy.derived-from=NetworkPolicy k8s:io.cilium.k8s.policy.name=p \
         k8s:io.cilium.k8s.policy.namespace=shop k8s:io.cilium.k8s.policy.uid=u-1]"
    );
    assert!(policy.rules[0].labels().contains(&policy.labels));
    assert_eq!(
        (policy.kind.as_str(), policy.namespace.as_str(), policy.name.as_str()),
        ("NetworkPolicy", "shop", "p")
    );

    let yaml = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\n\
                metadata: {name: p, annotations: {io.cilium.name: other}}\n\
                spec: {endpointSelector: {}, labels: ['k8s:own=1']}\n";
    let policy = kubernetes::policy_of(&kubernetes::documents(yaml).unwrap()[0]).unwrap().unwrap();
    assert_eq!((policy.namespace.as_str(), policy.name.as_str()), ("default", "other"));
    assert!(policy.rules[0].labels().to_string().starts_with("[k8s:own=1 "));
}

#[test]
fn a_changed_object_replaces_its_rules_and_no_others() {
    let mut node = applied(&network_policy("{podSelector: {}, ingress: [{ports: [{port: 80}]}]}"));
    node.apply(&cilium_policy(
        "{endpointSelector: {}, ingress: [{toPorts: [{ports: [{port: '82', protocol: TCP}]}]}]}",
    ));
    node.apply(&network_policy("{podSelector: {}, ingress: [{ports: [{port: 81}]}]}"));
    assert_eq!(node.repository.rules().len(), 2);
    let allowed: Vec<bool> =
        ["80/TCP", "81/TCP", "82/TCP"].map(|port| node.receives(WEB, WORLD, port)).into();
    assert_eq!(allowed, [false, true, true]);
}

#[test]
fn a_cilium_policy_speaks_of_its_namespace_unless_it_names_another_for_a_peer() {
    for (peer, expected) in [
        ("{}", vec![IN_NAMESPACE, DB_IN_NAMESPACE]),
        ("{matchLabels: {app: db}}", vec![DB_IN_NAMESPACE]),
        ("{matchLabels: {'k8s:io.kubernetes.pod.namespace': bank}}", vec![ELSEWHERE, DB_ELSEWHERE]),
        ("{matchLabels: {'io.kubernetes.pod.namespace': bank, app: db}}", vec![DB_ELSEWHERE]),
        (
            "{matchExpressions: [{key: 'k8s:io.kubernetes.pod.namespace', operator: Exists}]}",
            vec![IN_NAMESPACE, DB_IN_NAMESPACE, ELSEWHERE, DB_ELSEWHERE, UNLABELLED],
        ),
        ("{matchLabels: {'reserved:host': ''}}", vec![HOST]),
    ] {
        let spec = format!("{{endpointSelector: {{}}, ingress: [{{fromEndpoints: [{peer}]}}]}}");
        assert_eq!(receives(&applied(&cilium_policy(&spec)), "80/TCP"), expected, "{peer}");
    }
}

#[test]
fn a_cilium_policy_for_another_namespace_is_for_its_own_and_warns() {
    for key in ["k8s:io.kubernetes.pod.namespace", "io.kubernetes.pod.namespace"] {
        let spec =
            format!("{{endpointSelector: {{matchLabels: {{'{key}': bank, app: web}}}}, ingress: [{{}}]}}");
        let yaml = cilium_policy(&spec);
        let policy = kubernetes::policy_of(&kubernetes::documents(&yaml).unwrap()[0]).unwrap().unwrap();
        assert_eq!(policy.warnings.len(), 1, "{:?}", policy.warnings);
        assert!(policy.warnings[0].contains("bank"), "{:?}", policy.warnings);
        assert!(applied(&yaml).enforces(WEB, Direction::Ingress));
    }
}

#[test]
fn a_policy_for_endpoints_without_labels_is_bound_to_no_namespace() {
    let mut node = node();
    node.endpoint(20, "reserved:init");
    node.apply(&cilium_policy(
        "{endpointSelector: {matchLabels: {'reserved:init': ''}}, egress: [{toEndpoints: [{matchLabels: {app: db}}]}]}",
    ));
    assert!(node.sends(20, DB_IN_NAMESPACE, "80/TCP") && node.sends(20, DB_ELSEWHERE, "80/TCP"));
    assert!(!node.sends(20, IN_NAMESPACE, "80/TCP"));
}

#[test]
fn no_selector_frees_a_cilium_policy_from_its_namespace() {
    let mut node = node();
    node.endpoint(11, &pod("k8s:app=web", "bank", "b"));
    for selector in [
        "{matchLabels: {'reserved:all': ''}}",
        "{matchExpressions: [{key: 'reserved:init', operator: DoesNotExist}]}",
        "{matchExpressions: [{key: 'reserved:init', operator: NotIn, values: [x]}]}",
        "{matchLabels: {'k8s:io.kubernetes.pod.namespace': bank}}",
    ] {
        node.apply(&cilium_policy(&format!("{{endpointSelector: {selector}, ingress: [{{}}]}}")));
        assert!(!node.enforces(11, Direction::Ingress), "{selector}");
        assert!(node.enforces(WEB, Direction::Ingress), "{selector}");
    }
}

#[test]
fn spec_and_specs_are_all_rules_of_one_object() {
    let yaml = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p}\n\
                spec: {endpointSelector: {}}\nspecs: [{endpointSelector: {}, ingress: [{}]}, {endpointSelector: {}}]\n";
    let policy = kubernetes::policy_of(&kubernetes::documents(yaml).unwrap()[0]).unwrap().unwrap();
    assert_eq!(policy.rules.len(), 3);
}

#[test]
fn a_json_list_is_read_item_by_item_wherever_it_says_its_kind() {
    let list = r#"{"items":[{"metadata":{"name":"a"}},{"kind":"Other","apiVersion":"v2"},7],
        "kind":"PodList","apiVersion":"v1"}"#;
    let documents = kubernetes::documents(list).unwrap();
    assert_eq!(documents.len(), 3);
    assert_eq!((&documents[0]["kind"], &documents[0]["apiVersion"]), (&"Pod".into(), &"v1".into()));
    assert_eq!((&documents[1]["kind"], &documents[1]["apiVersion"]), (&"Other".into(), &"v2".into()));
    // Those that say their kind come at once, the others when the list has said it.
    let mut order = Vec::new();
    kubernetes::each_document(list, |index, _| {
        order.push(index);
        Ok::<_, ParseError>(())
    })
    .unwrap();
    assert_eq!(order, [1, 0, 2]);
    let refused = kubernetes::each_document(list, |_, _| {
        Err(ParseError::Value { path: "x".into(), reason: "no".into() })
    });
    assert!(matches!(refused, Err(ParseError::Value { .. })), "{refused:?}");
    assert_eq!(kubernetes::documents(r#"{"kind":"List","items":null}"#).unwrap().len(), 0);
    let no_list = kubernetes::documents(r#"{"kind":"Pod","items":[]}"#).unwrap_err();
    assert!(matches!(no_list, ParseError::Schema { .. }), "{no_list:?}");
    for broken in [r#"{"items":[{},"#, r#"{"kind":"List","items":7}"#, r#"{"items":[]} x"#] {
        assert!(matches!(kubernetes::documents(broken), Err(ParseError::Syntax { .. })), "{broken}");
    }
    let many = format!(r#"{{"kind":"List","items":[{}0]}}"#, "0,".repeat(kubernetes::MAX_DOCUMENTS));
    assert!(matches!(kubernetes::documents(&many), Err(ParseError::TooMany { .. })));
}

#[test]
fn documents_are_yaml_json_and_lists_of_either() {
    let yaml = format!(
        "{}---\n---\napiVersion: v1\nkind: Pod\n---\n{}",
        network_policy("{podSelector: {}}"),
        cilium_policy("{endpointSelector: {}}")
    );
    let kinds = |text: &str| -> Vec<String> {
        let documents = kubernetes::documents(text).unwrap();
        documents.iter().map(|document| document["kind"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(kinds(&yaml), ["NetworkPolicy", "Pod", "CiliumNetworkPolicy"]);
    assert_eq!(
        kinds(r#"{"apiVersion": "v1", "kind": "List", "items": [{"kind": "Pod"}, {"kind": "Node"}]}"#),
        ["Pod", "Node"]
    );
    let typed = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicyList\nitems: [{metadata: {name: a}, spec: {podSelector: {}}}]";
    let documents = kubernetes::documents(typed).unwrap();
    assert_eq!(kubernetes::policy_of(&documents[0]).unwrap().unwrap().name, "a");
    assert_eq!(kinds(""), Vec::<String>::new());
}

#[test]
fn objects_of_other_kinds_are_no_policy() {
    let pod = serde_json::json!({"apiVersion": "v1", "kind": "Pod", "spec": {"anything": []}});
    assert_eq!(kubernetes::policy_of(&pod), Ok(None));
    let old = network_policy("{podSelector: {}}").replace("networking.k8s.io/v1", "extensions/v1beta1");
    assert!(kubernetes::policy_of(&kubernetes::documents(&old).unwrap()[0]).unwrap().is_some());
}

#[test]
fn what_cannot_be_is_refused_with_its_path() {
    for (yaml, path) in [
        (network_policy("{podSelector: {}, ingress: [{from: [{}]}]}"), "spec.ingress[0].from[0]"),
        (
            network_policy(
                "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}]}]}",
            ),
            "spec.ingress[0].from[0].ipBlock",
        ),
        (
            network_policy("{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: ten}}]}]}"),
            "spec.ingress[0].from[0].ipBlock.cidr",
        ),
        (
            network_policy(
                "{podSelector: {}, egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/8]}}]}]}",
            ),
            "spec.egress[0].to[0].ipBlock.except[0]",
        ),
        (
            network_policy("{podSelector: {}, ingress: [{ports: [{port: 0}]}]}"),
            "spec.ingress[0].ports[0].port",
        ),
        (
            network_policy("{podSelector: {}, ingress: [{ports: [{port: [1]}]}]}"),
            "spec.ingress[0].ports[0].port",
        ),
        (
            network_policy("{podSelector: {}, ingress: [{ports: [{port: http, endPort: 9}]}]}"),
            "spec.ingress[0].ports[0].endPort",
        ),
        (
            network_policy("{podSelector: {}, ingress: [{ports: [{endPort: 9}]}]}"),
            "spec.ingress[0].ports[0].endPort",
        ),
        (
            network_policy("{podSelector: {}, ingress: [{ports: [{port: 9, protocol: ICMP}]}]}"),
            "spec.ingress[0].ports[0].protocol",
        ),
        (network_policy("{podSelector: {}, policyTypes: [Both]}"), "spec.policyTypes[0]"),
        (network_policy("{podSelector: {}, ingres: []}"), "spec.ingres"),
        (network_policy("{podSelector: []}"), "spec.podSelector"),
        (cilium_policy("{endpointSelector: {}, egress: [{toCIDR: [x]}]}"), "spec.egress[0].toCIDR[0]"),
        (cilium_policy("{ingress: []}"), "spec.endpointSelector"),
        (cilium_policy("null"), "spec"),
        (cilium_policy("{endpointSelector: {}}").replace("name: p, ", ""), "metadata.name"),
        (cilium_policy("{endpointSelector: {}}").replace("/v2", "/v3"), "apiVersion"),
        ("kind: Pod\n".to_owned(), "apiVersion"),
        ("[1]".to_owned(), "apiVersion"),
    ] {
        let error = refused(&yaml);
        let (ParseError::Schema { path: told, .. } | ParseError::Value { path: told, .. }) = &error else {
            panic!("{error:?}")
        };
        assert_eq!(told, path, "{yaml}: {error}");
    }
    let error = refused(&network_policy("{podSelector: {matchLabels: {'a b': x}}}"));
    assert!(error.to_string().starts_with(r#"spec.podSelector.matchLabels["a b"]: "#), "{error}");
}

#[test]
fn cluster_wide_policies_and_missing_features_are_refused_as_such() {
    let yaml = cilium_policy("{endpointSelector: {}, egress: [{toFQDNs: [{matchName: a}]}]}");
    assert_eq!(
        refused(&yaml),
        ParseError::Unsupported { feature: Feature::ToFqdns, path: "spec.egress[0].toFQDNs".into() }
    );
    let yaml = "apiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\n";
    assert!(matches!(refused(yaml), ParseError::Unsupported { feature: Feature::ClusterwidePolicy, .. }));
}

#[test]
fn what_is_no_yaml_is_told_with_its_line() {
    let error = kubernetes::documents("a: [1\nb: }").unwrap_err();
    assert!(matches!(&error, ParseError::Syntax { format: "YAML", .. }), "{error:?}");
    assert!(error.to_string().contains("line"), "{error}");
    for text in ["{", &"[".repeat(100_000), &"- ".repeat(100_000)] {
        assert!(matches!(kubernetes::documents(text), Err(ParseError::Syntax { .. })), "{:.9}", text);
    }
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned()
        + &('b'..='k').map(|c| {
            let before = (c as u8 - 1) as char;
            format!("{c}: &{c} [*{before},*{before},*{before},*{before},*{before},*{before},*{before},*{before}]\n")
        }).collect::<String>();
    assert!(
        matches!(kubernetes::documents(&bomb), Err(ParseError::Syntax { .. })),
        "aliases do not multiply"
    );
}
