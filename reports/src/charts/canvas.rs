// SPDX-License-Identifier: Apache-2.0
//! A drawing surface in CSS pixels over plotters' SVG backend.
//!
//! The backend knows no fonts, so nothing here is laid out by the width of a text: callers reserve columns, and texts that come
//! from files are cut to a number of characters. The backend rounds to integers; drawing at four times the size and
//! scaling the element down keeps narrow intervals visible.

use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::{
    Circle, DrawingArea, EmptyElement, IntoDrawingArea, PathElement, RGBColor, Rectangle, SVGBackend,
    ShapeStyle, Text,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, FontTransform, IntoFont};

use super::ChartError;

const SCALE: f64 = 4.0;
const FONT: &str = "Helvetica, Arial, sans-serif";

/// Text and lines.
pub const INK: RGBColor = RGBColor(34, 34, 34);
/// Secondary text.
pub const MUTED: RGBColor = RGBColor(95, 95, 95);
/// Grid lines.
pub const GRID: RGBColor = RGBColor(222, 222, 222);
/// Okabe and Ito's palette, told apart with any colour vision; without its yellow, which paper swallows.
pub const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(150, 110, 0),
    RGBColor(60, 60, 60),
];

/// Horizontal alignment of a text to its point.
#[derive(Clone, Copy, Debug)]
pub enum Align {
    /// The text begins there.
    Left,
    /// It is centred there.
    Middle,
    /// It ends there.
    Right,
}

/// How a text looks.
#[derive(Clone, Copy, Debug)]
pub struct Type {
    /// Height, CSS pixels.
    pub size: f64,
    /// Colour.
    pub color: RGBColor,
    /// Alignment.
    pub align: Align,
    /// Bold.
    pub bold: bool,
    /// Turned to read upwards.
    pub upwards: bool,
}

impl Type {
    /// Plain text.
    pub fn new(size: f64, color: RGBColor, align: Align) -> Self {
        Self { size, color, align, bold: false, upwards: false }
    }

    /// The same in bold.
    pub fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    /// The same turned by 90° to the left.
    pub fn upwards(self) -> Self {
        Self { upwards: true, ..self }
    }
}

/// Strokes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dash {
    /// Unbroken.
    Solid,
    /// Long strokes.
    Dashed,
    /// Short strokes.
    Dotted,
}

type Drawing = Result<(), String>;

/// The surface that a chart is drawn on.
pub struct Canvas<'a> {
    area: DrawingArea<SVGBackend<'a>, Shift>,
}

/// Draws a chart of `width` by `height` CSS pixels and returns its `<svg>` element, whose accessible name is `title`.
///
/// # Errors
/// When the backend refuses an element.
pub fn svg(
    title: &str,
    width: f64,
    height: f64,
    draw: impl FnOnce(&Canvas<'_>) -> Drawing,
) -> Result<String, ChartError> {
    let failed = |reason: String| ChartError { title: title.to_owned(), reason };
    let mut text = String::new();
    let size = ((width * SCALE).ceil() as u32, (height * SCALE).ceil() as u32);
    {
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        let canvas = Canvas { area };
        draw(&canvas).map_err(failed)?;
        canvas.area.present().map_err(|e| failed(e.to_string()))?;
    }
    let drawn = format!("width=\"{}\" height=\"{}\"", size.0, size.1);
    let shown = format!(
        "width=\"{width:.0}\" height=\"{height:.0}\" fill=\"none\" font-family=\"{FONT}\" role=\"img\" aria-label=\"{}\"",
        crate::page::escape(title)
    );
    // What the backend repeats on each of some ten thousand elements is inherited or the default: a fifth of the page. Texts
    // cannot contain it, for their quotation marks are escaped.
    for repeated in [" fill=\"none\"", " opacity=\"1\"", &format!(" font-family=\"{FONT}\"")] {
        text = text.replace(repeated, "");
    }
    Ok(text.replacen(&drawn, &shown, 1))
}

fn pixels(point: (f64, f64)) -> (i32, i32) {
    ((point.0 * SCALE).round() as i32, (point.1 * SCALE).round() as i32)
}

impl Canvas<'_> {
    /// A line from `from` to `to`.
    pub fn line(&self, from: (f64, f64), to: (f64, f64), color: RGBColor, width: f64) -> Drawing {
        self.path(&[from, to], color, width, Dash::Solid)
    }

    /// A line through all points.
    pub fn path(&self, points: &[(f64, f64)], color: RGBColor, width: f64, dash: Dash) -> Drawing {
        let points: Vec<(i32, i32)> = points.iter().copied().map(pixels).collect();
        let style = stroke(color, width);
        let dashes = |on: f64, off: f64| {
            let (on, off) = ((on * SCALE) as i32, (off * SCALE) as i32);
            self.area.draw(&DashedPathElement::new(points.clone(), on, off, style))
        };
        match dash {
            Dash::Solid => self.area.draw(&PathElement::new(points.clone(), style)),
            Dash::Dashed => dashes(7.0, 4.0),
            Dash::Dotted => dashes(2.0, 3.0),
        }
        .map_err(|e| e.to_string())
    }

    /// A filled rectangle between two corners.
    pub fn rectangle(&self, a: (f64, f64), b: (f64, f64), color: RGBColor) -> Drawing {
        let (a, b) = (pixels(a), pixels(b));
        let corners = [(a.0.min(b.0), a.1.min(b.1)), (a.0.max(b.0), a.1.max(b.1))];
        self.area.draw(&Rectangle::new(corners, color.filled())).map_err(|e| e.to_string())
    }

    /// White diagonal strokes over a rectangle, so that an emulation is seen in print and without colours.
    pub fn hatch(&self, a: (f64, f64), b: (f64, f64)) -> Drawing {
        let (left, right) = (a.0.min(b.0), a.0.max(b.0));
        let (top, bottom) = (a.1.min(b.1), a.1.max(b.1));
        let height = bottom - top;
        let mut foot = left - height + 3.0;
        while foot < right {
            // A stroke climbs from (foot, bottom) to (foot + height, top); only what is inside is drawn.
            let (from, to) = (foot.max(left), (foot + height).min(right));
            if to > from {
                let y = |x: f64| bottom - (x - foot);
                self.line((from, y(from)), (to, y(to)), plotters::style::WHITE, 1.2)?;
            }
            foot += 5.0;
        }
        Ok(())
    }

    /// A horizontal error bar at height `y`, with end strokes.
    pub fn whisker(&self, low: f64, high: f64, y: f64) -> Drawing {
        self.line((low, y), (high, y), INK, 1.1)?;
        self.line((low, y - 3.0), (low, y + 3.0), INK, 1.1)?;
        self.line((high, y - 3.0), (high, y + 3.0), INK, 1.1)
    }

    /// Two slanted strokes with paper between them at `x`: what they cross is longer than it is drawn.
    pub fn gap(&self, x: f64, (top, bottom): (f64, f64)) -> Drawing {
        let stroke = |x: f64| ((x - 2.0, bottom + 2.0), (x + 2.0, top - 2.0));
        let (paper, near, far) = (stroke(x), stroke(x - 2.5), stroke(x + 2.5));
        self.line(paper.0, paper.1, plotters::style::WHITE, 5.0)?;
        self.line(near.0, near.1, INK, 1.1)?;
        self.line(far.0, far.1, INK, 1.1)
    }

    /// A vertical error bar at `x`, with end strokes.
    pub fn pole(&self, x: f64, low: f64, high: f64, color: RGBColor) -> Drawing {
        self.line((x, low), (x, high), color, 1.1)?;
        self.line((x - 3.0, low), (x + 3.0, low), color, 1.1)?;
        self.line((x - 3.0, high), (x + 3.0, high), color, 1.1)
    }

    /// A dot.
    pub fn dot(&self, at: (f64, f64), radius: f64, color: RGBColor) -> Drawing {
        let circle =
            EmptyElement::at(pixels(at)) + Circle::new((0, 0), (radius * SCALE) as i32, color.filled());
        self.area.draw(&circle).map_err(|e| e.to_string())
    }

    /// A text whose vertical middle is at the point.
    pub fn text(&self, text: &str, at: (f64, f64), look: Type) -> Drawing {
        if text.is_empty() {
            return Ok(());
        }
        // The backend divides sizes by 1.24 to imitate the metrics of its bitmap sibling.
        let mut font = (FONT, look.size * 1.24 * SCALE).into_font();
        if look.bold {
            font = font.style(FontStyle::Bold);
        }
        if look.upwards {
            font = font.transform(FontTransform::Rotate270);
        }
        let horizontal = match look.align {
            Align::Left => HPos::Left,
            Align::Middle => HPos::Center,
            Align::Right => HPos::Right,
        };
        let style = font.color(&look.color).pos(Pos::new(horizontal, VPos::Center));
        self.area.draw(&Text::new(text, pixels(at), style)).map_err(|e| e.to_string())
    }
}

/// At most `characters` of `text`, an ellipsis where something was cut; control characters become spaces.
pub fn cut(text: &str, characters: usize) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    if text.chars().count() <= characters {
        return text.chars().map(plain).collect();
    }
    let mut short: String = text.chars().take(characters.saturating_sub(1)).map(plain).collect();
    short.push('…');
    short
}

fn stroke(color: RGBColor, width: f64) -> ShapeStyle {
    color.stroke_width((width * SCALE).round().max(1.0) as u32)
}
