// SPDX-License-Identifier: Apache-2.0
//! Cost against size: the ratio of a series of subjects against its number of rules or services. One panel per workload, each with
//! its own y axis, since one workload may pay a hundred times what another pays.

use std::collections::BTreeSet;

use super::ChartError;
use super::axis::{self, Axis};
use super::canvas::{Align, Canvas, Dash, GRID, INK, MUTED, PALETTE, Type, cut, svg};
use super::panels::WIDTH;
use crate::statistics::Estimate;

const LEFT: f64 = 64.0;
const TOP: f64 = 58.0;
const BOTTOM: f64 = 52.0;
const HEIGHT: f64 = 330.0;
/// The legend's first line, the height of each, and the characters of a name that are shown.
const LEGEND: f64 = 12.0;
const LINE: f64 = 17.0;
const NAME: usize = 36;
const DASHES: [Dash; 3] = [Dash::Solid, Dash::Dashed, Dash::Dotted];

/// One line: a series at a placement.
#[derive(Clone, Debug)]
pub struct ScaleLine {
    /// For the legend.
    pub name: String,
    /// Count and ratio, ascending by count.
    pub points: Vec<(u32, Estimate)>,
}

/// The lines of one workload.
#[derive(Clone, Debug)]
pub struct ScalePanel {
    /// Heading.
    pub title: String,
    /// Its lines.
    pub lines: Vec<ScaleLine>,
}

/// Draws the panels of series that count the same thing. `unit` says what the x axes count.
///
/// # Errors
/// When the backend refuses an element.
pub fn draw(title: &str, unit: &str, panels: &[ScalePanel]) -> Result<String, ChartError> {
    let names: Vec<&str> = unique(panels.iter().flat_map(|p| &p.lines).map(|l| l.name.as_str()));
    let places = places(&names);
    let down = places.last().map_or(0.0, |(_, y)| y - LEGEND);
    svg(title, WIDTH, HEIGHT + down, |canvas| {
        legend(canvas, &names, &places)?;
        let width = WIDTH / panels.len().max(1) as f64;
        for (index, panel) in panels.iter().enumerate() {
            let left = index as f64 * width;
            Frame::of(panel, (left + LEFT, left + width - 18.0), down).draw(canvas, panel, unit, &names)?;
        }
        Ok(())
    })
}

fn unique<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    names.for_each(|name| {
        if !seen.contains(&name) {
            seen.push(name);
        }
    });
    seen
}

fn look(names: &[&str], name: &str) -> (plotters::style::RGBColor, Dash) {
    let index = names.iter().position(|n| *n == name).unwrap_or(0);
    (PALETTE[index % PALETTE.len()], DASHES[index % DASHES.len()])
}

/// Where each name of the legend begins, in as many lines as they need.
fn places(names: &[&str]) -> Vec<(f64, f64)> {
    let (mut x, mut y) = (LEFT, LEGEND);
    let place = |name: &&str| {
        let width = 70.0 + name.chars().count().min(NAME) as f64 * 6.4;
        if x > LEFT && x + width > WIDTH {
            (x, y) = (LEFT, y + LINE);
        }
        x += width;
        (x - width, y)
    };
    names.iter().map(place).collect()
}

fn legend(canvas: &Canvas<'_>, names: &[&str], places: &[(f64, f64)]) -> Result<(), String> {
    for (name, &(x, y)) in names.iter().zip(places) {
        let (color, dash) = look(names, name);
        canvas.path(&[(x, y), (x + 30.0, y)], color, 2.0, dash)?;
        canvas.text(&cut(name, NAME), (x + 38.0, y), Type::new(12.0, INK, Align::Left))?;
    }
    Ok(())
}

/// The axes of a panel.
struct Frame {
    x: Axis,
    y: Axis,
    /// A logarithmic axis has no 0: it stands a decade below the smallest count.
    zero_at: Option<f64>,
    counts: BTreeSet<u32>,
    /// Where the panel begins, pixels from above.
    top: f64,
}

impl Frame {
    /// `down`: how much room the legend takes beyond its first line.
    fn of(panel: &ScalePanel, pixels: (f64, f64), down: f64) -> Self {
        let points = || panel.lines.iter().flat_map(|l| &l.points);
        let counts: BTreeSet<u32> = points().map(|(count, _)| *count).collect();
        let positive = || counts.iter().copied().filter(|c| *c > 0);
        let (least, most) = (positive().min().unwrap_or(1), positive().max().unwrap_or(1));
        let zero_at = counts.contains(&0).then_some(f64::from(least) / 10.0);
        let leftmost = zero_at.unwrap_or(f64::from(least));
        let ends = points().flat_map(|(_, e)| [e.interval.low, e.interval.high]);
        let (low, high) = axis::range(ends.chain([1.0]), 0.08).unwrap_or((0.9, 1.1));
        Self {
            x: Axis::log(leftmost / 1.6, f64::from(most) * 1.6, pixels),
            y: Axis::linear(low, high, (HEIGHT + down - BOTTOM, TOP + down)),
            zero_at,
            counts,
            top: TOP + down,
        }
    }

    fn at(&self, count: u32) -> f64 {
        self.x.at(match self.zero_at {
            Some(zero) if count == 0 => zero,
            _ => f64::from(count),
        })
    }

    fn draw(
        &self,
        canvas: &Canvas<'_>,
        panel: &ScalePanel,
        unit: &str,
        names: &[&str],
    ) -> Result<(), String> {
        self.grid(canvas)?;
        self.labels(canvas, panel, unit)?;
        for (index, line) in panel.lines.iter().enumerate() {
            let (color, dash) = look(names, &line.name);
            // Lines of one count stand side by side, so that no error bar hides another.
            let aside = (index as f64 - (panel.lines.len() as f64 - 1.0) / 2.0) * 7.0;
            let place = |(n, e): &(u32, Estimate)| (self.at(*n) + aside, self.y.at(e.median));
            let path: Vec<(f64, f64)> = line.points.iter().map(place).collect();
            canvas.path(&path, color, 1.6, dash)?;
            for (point, (_, e)) in path.iter().zip(&line.points) {
                canvas.pole(point.0, self.y.at(e.interval.low), self.y.at(e.interval.high), color)?;
                canvas.dot(*point, 2.6, color)?;
            }
        }
        Ok(())
    }

    fn grid(&self, canvas: &Canvas<'_>) -> Result<(), String> {
        let ((left, right), bottom) = (self.x.pixels, self.y.pixels.0);
        let ticks = self.y.ticks(6);
        for tick in &ticks {
            let at = self.y.at(*tick);
            canvas.line((left, at), (right, at), GRID, 1.0)?;
            let text = axis::label(*tick, &ticks);
            canvas.text(&text, (left - 7.0, at), Type::new(11.0, MUTED, Align::Right))?;
        }
        let mut last = f64::NEG_INFINITY;
        for count in &self.counts {
            let x = self.at(*count);
            canvas.line((x, self.top), (x, bottom), GRID, 1.0)?;
            // A count too near to its left neighbour gets no number.
            if x - last >= 30.0 {
                canvas.text(&count.to_string(), (x, bottom + 12.0), Type::new(11.0, MUTED, Align::Middle))?;
                last = x;
            }
        }
        canvas.line((left, self.top), (left, bottom), INK, 1.2)?;
        canvas.line((left, bottom), (right, bottom), INK, 1.2)?;
        canvas.path(&[(left, self.y.at(1.0)), (right, self.y.at(1.0))], INK, 1.2, Dash::Dashed)
    }

    fn labels(&self, canvas: &Canvas<'_>, panel: &ScalePanel, unit: &str) -> Result<(), String> {
        let ((left, right), (bottom, top)) = (self.x.pixels, self.y.pixels);
        let label = Type::new(11.5, INK, Align::Middle);
        canvas.text(&panel.title, (left, self.top - 16.0), Type::new(12.5, INK, Align::Left).bold())?;
        let scale = if self.zero_at.is_some() { "log; 0 at the left" } else { "log" };
        canvas.text(&format!("{} ({scale})", cut(unit, 22)), ((left + right) / 2.0, bottom + 32.0), label)?;
        canvas.text("ratio to routed, no unit", (left - 50.0, (top + bottom) / 2.0), label.upwards())
    }
}
