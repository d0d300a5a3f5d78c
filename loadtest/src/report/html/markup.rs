//! Text that may come from a server, made harmless.

use std::fmt::Write as _;

use super::super::figures::is_harmless;

/// Text as it may stand in an element or in a quoted attribute.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\t' | '\n' | '\r' => escaped.push(' '),
            harmless if is_harmless(harmless) => escaped.push(harmless),
            _ => escaped.push(char::REPLACEMENT_CHARACTER),
        }
    }
    escaped
}

/// A table.
pub(super) struct Table<'a> {
    pub(super) caption: &'a str,
    /// The first column is text, the others are figures unless they are among [`Self::words`].
    pub(super) columns: Vec<&'a str>,
    /// Columns of text, besides the first.
    pub(super) words: &'a [usize],
    /// Rows of text, not escaped yet.
    pub(super) rows: Vec<Vec<String>>,
}

impl Table<'_> {
    /// Nothing without rows.
    pub(super) fn markup(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let class = |column: usize| if column == 0 || self.words.contains(&column) { "" } else { " class=\"n\"" };
        // Focusable, so that those without a mouse can scroll it.
        let caption = escape(self.caption);
        writeln!(text, "<div class=\"wide\" role=\"region\" aria-label=\"{caption}\" tabindex=\"0\"><table>")?;
        write!(text, "<caption>{caption}</caption>\n<thead><tr>")?;
        for (index, column) in self.columns.iter().enumerate() {
            write!(text, "<th scope=\"col\"{}>{}</th>", class(index), escape(column))?;
        }
        writeln!(text, "</tr></thead>\n<tbody>")?;
        for row in &self.rows {
            write!(text, "<tr>")?;
            for (index, cell) in row.iter().enumerate() {
                let cell = escape(cell);
                if index == 0 {
                    write!(text, "<th scope=\"row\">{cell}</th>")?;
                } else {
                    write!(text, "<td{}>{cell}</td>", class(index))?;
                }
            }
            writeln!(text, "</tr>")?;
        }
        writeln!(text, "</tbody></table></div>")
    }
}
