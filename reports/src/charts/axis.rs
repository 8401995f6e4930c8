// SPDX-License-Identifier: Apache-2.0
//! Scales and their ticks: round values, as many as have room.

/// A linear or logarithmic scale onto a range of pixels.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    /// Value at the first pixel.
    pub low: f64,
    /// Value at the last pixel.
    pub high: f64,
    /// First and last pixel; the last may be the smaller (y axes grow upwards).
    pub pixels: (f64, f64),
    /// Logarithmic.
    pub log: bool,
}

impl Axis {
    /// A linear scale.
    pub fn linear(low: f64, high: f64, pixels: (f64, f64)) -> Self {
        Self { low, high, pixels, log: false }
    }

    /// A logarithmic scale; both ends must be above 0.
    pub fn log(low: f64, high: f64, pixels: (f64, f64)) -> Self {
        Self { low, high, pixels, log: true }
    }

    /// Where `value` is; values outside are drawn at the edge.
    pub fn at(&self, value: f64) -> f64 {
        let (low, high, value) =
            if self.log { (self.low.ln(), self.high.ln(), value.ln()) } else { (self.low, self.high, value) };
        let share = if high > low { ((value - low) / (high - low)).clamp(0.0, 1.0) } else { 0.5 };
        let share = if share.is_finite() { share } else { 0.0 };
        self.pixels.0 + share * (self.pixels.1 - self.pixels.0)
    }

    /// Round values on this scale, about `wanted` of them.
    pub fn ticks(&self, wanted: usize) -> Vec<f64> {
        let ticks = if self.log { self.log_ticks(wanted) } else { Vec::new() };
        // Less than about an octave holds too few round logarithmic values.
        if ticks.len() < 3 { self.linear_ticks(if self.log { wanted.min(6) } else { wanted }) } else { ticks }
    }

    fn linear_ticks(&self, wanted: usize) -> Vec<f64> {
        let step = round_step((self.high - self.low) / wanted.max(1) as f64);
        if !(step.is_finite() && step > 0.0) {
            return vec![self.low];
        }
        let first = (self.low / step - 1e-9).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        (first..=last.min(first.saturating_add(100))).map(|n| n as f64 * step).collect()
    }

    fn log_ticks(&self, wanted: usize) -> Vec<f64> {
        let with = |mantissas: &[f64]| -> Vec<f64> {
            let decades = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
            let inside = |v: &f64| *v >= self.low * 0.999_999 && *v <= self.high * 1.000_001;
            decades.flat_map(|d| mantissas.iter().map(move |m| m * 10_f64.powi(d))).filter(inside).collect()
        };
        let finest = with(&[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0]);
        let candidates = [
            finest,
            with(&[1.0, 1.5, 2.0, 3.0, 5.0]),
            with(&[1.0, 2.0, 5.0]),
            with(&[1.0, 3.0]),
            with(&[1.0]),
        ];
        let coarsest = candidates[4].clone();
        candidates.into_iter().find(|ticks| ticks.len() <= wanted).unwrap_or(coarsest)
    }
}

/// 1, 2, 2.5 or 5 times a power of ten, not below `raw`.
fn round_step(raw: f64) -> f64 {
    let power = 10_f64.powf(raw.log10().floor());
    let mantissa = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|m| m * power >= raw * 0.999_999);
    mantissa.unwrap_or(10.0) * power
}

/// A tick's label: no more digits than the step between ticks needs.
pub fn label(value: f64, ticks: &[f64]) -> String {
    let step = ticks.windows(2).map(|w| w[1] - w[0]).fold(f64::INFINITY, f64::min);
    if value.abs() >= 1000.0 || value == 0.0 {
        return crate::figures::number(value);
    }
    let needed = |digits: usize| {
        let power = 10_f64.powi(digits as i32);
        (step * power - (step * power).round()).abs() < 1e-6
            && (value * power - (value * power).round()).abs() < 1e-6
    };
    let digits = (0..6).find(|d| !step.is_finite() || needed(*d)).unwrap_or(6);
    format!("{value:.digits$}")
}

/// The range of `values` with a margin of `share` of it at both ends; `None` without finite values.
pub fn range(values: impl Iterator<Item = f64>, share: f64) -> Option<(f64, f64)> {
    let (low, high) = values
        .filter(|v| v.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    let margin = ((high - low) * share).max(high.abs() * 0.01);
    (low <= high).then_some((low - margin, high + margin))
}
