// SPDX-License-Identifier: Apache-2.0
//! Shows on stderr how far a run is: a line that is redrawn on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a line is written where nothing can be redrawn.
const PLAIN_INTERVAL: Duration = Duration::from_secs(15);

/// The state of one run, on stderr.
pub struct Display {
    bar: Option<ProgressBar>,
    title: String,
    last_plain: Option<Instant>,
}

impl Display {
    /// Begins to show a run that is called `title`.
    pub fn new(title: &str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(1000);
            let style = "{prefix:.bold} {bar:24} {percent:>3}% {wide_msg}";
            bar.set_style(
                ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar.set_prefix(title.to_owned());
            bar
        });
        Self { bar, title: title.into(), last_plain: None }
    }

    /// Shows that `fraction` (0 to 1) is done, with what is going on now and the time that is left.
    pub fn update(&mut self, fraction: f64, now: &str, left: Option<Duration>) {
        let left = left.map_or_else(String::new, |left| format!(", {} left", clock(left)));
        if let Some(bar) = &self.bar {
            bar.set_position((fraction * 1000.0) as u64);
            bar.set_message(format!("{now}{left}"));
        } else if self.last_plain.is_none_or(|last| last.elapsed() >= PLAIN_INTERVAL) {
            self.last_plain = Some(Instant::now());
            eprintln!("{}: {:.0}%, {now}{left}", self.title, fraction * 100.0);
        }
    }

    /// Writes a line that stays.
    pub fn note(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{}: {line}", self.title)),
            None => eprintln!("{}: {line}", self.title),
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// `75 s` as `1:15`.
fn clock(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_minutes_and_seconds() {
        assert_eq!(clock(Duration::from_secs(75)), "1:15");
        assert_eq!(clock(Duration::from_millis(900)), "0:00");
    }
}
