// SPDX-License-Identifier: Apache-2.0
//! A question over HTTP, and whether the answer is what is expected.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::file::Http;

/// How long the connection may take, and each part of the answer.
const WITHIN: Duration = Duration::from_secs(5);
/// Longest answer that is read, bytes.
const LONGEST: u64 = 64 << 10;

/// Asks from the calling thread's namespace.
pub(super) fn ask(http: &Http, to: SocketAddr) -> Result<(), String> {
    let answer = exchange(to).map_err(|e| e.to_string())?;
    check(http, &answer)
}

fn exchange(to: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&to, WITHIN)?;
    stream.set_read_timeout(Some(WITHIN))?;
    stream.set_write_timeout(Some(WITHIN))?;
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.take(LONGEST).read_to_string(&mut answer)?;
    Ok(answer)
}

fn check(http: &Http, answer: &str) -> Result<(), String> {
    let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse::<u16>().ok());
    let status = status.ok_or_else(|| format!("the answer is no HTTP: {answer:?}"))?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or("the answer has no end of headers")?;
    if status != http.status {
        return Err(format!("expected status {}, was {status}: {body}", http.status));
    }
    if body.contains(&http.body) { Ok(()) } else { Err(format!("expected {:?} in {body:?}", http.body)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;
    use crate::scenario::file::Step;

    fn parse(http: &str) -> Result<Http, String> {
        let text = format!(
            "name: x\ncovers: [services/health]\ntopology: {{subject: ciliate-veth, pods: {{a: {{}}}}}}\n\
             listen: {{tcp: [7001]}}\nsteps:\n  - http: {http}\n"
        );
        let scenario = Scenario::parse("x.yaml", &text).map_err(|e| e.to_string())?;
        match scenario.steps.into_iter().next() {
            Some(Step::Http(http)) => Ok(http),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn status_and_body_must_be_as_expected() {
        let http = parse("{from: a, to: host, port: 80, status: 200, body: yes}").unwrap();
        let answer = |status, body| check(&http, &format!("HTTP/1.1 {status} X\r\na: b\r\n\r\n{body}"));
        assert_eq!(answer(200, "oh yes"), Ok(()));
        assert_eq!(answer(503, "oh yes").unwrap_err(), "expected status 200, was 503: oh yes");
        assert_eq!(answer(200, "no").unwrap_err(), "expected \"yes\" in \"no\"");
        assert!(check(&http, "SSH-2.0").is_err() && check(&http, "HTTP/1.1 200 X\r\n").is_err());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (http, part) in [
            ("{from: a, to: host, port: 0, status: 200}", "between 1 and 65535"),
            ("{from: a, to: host, port: 80, status: 20}", "between 100 and 599"),
            ("{from: a, to: 10.0.0.1, family: ipv4, port: 80, status: 200}", "not to be said"),
            ("{from: a, to: host, port: 80, status: 200, path: x}", "path"),
            ("{from: b, to: host, port: 80, status: 200}", "b"),
        ] {
            let error = parse(http).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
