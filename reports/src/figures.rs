// SPDX-License-Identifier: Apache-2.0
//! How numbers are written: the same in Markdown, HTML, on charts and on the terminal.

use crate::statistics::{Estimate, Spread};

/// What stands where there is no number.
pub const NONE: &str = "–";

/// Nanoseconds as microseconds with about three significant digits.
pub fn us(ns: f64) -> String {
    number(ns / 1000.0)
}

/// A number with about three significant digits; thousands are separated by commas.
pub fn number(value: f64) -> String {
    match value.abs() {
        v if !v.is_finite() => NONE.to_owned(),
        v if v >= 99.95 => thousands(value.round()),
        v if v >= 9.995 => format!("{value:.1}"),
        v if v >= 0.995 => format!("{value:.2}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.3}"),
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::from(if value < 0.0 { "-" } else { "" });
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `0.871 [0.868, 0.874]`.
pub fn estimate(estimate: &Estimate) -> String {
    let interval = estimate.interval;
    format!("{:.3} [{:.3}, {:.3}]", estimate.median, interval.low, interval.high)
}

/// `30.7 (30.5–31.2)`, after `scale`.
pub fn spread(spread: &Spread, scale: f64) -> String {
    let [median, p10, p90] = [spread.median, spread.p10, spread.p90].map(|v| number(v * scale));
    format!("{median} ({p10}–{p90})")
}

/// A fraction of 1 as a percentage.
pub fn percent(fraction: f64) -> String {
    // A no-break space: the sign never begins a line.
    format!("{:.2}\u{a0}%", fraction * 100.0)
}

/// Six significant digits, for machine-readable output: more would be noise.
pub fn six_digits(value: f64) -> Option<f64> {
    value.is_finite().then(|| format!("{value:.5e}").parse().unwrap_or(value))
}

/// Seconds since 1970 as `2026-03-01 12:00 UTC` (days to civil date after Howard Hinnant, public domain).
pub fn utc(unix_s: u64) -> String {
    let (days, rest) = (unix_s / 86_400, unix_s % 86_400);
    let shifted = u128::from(days) + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
    let year = year_of_era + era * 400 + u128::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", rest / 3600, rest % 3600 / 60)
}

/// No control character of a file reaches the terminal.
pub fn one_line(raw: &str) -> String {
    raw.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
