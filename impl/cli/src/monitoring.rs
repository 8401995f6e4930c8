// SPDX-License-Identifier: Apache-2.0
//! `monitor`.

use clap::Args;
use monitor::wire::Request;
use monitor::{DropNotice, Event, Events, Kind, PolicyVerdict, TraceNotice};

use crate::CliError;
use crate::session::{Session, note};

/// Bytes on each line of a dump.
const DUMP_WIDTH: usize = 16;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only these types: agent, debug, drop, policy-verdict, trace
    #[arg(short = 't', long = "type", value_name = "TYPE", value_delimiter = ',')]
    types: Vec<Kind>,
    /// Only what the programs of these endpoints saw
    #[arg(long, value_name = "ENDPOINT", value_delimiter = ',')]
    from: Vec<u16>,
    /// Only what is for these endpoints
    #[arg(long, value_name = "ENDPOINT", value_delimiter = ',')]
    to: Vec<u16>,
    /// Only what is from, for or about these endpoints
    #[arg(long, value_name = "ENDPOINT", value_delimiter = ',')]
    related_to: Vec<u16>,
    /// One JSON value a line
    #[arg(short, long)]
    json: bool,
    /// Print the bytes of packets
    #[arg(long)]
    hex: bool,
    /// Print all that is known of each packet
    #[arg(short, long, conflicts_with = "json")]
    verbose: bool,
}

/// Until the agent ends or the user has enough.
pub(crate) fn run(arguments: &Arguments, session: &mut Session<'_>) -> Result<(), CliError> {
    let request = Request {
        types: arguments.types.iter().copied().collect(),
        from: arguments.from.iter().copied().collect(),
        to: arguments.to.iter().copied().collect(),
        related: arguments.related_to.iter().copied().collect(),
        payload: arguments.hex,
    };
    let socket = session.monitor_socket()?;
    session.debug(|| format!("listen at {} for {request:?}", socket.display()));
    let events = Events::open(socket, &request)?;
    note("Listening for events. Press Ctrl-C to quit");
    for event in events {
        let event = event?;
        if arguments.json {
            session.line(serde_json::to_string(&event).map_err(std::io::Error::from)?)?;
        } else {
            show(&event, arguments, session)?;
        }
        session.finish()?;
    }
    Err(CliError::Failed("the agent ended".to_owned()))
}

fn show(event: &Event, arguments: &Arguments, session: &mut Session<'_>) -> Result<(), CliError> {
    session.line(event.to_string())?;
    if arguments.verbose {
        for line in details(event) {
            session.line(format!("    {line}"))?;
        }
    }
    if let Some(payload) = event.payload().filter(|_| arguments.hex) {
        for line in dump(payload) {
            session.line(line)?;
        }
    }
    Ok(())
}

/// What the line of an event leaves out.
fn details(event: &Event) -> Vec<String> {
    let (summary, bytes, rest) = match event {
        Event::Drop(DropNotice { summary, bytes, direction, ifindex, source, reason_code, .. }) => {
            let rest = format!("{direction}, seen by endpoint {source} on {ifindex}, reason {reason_code}");
            (summary, bytes, rest)
        }
        Event::Trace(TraceNotice { summary, bytes, direction, source, destination_id, .. }) => {
            let rest = format!("{direction}, seen by endpoint {source}, for endpoint {destination_id}");
            (summary, bytes, rest)
        }
        Event::PolicyVerdict(PolicyVerdict { summary, bytes, destination_id, .. }) => {
            (summary, bytes, format!("for endpoint {destination_id}"))
        }
        Event::Debug(_) | Event::Agent(_) | Event::Lost(_) => return Vec::new(),
    };
    let mut lines = vec![format!("{bytes} bytes, {rest}")];
    lines.extend(summary.l2.as_ref().map(|l2| format!("ethernet {} -> {}", l2.src, l2.dst)));
    lines
}

/// Offset, bytes and what of them is text.
fn dump(payload: &str) -> Vec<String> {
    let bytes: Vec<u8> = (0..payload.len() / 2)
        .filter_map(|at| u8::from_str_radix(payload.get(2 * at..2 * at + 2)?, 16).ok())
        .collect();
    let line = |(number, line): (usize, &[u8])| {
        let numbers: String = line.iter().map(|byte| format!("{byte:02x} ")).collect();
        let text: String = line
            .iter()
            .map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' })
            .collect();
        format!("{:08x}  {numbers:<48} |{text}|", number * DUMP_WIDTH)
    };
    bytes.chunks(DUMP_WIDTH).enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_shows_offsets_bytes_and_text() {
        let lines = dump(&format!("{}41", "ff20".repeat(8)));
        assert_eq!(
            lines,
            [
                "00000000  ff 20 ff 20 ff 20 ff 20 ff 20 ff 20 ff 20 ff 20  |. . . . . . . . |",
                "00000010  41                                               |A|",
            ]
        );
        assert_eq!(dump("zz4"), Vec::<String>::new());
    }
}
