//! Columns that stand below each other.

use anstyle::Style;

use super::{DIM, Look};

/// A table. The last column is as wide as it likes.
#[derive(Debug)]
pub(super) struct Table {
    heads: Vec<Head>,
    rows: Vec<Vec<Cell>>,
    indent: usize,
}

#[derive(Debug)]
struct Head {
    name: &'static str,
    right: bool,
}

/// A cell: its text, and how it looks.
#[derive(Debug)]
pub(super) struct Cell {
    text: String,
    style: Style,
}

/// A cell that looks like all.
pub(super) fn plain(text: impl Into<String>) -> Cell {
    styled(text, Style::new())
}

/// A cell that looks otherwise.
pub(super) fn styled(text: impl Into<String>, style: Style) -> Cell {
    Cell { text: text.into(), style }
}

impl Table {
    /// Its heads; those that begin with `>` stand to the right, over figures.
    pub(super) fn new(heads: &[&'static str]) -> Self {
        let head = |head: &&'static str| match head.strip_prefix('>') {
            Some(name) => Head { name, right: true },
            None => Head { name: head, right: false },
        };
        Self { heads: heads.iter().map(head).collect(), rows: Vec::new(), indent: 0 }
    }

    pub(super) fn indented(self, indent: usize) -> Self {
        Self { indent, ..self }
    }

    pub(super) fn row(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn text(&self, look: &Look) -> String {
        let heads = self.heads.iter().map(|head| styled(head.name, DIM)).collect();
        let lines: Vec<&Vec<Cell>> = std::iter::once(&heads).chain(&self.rows).collect();
        let width = |column: usize| {
            lines.iter().filter_map(|line| Some(line.get(column)?.text.chars().count())).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.heads.len()).map(width).collect();
        lines.iter().map(|line| self.line(look, line, &widths)).collect()
    }

    fn line(&self, look: &Look, cells: &[Cell], widths: &[usize]) -> String {
        let mut line = " ".repeat(self.indent);
        for (index, ((cell, head), width)) in cells.iter().zip(&self.heads).zip(widths).enumerate() {
            if index > 0 {
                line.push_str("  ");
            }
            let room = " ".repeat(width.saturating_sub(cell.text.chars().count()));
            let text = look.paint(cell.style, &cell.text);
            let last = index + 1 == self.heads.len();
            match (head.right, last) {
                (true, _) => line.push_str(&format!("{room}{text}")),
                (false, false) => line.push_str(&format!("{text}{room}")),
                (false, true) => line.push_str(&text),
            }
        }
        format!("{}\n", line.trim_end())
    }
}
