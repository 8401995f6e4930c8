// SPDX-License-Identifier: Apache-2.0
//! As much of HTTP/1.1 as the agent's REST interface needs: one request per connection on a unix socket. The lab has a
//! client of its own, so that a defect of the product's client does not hide one of its server.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

/// How long the agent may take for an answer: replies that mean "done" come when it is done.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Longest answer that is read, bytes.
const LONGEST: u64 = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The socket, or the connection.
    #[error("{method} {path} at {socket}: {source}", socket = socket.display())]
    Io {
        /// The method.
        method: &'static str,
        /// The path.
        path: String,
        /// The socket.
        socket: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What came back is not HTTP, or not JSON.
    #[error("{method} {path}: {reason}")]
    Malformed {
        /// The method.
        method: &'static str,
        /// The path.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The agent says no.
    #[error("{method} {path}: {status}: {said}")]
    Status {
        /// The method.
        method: &'static str,
        /// The path.
        path: String,
        /// HTTP's status.
        status: u16,
        /// The body, shortened.
        said: String,
    },
}

/// The REST interface of an agent.
#[derive(Clone, Debug)]
pub struct Api {
    socket: PathBuf,
}

impl Api {
    /// That of the agent at this socket.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.into() }
    }

    /// `GET`; the path is without the prefix `/v1`.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn read(&self, path: &str) -> Result<Value, ApiError> {
        self.request("GET", path, None)
    }

    /// Any method, with a JSON body or none.
    ///
    /// # Errors
    /// [`ApiError`]; [`ApiError::Status`] for anything but success.
    pub fn request(&self, method: &'static str, path: &str, body: Option<&Value>) -> Result<Value, ApiError> {
        let io = |source| ApiError::Io { method, path: path.into(), socket: self.socket.clone(), source };
        let malformed = |reason| ApiError::Malformed { method, path: path.into(), reason };
        let body = body.map(Value::to_string).unwrap_or_default();
        let raw = self.exchange(method, path, &body).map_err(io)?;
        let (status, body) = parse(&raw).map_err(malformed)?;
        if !(200..300).contains(&status) {
            let said = crate::tool::one_line(&body);
            return Err(ApiError::Status { method, path: path.into(), status, said });
        }
        if body.trim_ascii().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).map_err(|e| malformed(format!("the answer is no JSON: {e}")))
    }

    fn exchange(&self, method: &str, path: &str, body: &str) -> io::Result<Vec<u8>> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let mut head = format!("{method} /v1{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        if !body.is_empty() {
            head += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        }
        stream.write_all(format!("{head}\r\n{body}").as_bytes())?;
        let mut answer = Vec::new();
        stream.take(LONGEST).read_to_end(&mut answer)?;
        Ok(answer)
    }
}

/// Status and body of an answer.
fn parse(raw: &[u8]) -> Result<(u16, Vec<u8>), String> {
    let end =
        raw.windows(4).position(|window| window == b"\r\n\r\n").ok_or("the answer has no end of headers")?;
    let head = std::str::from_utf8(&raw[..end]).map_err(|_| "the answer's headers are not text")?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok())
        .ok_or("the answer does not begin as HTTP/1.1 does")?;
    let chunked = lines.any(|line| {
        line.split_once(':').is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case("transfer-encoding") && value.trim().eq_ignore_ascii_case("chunked")
        })
    });
    let body = &raw[end + 4..];
    Ok((status, if chunked { unchunk(body)? } else { body.to_vec() }))
}

/// A body in chunks, RFC 9112, section 7.1, put together.
fn unchunk(mut rest: &[u8]) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n").ok_or("a chunk has no size")?;
        let size = std::str::from_utf8(&rest[..end]).map_err(|_| "a chunk's size is no text")?;
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| "a chunk's size is no number")?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Ok(body);
        }
        let chunk = rest.get(..size).ok_or("a chunk is cut off")?;
        body.extend_from_slice(chunk);
        rest = rest[size..].strip_prefix(b"\r\n").ok_or("a chunk does not end where it says")?;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    #[test]
    fn an_answer_is_read_whole_or_in_chunks() {
        let plain = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(parse(plain), Ok((200, b"{}".to_vec())));
        let chunks = b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
        assert_eq!(parse(chunks), Ok((404, b"abcde".to_vec())));
    }

    #[test]
    fn torn_answers_are_errors_and_never_panic() {
        let whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        for length in 0..whole.len() - 4 {
            assert!(parse(&whole[..length]).is_err(), "{length}");
        }
        for bad in ["\r\n\r\n", "HTTP/1.1 2\r\n\r\n", "HTTP/1.1 é00\r\n\r\n", "HTTP/2 200\r\n\r\n"] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(unchunk(b"ffffffffffffffff\r\nab").is_err());
        assert!(unchunk(b"-1\r\nab").is_err());
    }

    #[test]
    fn a_refusal_comes_back_with_its_status_and_words() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n{\"message\": \"no such field\"}").unwrap();
            String::from_utf8(request[..length].to_vec()).unwrap()
        });
        let error = Api::new(&socket).request("PUT", "/policy", Some(&serde_json::json!([]))).unwrap_err();
        assert_eq!(error.to_string(), "PUT /policy: 400: {\"message\": \"no such field\"}");
        let request = server.join().unwrap();
        assert!(
            request.starts_with("PUT /v1/policy HTTP/1.1\r\n") && request.ends_with("\r\n\r\n[]"),
            "{request}"
        );
    }

    #[test]
    fn a_socket_that_is_not_there_is_named() {
        let error = Api::new(Path::new("/no/such/socket")).read("/healthz").unwrap_err();
        assert!(error.to_string().starts_with("GET /healthz at /no/such/socket: "), "{error}");
    }
}
