// SPDX-License-Identifier: Apache-2.0
//! A server on a unix socket that gives each request the reply that was set for it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

use cli::CliError;
use serde_json::Value;
use tempfile::TempDir;

/// Replies by method and path; the last one of each is given again and again.
type Replies = HashMap<String, Vec<(u16, String)>>;

/// Stands in for an agent.
pub struct Server {
    directory: TempDir,
    replies: Arc<Mutex<Replies>>,
    requests: Arc<Mutex<Vec<(String, String)>>>,
}

impl Server {
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("cilium.sock")).unwrap();
        let server = Self { directory, replies: Arc::default(), requests: Arc::default() };
        let (replies, requests) = (Arc::clone(&server.replies), Arc::clone(&server.requests));
        // It ends with the process of the test.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let (line, body) = read_request(&stream);
                let (status, reply) = reply_to(&replies, &line);
                requests.lock().unwrap().push((line, body));
                let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", reply.len());
                stream.write_all((head + &reply).as_bytes()).unwrap();
            }
        });
        server
    }

    /// `GET /v1/endpoint` gets this reply.
    pub fn on(self, request: &str, status: u16, reply: &Value) -> Self {
        self.replies.lock().unwrap().entry(request.to_owned()).or_default().push((status, reply.to_string()));
        self
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("cilium.sock")
    }

    pub fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// What a command line prints.
    pub fn run(&self, line: &[&str]) -> Result<String, CliError> {
        let mut arguments: Vec<OsString> = vec!["cilium".into(), "-H".into(), self.socket().into()];
        arguments.extend(line.iter().map(Into::into));
        run(arguments)
    }

    /// Requests so far, with their bodies.
    pub fn requests(&self) -> Vec<(String, String)> {
        self.requests.lock().unwrap().clone()
    }

    /// The body of the last request, which must have been this one.
    #[track_caller]
    pub fn sent(&self, request: &str) -> Value {
        let (line, body) = self.requests().pop().expect("a request");
        assert_eq!(line, request);
        serde_json::from_str(&body).unwrap()
    }
}

/// What a command line without an agent prints.
pub fn run(arguments: Vec<OsString>) -> Result<String, CliError> {
    let mut output = Vec::new();
    cli::run_into(arguments, &mut output)?;
    Ok(String::from_utf8(output).unwrap())
}

fn reply_to(replies: &Mutex<Replies>, line: &str) -> (u16, String) {
    match replies.lock().unwrap().get_mut(line) {
        Some(replies) if replies.len() > 1 => replies.remove(0),
        Some(replies) => replies[0].clone(),
        None => (500, format!("{{\"message\":\"the test has no reply for {line}\"}}")),
    }
}

/// Method and path, and the body.
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
    let line = first.trim().strip_suffix(" HTTP/1.1").unwrap().to_owned();
    (line, String::from_utf8(body).unwrap())
}
