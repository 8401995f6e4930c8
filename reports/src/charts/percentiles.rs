// SPDX-License-Identifier: Apache-2.0
//! Latency against percentile: one line per subject, both axes logarithmic (x in the share of transactions that are slower).

use super::ChartError;
use super::axis::{self, Axis};
use super::canvas::{Align, Canvas, Dash, GRID, INK, MUTED, PALETTE, Type, cut, svg};
use super::panels::WIDTH;

const LEGEND: f64 = 270.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 48.0;
const LINE: f64 = 17.0;
const DASHES: [Dash; 3] = [Dash::Solid, Dash::Dashed, Dash::Dotted];

/// Where a percentile stands on the x axis: the number of nines behind it.
const PERCENTILES: [(&str, f64, f64); 5] =
    [("50", 0.5, 0.3), ("90", 0.9, 1.0), ("99", 0.99, 2.0), ("99.9", 0.999, 3.0), ("99.99", 0.9999, 4.0)];
const MAX: f64 = 4.8;

/// One subject's histogram.
#[derive(Clone, Debug)]
pub struct Curve<'a> {
    /// The subject.
    pub name: String,
    /// Upper bound in nanoseconds and count, ascending.
    pub histogram: &'a [(u64, u64)],
}

/// Draws the curves. `unit` says what the y axis counts.
///
/// # Errors
/// When the backend refuses an element.
pub fn draw(title: &str, unit: &str, curves: &[Curve<'_>]) -> Result<String, ChartError> {
    let lines: Vec<(String, Vec<(f64, f64)>)> =
        curves.iter().map(|c| (c.name.clone(), points(c.histogram))).filter(|(_, p)| !p.is_empty()).collect();
    let height = (TOP + BOTTOM + 340.0).max(TOP + 20.0 + lines.len() as f64 * LINE);
    svg(title, WIDTH, height, |canvas| {
        let x = Axis::linear(0.15, MAX + 0.1, (LEFT, WIDTH - LEGEND));
        let ends = lines.iter().flat_map(|(_, points)| points.iter().map(|(_, us)| *us));
        let (low, high) = ends.fold((f64::INFINITY, 0.0), |(l, h), v| (f64::min(l, v), f64::max(h, v)));
        let (low, high) = if low.is_finite() { (low * 0.9, high * 1.15) } else { (1.0, 10.0) };
        let y = Axis::log(low, high, (height - BOTTOM, TOP));
        grid(canvas, &x, &y, unit)?;
        for (index, (name, points)) in lines.iter().enumerate() {
            let (color, dash) =
                (PALETTE[index % PALETTE.len()], DASHES[index / PALETTE.len() % DASHES.len()]);
            let pixels: Vec<(f64, f64)> = points.iter().map(|(n, us)| (x.at(*n), y.at(*us))).collect();
            canvas.path(&pixels, color, 1.6, dash)?;
            for pixel in &pixels {
                canvas.dot(*pixel, 2.0, color)?;
            }
            let (left, row) = (WIDTH - LEGEND + 24.0, TOP + 10.0 + index as f64 * LINE);
            canvas.path(&[(left, row), (left + 30.0, row)], color, 2.0, dash)?;
            canvas.text(&cut(name, 36), (left + 38.0, row), Type::new(11.5, INK, Align::Left))?;
        }
        Ok(())
    })
}

/// Number of nines and microseconds. A percentile that less than one transaction lies beyond is left to `max`.
fn points(histogram: &[(u64, u64)]) -> Vec<(f64, f64)> {
    let count: f64 = histogram.iter().map(|(_, n)| *n as f64).sum();
    let backed = PERCENTILES.iter().filter(|(_, q, _)| count * (1.0 - q) >= 0.999_999);
    let mut points: Vec<(f64, f64)> = backed
        .filter_map(|(_, q, nines)| {
            Some((*nines, crate::latency::percentile(histogram, *q)? as f64 / 1000.0))
        })
        .collect();
    points.extend(crate::latency::percentile(histogram, 1.0).map(|ns| (MAX, ns as f64 / 1000.0)));
    points.retain(|(_, us)| *us > 0.0);
    points
}

fn grid(canvas: &Canvas<'_>, x: &Axis, y: &Axis, unit: &str) -> Result<(), String> {
    let (bottom, right) = (y.pixels.0, x.pixels.1);
    let ticks = y.ticks(9);
    for tick in &ticks {
        let at = y.at(*tick);
        canvas.line((LEFT, at), (right, at), GRID, 1.0)?;
        canvas.text(&axis::label(*tick, &ticks), (LEFT - 8.0, at), Type::new(11.0, MUTED, Align::Right))?;
    }
    let columns = PERCENTILES.iter().map(|(name, _, nines)| (*name, *nines)).chain([("max", MAX)]);
    for (name, nines) in columns {
        canvas.line((x.at(nines), TOP), (x.at(nines), bottom), GRID, 1.0)?;
        canvas.text(name, (x.at(nines), bottom + 12.0), Type::new(11.0, MUTED, Align::Middle))?;
    }
    canvas.line((LEFT, bottom), (right, bottom), INK, 1.2)?;
    canvas.line((LEFT, TOP), (LEFT, bottom), INK, 1.2)?;
    let label = Type::new(11.5, INK, Align::Middle);
    canvas.text("percentile of all transactions, %", ((LEFT + right) / 2.0, bottom + 32.0), label)?;
    canvas.text(unit, (16.0, (TOP + bottom) / 2.0), label.upwards())
}
