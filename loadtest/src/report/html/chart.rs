//! Line charts as inline SVG, with a legend that does not need colours: each line has its own dashes, too.

use std::fmt::Write as _;

use super::markup::escape;
use super::scale::Scale;

/// A chart.
pub(super) struct Chart<'a> {
    /// Unique on the page.
    pub(super) id: String,
    pub(super) title: &'a str,
    /// What it shows, for those who do not see it.
    pub(super) description: String,
    pub(super) x: Axis<'a>,
    pub(super) y: Axis<'a>,
    pub(super) lines: Vec<Line>,
}

/// An axis.
pub(super) struct Axis<'a> {
    pub(super) name: &'a str,
    pub(super) scale: Scale,
    pub(super) tick: fn(f64) -> String,
}

/// A line.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 46.0;

/// Styles of lines that there are.
pub(super) const STYLES: usize = 8;

/// Points of a line, beyond which several become one.
const MOST_POINTS: usize = 1200;

impl Chart<'_> {
    /// A figure.
    pub(super) fn markup(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let (id, title) = (escape(&self.id), escape(self.title));
        writeln!(text, "<figure><figcaption>{title}</figcaption>")?;
        writeln!(text, "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">")?;
        writeln!(text, "<title id=\"{id}-t\">{title}</title><desc id=\"{id}-d\">{}</desc>", escape(&self.description))?;
        self.write_axes(text)?;
        for (index, line) in self.lines.iter().enumerate() {
            let style = index % STYLES + 1;
            match self.path(line).as_slice() {
                [] => {}
                [(x, y)] => writeln!(text, "<circle class=\"p{style}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>")?,
                points => {
                    let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
                    writeln!(text, "<polyline class=\"l{style}\" points=\"{}\"/>", points.join(" "))?;
                }
            }
        }
        writeln!(text, "</svg>")?;
        if self.lines.len() > 1 {
            writeln!(text, "<ul class=\"legend\">")?;
            for (index, line) in self.lines.iter().enumerate() {
                let (style, name) = (index % STYLES + 1, escape(&line.name));
                writeln!(
                    text,
                    "<li><svg viewBox=\"0 0 28 8\" aria-hidden=\"true\"><polyline class=\"l{style}\" points=\"0,4 28,4\"/></svg>{name}</li>"
                )?;
            }
            writeln!(text, "</ul>")?;
        }
        writeln!(text, "</figure>")
    }

    fn write_axes(&self, text: &mut String) -> std::fmt::Result {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for (value, name) in self.y.scale.ticks(self.y.tick) {
            let y = self.vertical(value);
            writeln!(text, "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\"/>")?;
            let (x, y, name) = (LEFT - 8.0, y + 4.0, escape(&name));
            writeln!(text, "<text class=\"tick end\" x=\"{x}\" y=\"{y:.1}\">{name}</text>")?;
        }
        for (value, name) in self.x.scale.ticks(self.x.tick) {
            let x = self.horizontal(value);
            writeln!(text, "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\"/>")?;
            let (y, name) = (bottom + 18.0, escape(&name));
            writeln!(text, "<text class=\"tick middle\" x=\"{x:.1}\" y=\"{y}\">{name}</text>")?;
        }
        writeln!(text, "<line class=\"axis\" x1=\"{LEFT}\" y1=\"{bottom}\" x2=\"{right}\" y2=\"{bottom}\"/>")?;
        let (middle, low) = (f64::midpoint(LEFT, right), HEIGHT - 8.0);
        writeln!(text, "<text class=\"name middle\" x=\"{middle}\" y=\"{low}\">{}</text>", escape(self.x.name))?;
        let centre = f64::midpoint(TOP, bottom);
        let name = escape(self.y.name);
        writeln!(
            text,
            "<text class=\"name middle\" x=\"12\" y=\"{centre}\" transform=\"rotate(-90 12 {centre})\">{name}</text>"
        )
    }

    /// The line's points on the plot, no more than can be told apart.
    fn path(&self, line: &Line) -> Vec<(f64, f64)> {
        let group = line.points.len().div_ceil(MOST_POINTS).max(1);
        let on_plot = |points: &[(f64, f64)]| {
            let count = points.len() as f64;
            let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
            (self.horizontal(x / count), self.vertical(y / count))
        };
        line.points.chunks(group).map(on_plot).collect()
    }

    fn horizontal(&self, value: f64) -> f64 {
        LEFT + self.x.scale.place(value) * (WIDTH - LEFT - RIGHT)
    }

    fn vertical(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.scale.place(value) * (HEIGHT - BOTTOM - TOP)
    }
}
