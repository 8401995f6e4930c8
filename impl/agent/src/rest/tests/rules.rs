// SPDX-License-Identifier: Apache-2.0
//! Rules.

use super::*;

#[test]
fn rules_change_what_is_realized_before_their_import_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    let (web, _) = bench.attach("web", &["k8s:app=web"]);
    bench.attach("client", &["k8s:app=client"]);
    let policy = bench.client.put_policy(RULE).unwrap();
    let ports = |memory: &mut Memory, id| -> Vec<u16> {
        memory.policy[&id]
            .keys()
            .filter(|key| key.direction == policy::Direction::Ingress)
            .map(|key| key.port)
            .collect()
    };
    assert!(bench.ask(move |memory| ports(memory, web)).contains(&80));
    let stored = bench.client.policy(&[]).unwrap();
    assert_eq!(stored, policy);
    assert!(stored.policy.contains("app"), "{}", stored.policy);
    let question = |from: &str, port| TraceSelector {
        from: TraceFrom { labels: vec![from.into()] },
        to: TraceTo {
            labels: vec!["k8s:app=web".into()],
            dports: vec![Port { port, protocol: PortProtocol::Tcp }],
        },
        verbose: false,
    };
    let ask = |from, port| bench.client.resolve_policy(&question(from, port)).unwrap().verdict;
    assert_eq!(ask("k8s:app=client", 80), Verdict::Allowed);
    assert_eq!(ask("k8s:app=client", 81), Verdict::Denied);
    assert_eq!(ask("k8s:app=other", 80), Verdict::Denied);
    bench.client.delete_policy(&["name=web".into()]).unwrap();
    assert!(!bench.ask(move |memory| ports(memory, web)).contains(&80));
    refused(bench.client.delete_policy(&["name=web".into()]), 404, &["name=web"]);
    bench.stop();
}

#[test]
fn rules_that_cannot_be_name_the_field() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    refused(bench.client.put_policy("["), 400, &["JSON"]);
    refused(bench.client.put_policy(&RULE.replace("\"80\"", "\"x_y\"")), 460, &["[0].ingress[0].toPorts[0]"]);
    refused(bench.client.put_policy(&RULE.replace("ingress", "ingres")), 400, &["ingres"]);
    let l7 = RULE.replace("\"protocol\":\"TCP\"}]", "\"protocol\":\"TCP\"}],\"rules\":{\"http\":[{}]}");
    refused(bench.client.put_policy(&l7), 501, &["L7", "toPorts"]);
    let metrics = bench.client.metrics().unwrap();
    let errors = metrics.iter().find(|metric| metric.name == "cilium_policy_import_errors").unwrap();
    assert!((errors.value - 4.0).abs() < f64::EPSILON);
    bench.stop();
}
