// SPDX-License-Identifier: Apache-2.0
//! Medians, quantiles and bootstrap intervals of series of slices. Nothing here knows what a slice measures.
//!
//! Neighbouring slices are correlated (a busy machine is busy for longer than one slice), so the bootstrap draws
//! short blocks of neighbours and not single slices. The generator has a fixed seed: the same samples always give
//! the same interval, to the last digit.

/// Resamples of one interval.
pub const RESAMPLES: usize = 2000;

/// Below this many pairs no 95 % interval of a median exists: the range of all pairs covers the median with
/// probability 1 - 2 / 2^n, which passes 95 % at six.
pub const MIN_PAIRS: usize = 6;

const SEED: u64 = 0x5eed_0fc1_11a7_e000;

/// A closed range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// Half of its width.
    pub fn half_width(self) -> f64 {
        (self.high - self.low) / 2.0
    }

    /// The interval with both ends moved outwards by the fraction `by` of themselves.
    pub fn widened(self, by: f64) -> Self {
        Self { low: self.low * (1.0 - by), high: self.high * (1.0 + by) }
    }
}

/// A median with its 95 % bootstrap interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The median.
    pub median: f64,
    /// 95 % interval; with fewer than [`MIN_PAIRS`] values the range of all of them, which is less than that.
    pub interval: Interval,
    /// How many values it rests on.
    pub pairs: usize,
}

impl Estimate {
    /// How far the farther end of the interval is from the median: `±` this covers it, however skewed it is.
    pub fn reach(&self) -> f64 {
        (self.median - self.interval.low).max(self.interval.high - self.median)
    }
}

/// Median and the 10th and 90th percentile of one figure over the slices of a cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// 10th percentile.
    pub p10: f64,
    /// Median.
    pub median: f64,
    /// 90th percentile.
    pub p90: f64,
}

impl Spread {
    /// The spread of `values`; `None` when there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let sorted = ascending(values);
        Some(Self {
            p10: quantile(&sorted, 0.1)?,
            median: quantile(&sorted, 0.5)?,
            p90: quantile(&sorted, 0.9)?,
        })
    }
}

/// A sorted copy.
pub fn ascending(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

/// The quantile `q` (0 to 1) of an ascending series, interpolated between neighbours; `None` of an empty one.
pub fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let position = q.clamp(0.0, 1.0) * last as f64;
    let below = position.floor() as usize;
    let (low, high) = (*sorted.get(below)?, *sorted.get((below + 1).min(last))?);
    Some(low + (high - low) * (position - below as f64))
}

/// The median of `series`, which is in order of time, with its interval; `None` of an empty one.
pub fn estimate(series: &[f64]) -> Option<Estimate> {
    let sorted = ascending(series);
    let median = quantile(&sorted, 0.5)?;
    let range = Interval { low: *sorted.first()?, high: *sorted.last()? };
    let interval = if series.len() < MIN_PAIRS || range.low == range.high {
        range
    } else {
        let medians = ascending(&resampled_medians(series, &sorted));
        let (low, high) = (quantile(&medians, 0.025)?, quantile(&medians, 0.975)?);
        Interval { low: low.min(median), high: high.max(median) }
    };
    Some(Estimate { median, interval, pairs: series.len() })
}

/// Medians of circular block resamples. Works on ranks, which are cheaper to select from than floats.
fn resampled_medians(series: &[f64], sorted: &[f64]) -> Vec<f64> {
    let n = series.len();
    let ranks: Vec<u32> = series.iter().map(|v| sorted.partition_point(|s| s < v) as u32).collect();
    let block = ((n as f64).cbrt().round() as usize).max(1);
    let mut random = SplitMix64(SEED);
    let mut sample = vec![0_u32; n];
    (0..RESAMPLES)
        .map(|_| {
            for chunk in sample.chunks_mut(block) {
                let start = random.below(n);
                for (offset, place) in chunk.iter_mut().enumerate() {
                    *place = ranks[(start + offset) % n];
                }
            }
            let (left, upper, _) = sample.select_nth_unstable(n / 2);
            let upper_value = sorted[*upper as usize];
            if n % 2 == 1 {
                return upper_value;
            }
            let lower = left.iter().max().copied().unwrap_or(*upper);
            (sorted[lower as usize] + upper_value) / 2.0
        })
        .collect()
}

/// Sebastiano Vigna's SplitMix64 (public domain): fixed for ever, where a library's generator may change between versions
/// and every committed report with it.
#[derive(Clone, Debug)]
pub struct SplitMix64(pub u64);

impl SplitMix64 {
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `n` - 1; `n` must not be 0. Its bias, below 2^-32 for the series here, does not matter.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }
}
