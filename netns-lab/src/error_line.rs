// SPDX-License-Identifier: Apache-2.0
//! An error as one line for a person.

use std::error::Error;
use std::iter::successors;

/// The error with its causes, leaving out those that it has said itself: our errors name their cause, those of libraries
/// often do not.
pub fn error_line(error: &(dyn Error + 'static)) -> String {
    successors(Some(error), |&error| error.source()).map(ToString::to_string).fold(
        String::new(),
        |mut line, cause| {
            if line.is_empty() {
                line = cause;
            } else if !line.contains(&cause) {
                line = format!("{line}: {cause}");
            }
            line
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Told {
        text: &'static str,
        source: std::fmt::Error,
    }

    #[test]
    fn a_cause_is_told_once() {
        let cause = std::fmt::Error.to_string();
        let silent = Told { text: "write the table", source: std::fmt::Error };
        assert_eq!(error_line(&silent), format!("write the table: {cause}"));
        let text = "write: an error occurred when formatting an argument";
        assert_eq!(error_line(&Told { text, source: std::fmt::Error }), text);
    }
}
