// SPDX-License-Identifier: Apache-2.0
//! The log: lines with fields on standard error, and a count of those that are worse than information.

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Origin, Settings};
use crate::metrics::Counters;

/// Starts the log of this process.
///
/// # Errors
/// If it was started before.
pub fn start(debug: bool, counters: Counters) -> Result<(), String> {
    let level = if debug { LevelFilter::DEBUG } else { LevelFilter::INFO };
    tracing_subscriber::registry()
        .with(level)
        .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr))
        .with(Count(counters))
        .try_init()
        .map_err(|e| e.to_string())
}

/// Every option as it holds, as 1.4 logs them. None of them is a secret.
pub fn settings(settings: &Settings, unknown_variables: &[String]) {
    for (name, value, origin) in settings.all() {
        match origin {
            Origin::Default(_) => tracing::info!("--{name}='{value}'"),
            origin => tracing::info!(from = %origin, "--{name}='{value}'"),
        }
    }
    for name in unknown_variables {
        tracing::warn!(name, "a variable begins with CILIUM_ and is no option; it is ignored");
    }
}

/// Counts.
struct Count(Counters);

impl<S: Subscriber> Layer<S> for Count {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warning",
            _ => return,
        };
        self.0.log(level, subsystem(event.metadata().target()));
    }
}

/// The module that writes: of `agent::files::watch` it is `files`, of another crate its name.
fn subsystem(target: &str) -> &str {
    let mut parts = target.split("::");
    match (parts.next(), parts.next()) {
        (Some("agent"), Some(module)) => module,
        (Some(name), _) => name,
        (None, _) => target,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_by_the_part_that_writes_them() {
        assert_eq!(subsystem("agent::files::watch"), "files");
        assert_eq!(subsystem("agent"), "agent");
        assert_eq!(subsystem("datapath::loader"), "datapath");
    }

    #[test]
    fn warnings_and_errors_are_counted() {
        let counters = Counters::new().unwrap();
        let subscriber = tracing_subscriber::registry().with(Count(counters.clone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!("one");
            tracing::error!("two");
            tracing::info!("not this");
        });
        let text =
            crate::metrics::text(&crate::metrics::gather(&counters, &crate::metrics::Snapshot::default()));
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("errors_warnings_total{level=\"error\",subsystem=\"logging\"} 1"), "{text}");
        assert!(text.contains("errors_warnings_total{level=\"warning\",subsystem=\"logging\"} 1"), "{text}");
    }
}
