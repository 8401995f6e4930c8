// SPDX-License-Identifier: Apache-2.0
//! Kubernetes' objects as an API server writes them, and as they should not be written.

use addr::{Port, Protocol};
use loadbalancer::kubernetes::{endpoint_slice, endpoints, pod_host_ports, service};
use loadbalancer::{
    EndpointConditions, HostPort, Service, ServicePort, ServiceType, SlicePort, TrafficPolicy,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::{Value, json};

use crate::world::{documents, key};

fn one(yaml: &str) -> Value {
    documents(yaml).remove(0)
}

const SERVICE: &str = r#"
apiVersion: v1
kind: Service
metadata:
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: "{}"
  creationTimestamp: "2024-05-04T10:00:00Z"
  labels: {app: web}
  managedFields: []
  name: web
  namespace: shop
  resourceVersion: "733"
  uid: 9b1c3a1e-7f0e-4a65-8f7b-6a6a1de32dbe
spec:
  allocateLoadBalancerNodePorts: true
  clusterIP: 10.96.0.10
  clusterIPs: [10.96.0.10, "fd01::a"]
  externalIPs: [198.51.100.7]
  externalTrafficPolicy: Local
  healthCheckNodePort: 31123
  internalTrafficPolicy: Cluster
  ipFamilies: [IPv4, IPv6]
  ipFamilyPolicy: PreferDualStack
  ports:
  - {name: http, nodePort: 30080, port: 80, protocol: TCP, targetPort: http, appProtocol: http}
  - {name: dns, port: 53, protocol: UDP, targetPort: 53}
  selector: {app: web}
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 10800}}
  type: LoadBalancer
status:
  loadBalancer:
    ingress:
    - {ip: 203.0.113.4, ipMode: VIP}
"#;

#[test]
fn a_service_as_an_api_server_writes_it() {
    let port = |number| Port::new(number).unwrap();
    let ips = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    let expected = Service {
        key: key("shop/web"),
        labels: [("app".to_owned(), "web".to_owned())].into(),
        selects_pods: true,
        kind: ServiceType::LoadBalancer,
        cluster_ips: ips(&["10.96.0.10", "fd01::a"]),
        external_ips: ips(&["198.51.100.7"]),
        load_balancer_ips: ips(&["203.0.113.4"]),
        ports: vec![
            ServicePort {
                name: "http".to_owned(),
                protocol: Protocol::Tcp,
                port: port(80),
                node_port: Some(port(30_080)),
            },
            ServicePort { name: "dns".to_owned(), protocol: Protocol::Udp, port: port(53), node_port: None },
        ],
        affinity_timeout_s: Some(10_800),
        internal_policy: TrafficPolicy::Cluster,
        external_policy: TrafficPolicy::Local,
        publish_not_ready: false,
        source_ranges: None,
        health_check_node_port: Some(port(31_123)),
    };
    assert_eq!(service(&one(SERVICE)), Ok(expected));
}

/// What stands behind a service, as rules of `toServices` ask.
#[test]
fn a_service_without_a_selector_is_its_endpoints_that_take_connections() {
    let of = |spec: &str, slices: &[loadbalancer::EndpointSlice]| {
        let yaml = format!("{{metadata: {{namespace: shop, name: db}}, spec: {{{spec}}}}}");
        let addresses = service(&one(&yaml)).unwrap().external_addresses(slices);
        addresses.map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    };
    let in_slice = |family: &str, endpoints: &str| {
        let labels = "labels: {kubernetes.io/service-name: db}";
        endpoint_slice(&one(&format!(
            "{{metadata: {{namespace: shop, name: a, {labels}}}, addressType: {family}, endpoints: [{endpoints}]}}"
        )))
        .unwrap()
    };
    let v4 = in_slice(
        "IPv4",
        "{addresses: [192.0.2.1]}, {addresses: [192.0.2.2], conditions: {ready: false}},
         {addresses: [192.0.2.3], conditions: {ready: false, serving: true, terminating: true}}",
    );
    let v6 = in_slice("IPv6", "{addresses: ['2001:db8::1']}");
    let both = [v4.clone(), v6];
    for spec in ["clusterIP: None", "clusterIP: 10.96.0.10, ports: [{port: 80}]", "", "selector: {}"] {
        assert_eq!(of(spec, &both).as_deref(), Some("192.0.2.1 192.0.2.3 2001:db8::1"), "{spec}");
        assert_eq!(of(spec, &[]).as_deref(), Some(""));
    }
    let all = of("clusterIP: None, publishNotReadyAddresses: true", &both);
    assert_eq!(all.as_deref(), Some("192.0.2.1 192.0.2.2 192.0.2.3 2001:db8::1"));
    assert_eq!(of("selector: {app: db}", &both), None);
    assert_eq!(of("type: ExternalName, externalName: db.example.com", &both), None);
    // Endpoints objects count where there is no slice.
    let subsets = "{metadata: {namespace: shop, name: db}, subsets: [{addresses: [{ip: 192.0.2.9}],
        notReadyAddresses: [{ip: 192.0.2.8}]}, {addresses: [{ip: '2001:db8::9'}]}]}";
    let mut mirrored = endpoints(&one(subsets)).unwrap();
    assert_eq!(of("", &mirrored).as_deref(), Some("192.0.2.9 2001:db8::9"));
    mirrored.push(v4);
    assert_eq!(of("", &mirrored).as_deref(), Some("192.0.2.1 192.0.2.3"));
}

const SLICE: &str = r#"
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
addressType: IPv4
metadata:
  generateName: web-
  labels:
    endpointslice.kubernetes.io/managed-by: endpointslice-controller.k8s.io
    kubernetes.io/service-name: web
  name: web-x7k2p
  namespace: shop
  ownerReferences: [{apiVersion: v1, blockOwnerDeletion: true, controller: true, kind: Service, name: web, uid: u}]
endpoints:
- addresses: [10.0.0.5]
  conditions: {ready: true, serving: true, terminating: false}
  nodeName: a
  targetRef: {kind: Pod, name: web-1, namespace: shop, uid: u}
  zone: z
- addresses: [10.0.0.6]
  conditions: {ready: false}
- addresses: [10.0.0.7]
- addresses: [10.0.0.8]
  conditions: {ready: false, serving: true, terminating: true}
ports:
- {name: http, port: 8080, protocol: TCP}
- {name: "", port: 53, protocol: UDP}
"#;

#[test]
fn a_slice_as_its_controller_writes_it() {
    let slice = endpoint_slice(&one(SLICE)).unwrap();
    assert_eq!((slice.key.to_string(), slice.service.as_str()), ("shop/web-x7k2p".to_owned(), "web"));
    let conditions: Vec<EndpointConditions> = slice.endpoints.iter().map(|one| one.conditions).collect();
    let is = |ready, serving, terminating| EndpointConditions { ready, serving, terminating };
    let expected =
        [is(true, true, false), is(false, false, false), is(true, true, false), is(false, true, true)];
    assert_eq!(conditions, expected);
    assert_eq!(
        slice.ports[0],
        SlicePort { name: "http".to_owned(), protocol: Protocol::Tcp, port: Port::new(8080).unwrap() }
    );
    let mut older = one(SLICE);
    older["apiVersion"] = json!("discovery.k8s.io/v1beta1");
    assert_eq!(endpoint_slice(&older), Ok(slice));
}

#[test]
fn a_slice_of_names_has_no_endpoints() {
    let mut slice = one(SLICE);
    slice["addressType"] = json!("FQDN");
    slice["endpoints"] = json!([{"addresses": ["web.example.org"]}]);
    assert!(endpoint_slice(&slice).unwrap().endpoints.is_empty());
}

#[test]
fn endpoints_become_a_slice_for_each_subset() {
    let document = one(
        "metadata: {name: web}\nsubsets:\n- addresses: [{ip: 10.0.0.5, nodeName: a, targetRef: {kind: Pod}}]\n  \
         ports: [{name: http, port: 8080}]\n- notReadyAddresses: [{ip: 10.0.0.6}]\n  ports: [{port: 53, protocol: UDP}]\n",
    );
    let slices = endpoints(&document).unwrap();
    let names: Vec<String> = slices.iter().map(|slice| slice.key.to_string()).collect();
    assert_eq!(names, ["default/web#1", "default/web#2"]);
    assert!(slices.iter().all(|slice| slice.mirrored && slice.service == "web"));
    assert!(!slices[1].endpoints[0].conditions.ready && !slices[1].endpoints[0].conditions.serving);
    assert_eq!(endpoints(&one("metadata: {name: web}")), Ok(Vec::new()));
}

#[test]
fn host_ports_are_those_that_say_so() {
    let document = one("metadata: {name: web}\nspec:\n  containers:\n  - name: a\n    ports:\n    \
         - {containerPort: 80, hostPort: 8080, hostIP: 0.0.0.0}\n    - {containerPort: 81}\n  - name: b\n");
    let port = |number| Port::new(number).unwrap();
    let expected =
        HostPort { address: None, port: port(8080), protocol: Protocol::Tcp, container_port: port(80) };
    assert_eq!(pod_host_ports(&document), Ok(vec![expected]));
    assert_eq!(pod_host_ports(&json!({"kind": "Pod"})), Ok(Vec::new()));
}

/// The fault of an object with one field set to another value.
fn fault(mut document: Value, pointer: &str, value: Value) -> String {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    document.pointer_mut(parent).unwrap()[field] = value;
    match document["kind"].as_str().unwrap() {
        "Service" => service(&document).unwrap_err().to_string(),
        _ => endpoint_slice(&document).unwrap_err().to_string(),
    }
}

#[test]
fn a_fault_of_a_service_names_its_field() {
    let said = |pointer, value| fault(one(SERVICE), pointer, value);
    assert_eq!(
        said("/spec/ports", json!([{"port": 80, "nodePort": 70_000}])),
        "spec.ports[0].nodePort: 70000 is not a port: must be from 1 to 65535"
    );
    assert_eq!(
        said("/spec/ports", json!([{"port": 0}])),
        "spec.ports[0].port: 0 is not a port: must be from 1 to 65535"
    );
    assert_eq!(
        said("/spec/ports", json!([{"port": 80, "protocol": "ICMP"}])),
        "spec.ports[0].protocol: \"ICMP\" is none of TCP, UDP, SCTP"
    );
    assert_eq!(
        said("/spec/ports", json!([{"name": "a", "port": 80}, {"name": "a", "port": 81}])),
        "spec.ports[1].name: \"a\" is the name of another port"
    );
    assert_eq!(
        said("/spec/ports", json!([{"name": "a", "port": 80}, {"name": "b", "port": 80}])),
        "spec.ports[1].port: 80/TCP is another port already"
    );
    assert!(said("/spec/ports", json!([{"port": "http"}])).starts_with("spec.ports[0].port: invalid type"));
    assert_eq!(
        said("/spec/type", json!("Cluster")),
        "spec.type: \"Cluster\" is none of ClusterIP, NodePort, LoadBalancer, ExternalName"
    );
    assert_eq!(
        said("/spec/clusterIPs", json!(["10.96.0.10", "web"])),
        "spec.clusterIPs[1]: \"web\" is not an IP address"
    );
    assert_eq!(
        said("/spec/externalIPs", json!(["127.0.0.1"])),
        "spec.externalIPs[0]: 127.0.0.1 is a loopback address"
    );
    assert_eq!(
        said("/status/loadBalancer/ingress", json!([{"ip": "::"}])),
        "status.loadBalancer.ingress[0].ip: :: is no address of anybody"
    );
    assert_eq!(
        said("/spec/sessionAffinity", json!("Cookie")),
        "spec.sessionAffinity: \"Cookie\" is neither ClientIP nor None"
    );
    assert_eq!(
        said("/spec/sessionAffinityConfig/clientIP/timeoutSeconds", json!(90_000)),
        "spec.sessionAffinityConfig.clientIP.timeoutSeconds: 90000 must be from 1 to 86400"
    );
    assert_eq!(
        said("/spec/externalTrafficPolicy", json!("Node")),
        "spec.externalTrafficPolicy: \"Node\" is neither Cluster nor Local"
    );
    assert_eq!(
        said("/spec/loadBalancerSourceRanges", json!(["10.0.0.0/8", "10.0.0.0/33"])),
        "spec.loadBalancerSourceRanges[1]: \"10.0.0.0/33\" is not a range: write it as 192.0.2.0/24 or 2001:db8::/32"
    );
    assert_eq!(
        said("/spec/loadBalancerSourceRanges", json!(["::ffff:10.0.0.0/104"])),
        "spec.loadBalancerSourceRanges[0]: ::ffff:10.0.0.0/104 is an IPv4 range written as IPv6: write it as IPv4"
    );
    let annotation = "metadata.annotations[service.beta.kubernetes.io/load-balancer-source-ranges]";
    let annotations =
        |value: Value| said("/metadata/annotations", json!({&annotation[21..annotation.len() - 1]: value}));
    assert_eq!(
        annotations(json!("10.0.0.0/8,x")),
        format!("{annotation}[1]: \"x\" is not a range: write it as 192.0.2.0/24 or 2001:db8::/32")
    );
    assert_eq!(annotations(json!(7)), format!("{annotation}: is not a text"));
    assert_eq!(said("/metadata/name", json!("")), "metadata.name: must not be empty");
    assert_eq!(service(&json!({})).unwrap_err().to_string(), ".: missing field `metadata`");
}

#[test]
fn source_ranges_are_those_of_the_field_or_of_the_annotation_before_it() {
    let ranges = |spec: Value, annotation: Value| {
        let mut document = one(SERVICE);
        document["spec"]["loadBalancerSourceRanges"] = spec;
        document["metadata"]["annotations"]["service.beta.kubernetes.io/load-balancer-source-ranges"] =
            annotation;
        let found = service(&document).unwrap().source_ranges;
        found.map(|ranges| ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    };
    let field = json!(["2001:db8::1/32", " 10.1.2.3/8", "10.0.0.0/8"]);
    assert_eq!(ranges(field.clone(), json!("")).as_deref(), Some("10.0.0.0/8 2001:db8::/32"));
    assert_eq!(ranges(field, json!("192.0.2.0/24")).as_deref(), Some("10.0.0.0/8 2001:db8::/32"));
    assert_eq!(
        ranges(json!([]), json!("192.0.2.0/24, 10.0.0.0/8")).as_deref(),
        Some("10.0.0.0/8 192.0.2.0/24")
    );
    assert_eq!(ranges(json!([]), json!("  ")), None);
    assert_eq!(ranges(Value::Null, json!("")), None);
    let mut other = one(SERVICE);
    other["spec"]["type"] = json!("NodePort");
    other["spec"]["loadBalancerSourceRanges"] = json!(["10.0.0.0/8"]);
    assert_eq!(
        service(&other).unwrap_err().to_string(),
        "spec.loadBalancerSourceRanges: is for services of type LoadBalancer: take it away, or make it one"
    );
}

#[test]
fn a_fault_of_a_slice_names_its_field() {
    let said = |pointer, value| fault(one(SLICE), pointer, value);
    assert_eq!(
        said("/endpoints", json!([{"addresses": ["10.0.0.5"]}, {"addresses": ["fd00::1"]}])),
        "endpoints[1].addresses: fd00::1 is of another family than addressType says"
    );
    assert_eq!(
        said("/endpoints", json!([{"addresses": ["10.0.0.5", "224.0.0.1"]}])),
        "endpoints[0].addresses[1]: 224.0.0.1 is a multicast address"
    );
    assert_eq!(said("/addressType", json!("IP")), "addressType: \"IP\" is none of IPv4, IPv6, FQDN");
    assert_eq!(
        said("/ports", json!([{"name": "a"}])),
        "ports[0].port: must be there: every port is not supported"
    );
    assert_eq!(
        said("/metadata/labels", json!({})),
        "metadata.labels: kubernetes.io/service-name must be there, and name the slice's service"
    );
}

/// Values like those of objects, and others in their place.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-2_i64..70_000).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-zA-Z0-9.:]{0,8}".prop_map(Value::from),
        Just(json!("10.0.0.5")),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec(("[a-zA-Z]{1,8}", inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Every place in a document.
fn pointers(document: &Value, at: &str, found: &mut Vec<String>) {
    let mut below = |key: &str, value: &Value| {
        let at = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        found.push(at.clone());
        pointers(value, &at, found);
    };
    match document {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| below(key, value)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, value)| below(&index.to_string(), value));
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: RngSeed::Fixed(3), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn nothing_that_a_file_holds_makes_reading_panic(
        whole in value(), part in value(), at in any::<proptest::sample::Index>(), of_slice in any::<bool>()
    ) {
        let mut document = one(if of_slice { SLICE } else { SERVICE });
        let mut places = Vec::new();
        pointers(&document, "", &mut places);
        *document.pointer_mut(&places[at.index(places.len())]).unwrap() = part;
        for document in [whole, document] {
            let _ = (service(&document), endpoint_slice(&document), endpoints(&document));
            let _ = pod_host_ports(&document);
        }
    }
}
