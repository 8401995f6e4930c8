// SPDX-License-Identifier: Apache-2.0
//! `policy wait`.

use std::thread;
use std::time::{Duration, Instant};

use api::{Endpoint, EndpointState};
use clap::Args;

use crate::CliError;
use crate::session::{Session, note};

/// How long nothing is said at most.
const SILENCE: Duration = Duration::from_secs(5);
/// Not more often than this, whatever the user says: the agent has more to do.
const MIN_PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The revision that import or delete printed
    revision: u64,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 360)]
    max_wait_time: u64,
    /// Give up after so many seconds in which an endpoint was not ready
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    fail_wait_time: u64,
    /// Look again after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 1)]
    sleep_time: u64,
}

/// How far endpoints are.
#[derive(Debug, PartialEq, Eq)]
struct Progress {
    there: usize,
    all: usize,
    not_ready: usize,
}

impl Progress {
    fn of(endpoints: &[Endpoint], revision: u64) -> Self {
        // One that is being removed will never get there.
        let counted = |endpoint: &&Endpoint| {
            !matches!(endpoint.status.state, EndpointState::Disconnecting | EndpointState::Disconnected)
        };
        let mut progress = Self { there: 0, all: 0, not_ready: 0 };
        for endpoint in endpoints.iter().filter(counted) {
            progress.all += 1;
            if endpoint.status.policy.realized.policy_revision >= revision {
                progress.there += 1;
            } else if endpoint.status.state == EndpointState::NotReady {
                progress.not_ready += 1;
            }
        }
        progress
    }

    fn describe(&self, revision: u64) -> String {
        let Self { there, all, not_ready } = self;
        format!("{there} of {all} endpoints have revision {revision}, {not_ready} are not ready")
    }
}

pub(super) fn run(arguments: &Arguments, session: &mut Session<'_>) -> Result<(), CliError> {
    let client = session.client()?;
    let began = Instant::now();
    let pause = Duration::from_secs(arguments.sleep_time).max(MIN_PAUSE);
    let (mut failing_since, mut told): (Option<Instant>, Option<(Instant, Progress)>) = (None, None);
    loop {
        let progress = Progress::of(&client.endpoints(&[])?, arguments.revision);
        if progress.there == progress.all {
            return session.line(format!("All endpoints have reached revision {}", arguments.revision));
        }
        failing_since = (progress.not_ready > 0).then(|| failing_since.unwrap_or_else(Instant::now));
        let failed = failing_since
            .is_some_and(|since| since.elapsed() >= Duration::from_secs(arguments.fail_wait_time));
        let late = began.elapsed() >= Duration::from_secs(arguments.max_wait_time);
        let text = progress.describe(arguments.revision);
        if failed || late {
            return Err(CliError::Failed(format!(
                "gave up after {} s: {text}; see `{} endpoint list`",
                began.elapsed().as_secs(),
                session.program()
            )));
        }
        if told.as_ref().is_none_or(|(when, last)| *last != progress || when.elapsed() >= SILENCE) {
            note(&format!("waiting: {text}"));
            told = Some((Instant::now(), progress));
        }
        thread::sleep(pause);
    }
}
