// SPDX-License-Identifier: Apache-2.0
//! What clients get wrong.

use super::*;

#[test]
fn requests_that_make_no_sense_name_the_field() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    let good = attachment("web", &[], "10.1.0.9");
    type Change = fn(&mut EndpointChangeRequest);
    let cases: [(Change, &str); 8] = [
        (|request| request.mac = Some("zz".into()), "mac"),
        (|request| request.mac = None, "mac"),
        (|request| request.interface_name = None, "interface-name"),
        (|request| request.addressing = None, "addressing"),
        (|request| request.addressing.as_mut().unwrap().ipv4 = "::1".into(), "addressing.ipv4"),
        (|request| request.labels = Some(vec!["k8s:a".into(), "=x".into()]), "labels[1]"),
        (|request| request.docker_network_id = Some("x".into()), "docker-network-id"),
        (|request| request.state = EndpointState::Ready, "state"),
    ];
    for (change, field) in cases {
        let mut request = good.clone();
        change(&mut request);
        refused(bench.client.create_endpoint("container-id:web", &request), 400, &[field]);
    }
    refused(bench.client.create_endpoint("container-id:other", &good), 400, &["id"]);
    refused(bench.client.endpoint("nonsense:1"), 400, &["id", "nonsense"]);
    refused(bench.client.endpoint("0"), 400, &["id"]);
    bench.stop();
}

#[test]
fn what_is_not_http_not_json_or_not_there_is_refused_without_harm() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    let put = |body: &str| {
        let length = body.len();
        format!(
            "PUT /v1/endpoint/1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
    };
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    for (request, status, part) in [
        (put("{\"state\":\"creating\",\"interface-index\":\"x\"}"), 400, "\"field\":\"interface-index\""),
        (put("{\"state\":\"creating\",\"surprise\":1}"), 400, "surprise"),
        (put("{\"state\":\"creating\"} {}"), 400, "trailing"),
        (put(""), 400, "needs a JSON body"),
        (put(&"[".repeat(100_000)), 400, "message"),
        (get("/v1/prefilter"), 501, "prefilter are not there yet"),
        (get("/v1/fqdn/cache"), 501, "DNS"),
        (get("/v1/nothing"), 404, "/v1/nothing"),
        ("DELETE /v1/healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".into(), 405, "allow: GET"),
        ("POST /v1/ipam?family=ipv9 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".into(), 400, "family"),
        (
            "PUT /v1/policy HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 99999999\r\n\r\n"
                .into(),
            413,
            "larger",
        ),
        ("nonsense\r\n\r\n".into(), 400, ""),
    ] {
        let reply = bench.raw(&request);
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{request:.80}: {reply}");
        assert!(reply.contains(part), "{request:.80}: {reply}");
    }
    assert_eq!(bench.client.status().unwrap().cilium.unwrap().state, StatusState::Ok);
    bench.stop();
}

#[test]
fn a_client_that_hangs_up_in_the_middle_harms_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    for bytes in ["GET /v1/hea", "PUT /v1/policy HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n[{", ""] {
        let mut stream = UnixStream::connect(dir.path().join("agent.sock")).unwrap();
        stream.write_all(bytes.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Both).unwrap();
    }
    assert_eq!(bench.client.status().unwrap().cilium.unwrap().state, StatusState::Ok);
    bench.stop();
}
