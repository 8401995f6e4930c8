// SPDX-License-Identifier: Apache-2.0
//! The client against a server on a unix socket that answers what it is told, byte by byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use api::{Client, ClientError, EndpointConfigurationSpec, ServiceSpec, StatusState};
use tempfile::TempDir;

/// A server for one request.
struct Server {
    directory: TempDir,
    thread: JoinHandle<(String, String)>,
}

impl Server {
    /// That answers these bytes and hangs up.
    fn answering(reply: impl AsRef<[u8]> + Send + 'static) -> Self {
        Self::with(move |mut stream| stream.write_all(reply.as_ref()).unwrap())
    }

    fn with(answer: impl FnOnce(UnixStream) + Send + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("cilium.sock")).unwrap();
        let thread = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let request = read_request(&stream);
            answer(stream);
            request
        });
        Self { directory, thread }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("cilium.sock")
    }

    fn client(&self) -> Client {
        Client::new(self.path())
    }

    /// The first line of the request and its body.
    fn request(self) -> (String, String) {
        self.thread.join().unwrap()
    }
}

fn read_request(stream: &UnixStream) -> (String, String) {
    let mut reader = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).unwrap();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (first.trim().to_owned(), String::from_utf8(body).unwrap())
}

fn reply(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn a_reply_with_a_length_is_read() {
    let server = Server::answering(reply("200 OK", r#"{"cilium":{"state":"Ok","msg":"OK"}}"#));
    let status = server.client().status().unwrap();
    assert_eq!(status.cilium.unwrap().state, StatusState::Ok);
    assert_eq!(server.request(), ("GET /v1/healthz HTTP/1.1".to_owned(), String::new()));
}

#[test]
fn entries_that_a_reply_left_out_are_counted() {
    let body = r#"{"path":"/x","cache":[]}"#;
    let header = "HTTP/1.1 200 OK\r\nX-Entries-Left-Out: 7\r\nContent-Length: ";
    let server = Server::answering(format!("{header}{}\r\n\r\n{body}", body.len()));
    assert_eq!(server.client().map("cilium_lxc").unwrap().1, 7);
    let server = Server::answering(reply("200 OK", body));
    assert_eq!(server.client().map("cilium_lxc").unwrap().1, 0);
}

#[test]
fn a_reply_in_chunks_is_read() {
    let server = Server::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[{\"id\r\n7;x=y\r\n\":2},{}\r\n1\r\n]\r\n0\r\n\r\n",
    );
    let identities = server.client().identities(&[]).unwrap();
    assert_eq!(identities.iter().map(|identity| identity.id).collect::<Vec<_>>(), [2, 0]);
}

#[test]
fn a_reply_without_a_length_ends_with_the_connection() {
    let server = Server::answering("HTTP/1.1 200 OK\r\n\r\n{\"revision\":7}");
    assert_eq!(server.client().policy(&[]).unwrap().revision, 7);
}

#[test]
fn a_get_and_a_delete_carry_bodies_as_in_1_4() {
    let labels = ["k8s:app=web".to_owned()];
    let server = Server::answering(reply("200 OK", r#"{"revision":1,"policy":"[]"}"#));
    server.client().policy(&labels).unwrap();
    assert_eq!(server.request(), ("GET /v1/policy HTTP/1.1".to_owned(), r#"["k8s:app=web"]"#.to_owned()));
    let server = Server::answering(reply("200 OK", r#"{"revision":2}"#));
    server.client().delete_policy(&labels).unwrap();
    assert_eq!(server.request(), ("DELETE /v1/policy HTTP/1.1".to_owned(), r#"["k8s:app=web"]"#.to_owned()));
}

#[test]
fn rules_travel_as_one_json_string() {
    let server = Server::answering(reply("200 OK", r#"{"revision":3}"#));
    assert_eq!(server.client().put_policy(r#"[{"a":1}]"#).unwrap().revision, 3);
    assert_eq!(server.request(), ("PUT /v1/policy HTTP/1.1".to_owned(), r#""[{\"a\":1}]""#.to_owned()));
}

#[test]
fn an_empty_reply_is_a_success_without_a_value() {
    let server = Server::answering("HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(server.client().delete_endpoint("container-id:c0ffee").unwrap(), 0);
    assert_eq!(server.request().0, "DELETE /v1/endpoint/container-id:c0ffee HTTP/1.1");
    let server = Server::answering(reply("206 Partial Content", "3"));
    assert_eq!(server.client().delete_endpoint("7").unwrap(), 3);
    let server = Server::answering(reply("200 OK", ""));
    server.client().patch_endpoint_config("7", &EndpointConfigurationSpec::default()).unwrap();
    assert_eq!(server.request(), ("PATCH /v1/endpoint/7/config HTTP/1.1".to_owned(), "{}".to_owned()));
}

#[test]
fn a_refusal_is_told_in_the_agents_words_whatever_their_form() {
    for (body, says) in [
        (r#"{"message":"must be TCP","field":"rules[0].protocol"}"#, "rules[0].protocol: must be TCP"),
        (r#""must be TCP""#, "must be TCP"),
        ("must be TCP\n", "must be TCP"),
        ("", "refused with HTTP status 400"),
    ] {
        let server = Server::answering(reply("400 Bad Request", body));
        let error = server.client().put_policy("[]").unwrap_err();
        assert_eq!(error.status(), Some(400));
        assert_eq!(error.to_string(), format!("PUT /v1/policy: {says}"));
    }
}

#[test]
fn a_list_that_1_4_says_is_not_found_is_empty() {
    let server = Server::answering(reply("404 Not Found", ""));
    assert_eq!(server.client().endpoints(&[]).unwrap(), []);
    let server = Server::answering(reply("404 Not Found", ""));
    let error = server.client().endpoint("7").unwrap_err();
    assert_eq!(error.to_string(), "GET /v1/endpoint/7: not found");
}

#[test]
fn an_agent_that_is_not_there_is_told_with_the_socket_and_the_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cilium.sock");
    let absent = Client::new(&path).status().unwrap_err();
    assert!(absent.is_unreachable());
    drop(UnixListener::bind(&path).unwrap());
    let dead = Client::new(&path).status().unwrap_err();
    for error in [absent, dead] {
        let text = error.to_string();
        assert!(text.contains(path.to_str().unwrap()) && text.ends_with("is the agent running?"), "{text}");
    }
    let long = Client::new(Path::new("/").join("x".repeat(200))).status().unwrap_err();
    assert!(matches!(long, ClientError::Connect { .. }), "{long}");
}

#[test]
fn an_agent_that_does_not_answer_is_given_up() {
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let server = Server::with(move |stream| {
        let _ = held.recv();
        drop(stream);
    });
    let error = Client::with_timeout(server.path(), Duration::from_millis(50)).status().unwrap_err();
    assert!(matches!(error, ClientError::Timeout { .. }), "{error}");
    drop(hold);
}

#[test]
fn an_agent_whose_queue_of_connections_is_full_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cilium.sock");
    let listener = UnixListener::bind(&path).unwrap();
    // The kernel takes connections until the queue is full, then makes the next one wait.
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    let _first = UnixStream::connect(&path).unwrap();
    let error = Client::with_timeout(&path, Duration::from_millis(50)).status().unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }), "{error}");
}

#[test]
fn bytes_that_are_no_http_or_no_json_are_told() {
    for bytes in ["", "nonsense", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}"] {
        let error = Server::answering(bytes).client().status().unwrap_err();
        assert!(matches!(error, ClientError::Protocol { .. }), "{bytes:?}: {error}");
    }
    let error = Server::answering(reply("200 OK", "<html>")).client().status().unwrap_err();
    assert!(matches!(error, ClientError::Decode { .. }), "{error}");
}

#[test]
fn a_host_is_a_path_or_a_unix_url() {
    for host in ["/x/cilium.sock", "unix:///x/cilium.sock"] {
        assert_eq!(Client::of_host(Some(host)).unwrap().path(), Path::new("/x/cilium.sock"));
    }
    for host in ["tcp://192.0.2.1:80", "unix://", ""] {
        let error = Client::of_host(Some(host)).unwrap_err();
        assert!(error.to_string().contains("is no address of the agent"), "{error}");
    }
}

#[test]
fn a_service_is_new_if_the_reply_says_so() {
    for (status, created) in [("201 Created", true), ("200 OK", false)] {
        let server = Server::answering(reply(status, ""));
        let spec = ServiceSpec { id: 7, ..ServiceSpec::default() };
        assert_eq!(server.client().put_service(7, &spec).unwrap(), created);
        let (line, body) = server.request();
        assert_eq!((line.as_str(), body.as_str()), ("PUT /v1/service/7 HTTP/1.1", "{\"id\":7}"));
    }
    let server =
        Server::answering(reply("461 X", r#"{"message":"is no address","field":"backend-addresses[0].ip"}"#));
    let error = server.client().put_service(7, &ServiceSpec::default()).unwrap_err();
    assert_eq!(error.status(), Some(461));
    assert!(error.to_string().contains("backend-addresses[0].ip"), "{error}");
}
