// SPDX-License-Identifier: Apache-2.0
//! Horizontal bars with error bars: subjects are rows, panels stand side by side and share them. Right of its bars each panel
//! has a column with the numbers, so that nothing is written over data.

use plotters::prelude::RGBColor;

use super::ChartError;
use super::axis::{self, Axis};
use super::canvas::{Align, Canvas, Dash, GRID, INK, MUTED, PALETTE, Type, cut, svg};
use crate::statistics::ascending;

/// Width of every chart, CSS pixels: what a page of 1200 leaves.
pub const WIDTH: f64 = 1128.0;

const BAR: f64 = 11.0;
const TOP: f64 = 46.0;
const BOTTOM: f64 = 46.0;
const CHARACTER: f64 = 6.4;
const NOTE_CHARACTER: f64 = 5.6;
/// Characters of a row's name that are shown, and of the remark under it.
const LABEL: usize = 36;
const NOTE: usize = 44;
/// Height of a row with a remark under its name.
const TWO_LINES: f64 = 32.0;
const MOST_TICKS: usize = 10;
/// A bar this many times longer than the next shorter one is cut, so that the others can be told apart.
const OUTLIER: f64 = 2.5;

/// Ratios beyond this are drawn on a logarithmic scale.
const LOG_FROM: f64 = 2.5;

/// A bar with its error bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Length.
    pub value: f64,
    /// Ends of the error bar; `None` where no spread is known.
    pub interval: Option<(f64, f64)>,
    /// The number in the column beside it.
    pub text: String,
}

/// What a panel has for one row and series.
#[derive(Clone, Debug)]
pub enum Mark {
    /// A bar.
    Bar(Bar),
    /// A remark instead of a bar, for example `not run: …`.
    Note(String),
    /// Nothing.
    Empty,
}

/// A subject.
#[derive(Clone, Debug)]
pub struct RowLabel {
    /// The name.
    pub name: String,
    /// A remark under the name, for example `not measured: …`.
    pub note: Option<String>,
    /// It is an emulation: bars are hatched (of several series all but the first, which is not ours).
    pub hatched: bool,
}

/// Bars that share an axis.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Heading.
    pub title: String,
    /// What the axis counts, unit included.
    pub axis: String,
    /// Heading of the column of numbers.
    pub numbers: String,
    /// `marks[row][series]`.
    pub marks: Vec<Vec<Mark>>,
}

/// A chart of panels.
#[derive(Clone, Debug)]
pub struct PanelChart {
    /// Accessible name.
    pub title: String,
    /// Rows.
    pub rows: Vec<RowLabel>,
    /// Panels, left to right.
    pub panels: Vec<Panel>,
    /// Where bars begin: 1 for ratios (shorter to the left is faster), 0 for quantities.
    pub origin: f64,
    /// Where a dashed line stands beside the origin.
    pub reference: Option<f64>,
    /// Names and colours of the series; a legend is drawn when there are several.
    pub series: Vec<(String, RGBColor)>,
    /// Width of the column of numbers, CSS pixels.
    pub numbers: f64,
}

/// Colour of a bar that is shorter than the origin.
pub const FASTER: RGBColor = PALETTE[0];
/// Colour of a bar that is longer than the origin.
pub const SLOWER: RGBColor = PALETTE[1];

impl PanelChart {
    /// Draws it.
    ///
    /// # Errors
    /// When the backend refuses an element.
    pub fn draw(&self) -> Result<String, ChartError> {
        let height = self.row_top(self.rows.len()) + BOTTOM;
        svg(&self.title, WIDTH, height, |canvas| {
            self.legend(canvas)?;
            self.labels(canvas)?;
            for (index, panel) in self.panels.iter().enumerate() {
                self.panel(canvas, index, panel)?;
            }
            Ok(())
        })
    }

    fn several(&self) -> bool {
        self.series.len() > 1
    }

    fn top(&self) -> f64 {
        if self.several() { TOP + 22.0 } else { TOP }
    }

    /// The series that any panel shows in this row: only these take room.
    fn slots(&self, row: usize) -> Vec<usize> {
        let shows = |panel: &Panel, series: usize| {
            let mark = panel.marks.get(row).and_then(|marks| marks.get(series));
            !matches!(mark, None | Some(Mark::Empty))
        };
        (0..self.series.len().max(1)).filter(|series| self.panels.iter().any(|p| shows(p, *series))).collect()
    }

    fn row_height(&self, row: usize) -> f64 {
        let bars =
            self.slots(row).len().max(1) as f64 * (BAR + 2.0) + if self.several() { 10.0 } else { 7.0 };
        let noted = self.rows.get(row).is_some_and(|label| label.note.is_some());
        bars.max(if noted { TWO_LINES } else { 0.0 })
    }

    fn row_top(&self, row: usize) -> f64 {
        self.top() + (0..row).map(|above| self.row_height(above)).sum::<f64>()
    }

    fn label_width(&self) -> f64 {
        let width = |row: &RowLabel| {
            let name = row.name.chars().count().min(LABEL) as f64 * CHARACTER;
            let note = row.note.as_ref().map_or(0, |n| n.chars().count().min(NOTE)) as f64 * NOTE_CHARACTER;
            name.max(note) + 16.0
        };
        self.rows.iter().map(width).fold(0.0, f64::max)
    }

    fn legend(&self, canvas: &Canvas<'_>) -> Result<(), String> {
        if !self.several() {
            return Ok(());
        }
        let mut x = self.label_width();
        for (name, color) in &self.series {
            canvas.rectangle((x, 6.0), (x + 12.0, 17.0), *color)?;
            canvas.text(name, (x + 18.0, 11.5), Type::new(12.0, INK, Align::Left))?;
            x += 44.0 + name.chars().count() as f64 * CHARACTER;
        }
        Ok(())
    }

    fn labels(&self, canvas: &Canvas<'_>) -> Result<(), String> {
        for (index, row) in self.rows.iter().enumerate() {
            let y = self.row_top(index) + self.row_height(index) / 2.0;
            let (look, x) = (Type::new(12.0, INK, Align::Right), self.label_width() - 8.0);
            match &row.note {
                None => canvas.text(&cut(&row.name, LABEL), (x, y), look)?,
                Some(note) => {
                    canvas.text(&cut(&row.name, LABEL), (x, y - 7.0), look)?;
                    canvas.text(&cut(note, NOTE), (x, y + 7.0), Type::new(10.5, MUTED, Align::Right))?;
                }
            }
        }
        Ok(())
    }

    fn panel(&self, canvas: &Canvas<'_>, index: usize, panel: &Panel) -> Result<(), String> {
        let width = (WIDTH - self.label_width()) / self.panels.len().max(1) as f64;
        let left = self.label_width() + index as f64 * width;
        let right = left + width - self.numbers - 8.0;
        let axis = self.axis(panel, (left + 2.0, right));
        let bottom = self.row_top(self.rows.len());
        let middle = (left + right) / 2.0;
        canvas.text(&panel.title, (left, self.top() - 30.0), Type::new(12.5, INK, Align::Left).bold())?;
        let room = (right - left + self.numbers) / NOTE_CHARACTER;
        let ticks = axis.ticks((((right - left) / 46.0) as usize).min(MOST_TICKS));
        for tick in &ticks {
            let x = axis.at(*tick);
            canvas.line((x, self.top() - 8.0), (x, bottom), GRID, 1.0)?;
            canvas.text(
                &axis::label(*tick, &ticks),
                (x, bottom + 10.0),
                Type::new(11.0, MUTED, Align::Middle),
            )?;
        }
        let broken = bars(panel).any(|bar| bar.value > axis.high);
        let scale = match (axis.log, broken) {
            (true, _) => format!("{}, logarithmic", panel.axis),
            (false, true) => format!("{}; a cut bar goes on beyond the axis", panel.axis),
            (false, false) => panel.axis.clone(),
        };
        canvas.text(&scale, (middle, bottom + 28.0), Type::new(11.5, INK, Align::Middle))?;
        let heading = (right + self.numbers, self.top() - 12.0);
        canvas.text(&panel.numbers, heading, Type::new(10.5, MUTED, Align::Right))?;
        // Before the bars and remarks, which must stay readable where it crosses them.
        let origin = axis.at(self.origin);
        canvas.line((origin, self.top() - 8.0), (origin, bottom), INK, 1.4)?;
        for (row, marks) in panel.marks.iter().enumerate() {
            for (series, mark) in marks.iter().enumerate() {
                self.mark(canvas, (row, series), mark, &axis, (left, right, room))?;
            }
        }
        match self.reference.map(|value| axis.at(value)) {
            Some(x) => canvas.path(&[(x, self.top() - 8.0), (x, bottom)], INK, 1.2, Dash::Dashed),
            None => Ok(()),
        }
    }

    fn mark(
        &self,
        canvas: &Canvas<'_>,
        (row, series): (usize, usize),
        mark: &Mark,
        axis: &Axis,
        (left, right, room): (f64, f64, f64),
    ) -> Result<(), String> {
        let slots = self.slots(row);
        let pad = (self.row_height(row) - slots.len().max(1) as f64 * (BAR + 2.0)) / 2.0;
        let slot = slots.iter().position(|s| *s == series).unwrap_or(0);
        let top = self.row_top(row) + pad + slot as f64 * (BAR + 2.0) + 1.0;
        let middle = top + BAR / 2.0;
        match mark {
            Mark::Empty => Ok(()),
            Mark::Note(note) => {
                let text = cut(note, room as usize);
                // No line of the grid runs through the remark.
                let margin = if self.several() { 0.0 } else { 4.5 };
                let end = (left + 14.0 + text.chars().count() as f64 * NOTE_CHARACTER).min(right);
                let corners = ((left + 2.0, top - margin), (end, top + BAR + margin));
                canvas.rectangle(corners.0, corners.1, plotters::style::WHITE)?;
                canvas.text(&text, (left + 8.0, middle), Type::new(10.5, MUTED, Align::Left))
            }
            Mark::Bar(bar) => {
                let (from, to) = ((axis.at(self.origin), top), (axis.at(bar.value), top + BAR));
                canvas.rectangle(from, to, self.color(series, bar.value))?;
                let ours = series > 0 || !self.several();
                if ours && self.rows.get(row).is_some_and(|r| r.hatched) {
                    canvas.hatch(from, to)?;
                }
                if bar.value > axis.high {
                    canvas.gap(right - 16.0, (top, top + BAR))?;
                } else if let Some((low, high)) = bar.interval {
                    canvas.whisker(axis.at(low), axis.at(high), middle)?;
                }
                let look = Type::new(11.0, INK, Align::Right);
                canvas.text(&bar.text, (right + self.numbers, middle), look)
            }
        }
    }

    fn color(&self, series: usize, value: f64) -> RGBColor {
        match self.series.get(series) {
            Some((_, color)) => *color,
            None if self.origin > 0.0 && value > self.origin => SLOWER,
            None => FASTER,
        }
    }

    fn axis(&self, panel: &Panel, pixels: (f64, f64)) -> Axis {
        let ends = panel.marks.iter().flatten().flat_map(|mark| match mark {
            Mark::Bar(b) => {
                vec![b.value, b.interval.map_or(b.value, |i| i.0), b.interval.map_or(b.value, |i| i.1)]
            }
            Mark::Note(_) | Mark::Empty => Vec::new(),
        });
        let (low, high) =
            axis::range(ends.chain([self.origin]).chain(self.reference), 0.04).unwrap_or((0.0, 1.0));
        let (low, high) =
            if self.origin > 0.0 { (low.min(0.97), high.max(1.03)) } else { (0.0, high.max(1e-9)) };
        // One subject at six times the rest would squeeze them into a few pixels: ratios are at home on a logarithmic scale.
        if self.origin > 0.0 && high > LOG_FROM * self.origin {
            return Axis::log(low.max(self.origin / high), high, pixels);
        }
        if self.origin <= 0.0 && self.reference.is_none() {
            return Axis::linear(low, end_before_outliers(panel).unwrap_or(high), pixels);
        }
        Axis::linear(low, high, pixels)
    }
}

fn bars(panel: &Panel) -> impl Iterator<Item = &Bar> {
    panel.marks.iter().flatten().filter_map(|mark| match mark {
        Mark::Bar(bar) => Some(bar),
        Mark::Note(_) | Mark::Empty => None,
    })
}

/// Where an axis from 0 ends when a minority of bars is far longer than all others; `None` when none is.
fn end_before_outliers(panel: &Panel) -> Option<f64> {
    let values = ascending(&bars(panel).map(|bar| bar.value).collect::<Vec<_>>());
    let (_, longer) = values.split_at_checked(values.len() / 2)?;
    let step = longer.windows(2).find(|pair| pair[1] > OUTLIER * pair[0])?;
    let usual = bars(panel).filter(|bar| bar.value <= step[0]);
    let end = usual.map(|bar| bar.interval.map_or(bar.value, |i| i.1.max(bar.value))).fold(0.0, f64::max);
    // The cut must not fall within an error bar of those that are shown whole.
    (end * 1.2 < step[1]).then_some(end * 1.2)
}
