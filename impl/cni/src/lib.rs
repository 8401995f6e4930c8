// SPDX-License-Identifier: Apache-2.0
//! The CNI plugin (specification 0.1.0 to 1.1.0, <https://www.cni.dev/docs/spec/>): ADD, DEL, CHECK, VERSION, GC and
//! STATUS.
//!
//! It keeps no state of its own: names, Ethernet addresses and the endpoint's id follow from the names of the container
//! and its interface, everything else is with the agent and the kernel. It waits for nothing but these two, so it needs no
//! executor; an ADD is a handful of system calls and four requests to the agent.

mod add;
mod attachment;
mod check;
mod conf;
mod detach;
mod error;
mod gc;
mod invocation;
mod labels;
mod link;
mod namespace;
mod result;
mod status;
mod undo;
mod version;

use std::io::{Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use api::Client;
use serde_json::Value;

use attachment::Attachment;
use conf::NetworkConfig;
use error::{Error, Failure};
use invocation::{Command, Container};
pub use invocation::{Environment, ProcessEnvironment};
use version::Version;

/// How long each request to the agent may take, as in 1.4.
const AGENT_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs the plugin as a program: the environment, standard input and standard output of this process.
pub fn run() -> ExitCode {
    call(&ProcessEnvironment, &mut std::io::stdin().lock(), &mut std::io::stdout().lock())
}

/// Runs one command. The result or the error is written to `output`; the code says which.
pub fn call(environment: &dyn Environment, input: &mut dyn Read, output: &mut dyn Write) -> ExitCode {
    let (answer, mut code) = match execute(environment, input) {
        Ok(answer) => (answer, ExitCode::SUCCESS),
        Err(failure) => (Some(failure.json()), ExitCode::FAILURE),
    };
    if let Some(answer) = answer
        && let Err(source) = writeln!(output, "{answer}").and_then(|()| output.flush())
    {
        // Nobody can be told on standard output any more.
        let error = Error::Io { what: "write standard output", source };
        eprintln!("{error}");
        code = ExitCode::FAILURE;
    }
    code
}

fn execute(environment: &dyn Environment, input: &mut dyn Read) -> Result<Option<Value>, Failure> {
    let fail = |version| move |error| Failure { version, error, left: Vec::new() };
    let early = fail(Version::LATEST);
    let command = Command::read(environment).map_err(early)?;
    let bytes = conf::read(input).map_err(early)?;
    if command == Command::Version {
        return versions(&bytes).map(Some).map_err(early);
    }
    let map = conf::decode(&bytes).map_err(early)?;
    let version = conf::version(&map).map_err(early)?;
    let config = NetworkConfig::parse(map).map_err(fail(version))?;
    answer(command, environment, &config).map_err(|(error, left)| Failure { version, error, left })
}

fn answer(
    command: Command,
    environment: &dyn Environment,
    config: &NetworkConfig,
) -> Result<Option<Value>, (Error, Vec<String>)> {
    let alone = |error| (error, Vec::new());
    let container = || Container::read(environment, command).map_err(alone);
    let since = |name, since| match config.version < since {
        true => Err(alone(Error::TooOld { command: name, since, found: config.version })),
        false => Ok(()),
    };
    match command {
        Command::Add => {
            let container = container()?;
            must_be_first(config).map_err(alone)?;
            let agent = agent(environment, config).map_err(alone)?;
            let added = add::add(&agent, config, &container)?;
            Ok(Some(added.json(config.version)))
        }
        Command::Del => {
            let container = container()?;
            let agent = agent(environment, config).map_err(alone)?;
            detach::del(&agent, &Attachment::new(container.id, container.interface)).map_err(alone)?;
            Ok(None)
        }
        Command::Check => {
            since("CHECK", Version::V0_4_0)?;
            let container = container()?;
            let agent = agent(environment, config).map_err(alone)?;
            check::check(&agent, config, &container).map_err(alone)?;
            Ok(None)
        }
        Command::Gc => {
            since("GC", Version::V1_1_0)?;
            let agent = agent(environment, config).map_err(alone)?;
            gc::gc(&agent, config).map_err(alone)?;
            Ok(None)
        }
        Command::Status => {
            since("STATUS", Version::V1_1_0)?;
            let agent = agent(environment, config).map_err(alone)?;
            status::status(&agent).map_err(alone)?;
            Ok(None)
        }
        // Answered before there is a configuration.
        Command::Version => Ok(None),
    }
}

/// VERSION: runtimes send at most `{"cniVersion": …}`; some send nothing. A version that is not spoken is answered by
/// the newest that is.
fn versions(bytes: &[u8]) -> Result<Value, Error> {
    let asked = match bytes.trim_ascii().is_empty() {
        true => Version::LATEST,
        false => match conf::version(&conf::decode(bytes)?) {
            Err(Error::Version { .. }) => Version::LATEST,
            asked => asked?,
        },
    };
    Ok(result::versions(asked))
}

/// With the result of an earlier plugin it would be asked to work on an interface that another one made.
fn must_be_first(config: &NetworkConfig) -> Result<(), Error> {
    match config.previous {
        Some(_) => Err(Error::Unsupported {
            field: "prevResult".into(),
            reason: "chaining is not supported yet: put this plugin first in the list".into(),
        }),
        None => Ok(()),
    }
}

fn agent(environment: &dyn Environment, config: &NetworkConfig) -> Result<Client, Error> {
    let named = environment.variable(api::paths::SOCKET_VARIABLE).filter(|value| !value.is_empty());
    let path = match (&config.socket, named) {
        (Some(path), _) => path.clone(),
        (None, Some(named)) => {
            let path = named.strip_prefix("unix://").unwrap_or(&named);
            if path.contains("://") {
                let reason = format!("{named:?} is neither a path nor unix://PATH");
                return Err(Error::Environment { name: api::paths::SOCKET_VARIABLE, reason });
            }
            path.into()
        }
        (None, None) => api::paths::SOCKET.into(),
    };
    Ok(Client::with_timeout(path, AGENT_TIMEOUT))
}
