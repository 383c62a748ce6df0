//! Numbers that change with time, as scenarios write them.
//!
//! ```text
//! 100MiB                                        always
//! 100MiB for 2m, then 100MiB -> 450MiB over 10m a stretch, then a slope; the last number holds
//! 60MiB -> 160MiB every 40s                     a sawtooth: rises, falls at once, rises again
//! 100MiB -> 300MiB over 1h + 0B -> 50MiB every 30s   the sum of both
//! ```

use crate::policy::model::Span;

/// A number at each moment, in a signal's unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// All of them are added up. Never empty.
    lines: Vec<Vec<Piece>>,
}

/// A stretch of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Piece {
    from: f64,
    to: f64,
    /// How long one rise takes.
    over: Span,
    /// How long it is in all.
    lasts: Span,
}

impl Series {
    /// The same number always.
    #[must_use]
    pub fn constant(value: f64) -> Self {
        Self { lines: vec![vec![Piece { from: value, to: value, over: Span::MAX, lasts: Span::MAX }]] }
    }

    /// Reads its text; `quantity` reads a number with its unit, `span` a span of time.
    ///
    /// # Errors
    /// What cannot be read, and why.
    pub fn read(
        text: &str,
        quantity: &dyn Fn(&str) -> Result<f64, String>,
        span: &dyn Fn(&str) -> Result<Span, String>,
    ) -> Result<Self, String> {
        let lines = text.split(" + ").map(|line| {
            line.split(", then ")
                .map(|piece| Piece::read(piece.trim(), quantity, span))
                .collect::<Result<Vec<_>, String>>()
        });
        Ok(Self { lines: lines.collect::<Result<_, _>>()? })
    }

    /// The number when so much time has passed since its beginning.
    #[must_use]
    pub fn at(&self, passed: Span) -> f64 {
        self.lines.iter().map(|line| at(line, passed)).sum()
    }
}

/// The number of one line.
fn at(line: &[Piece], mut passed: Span) -> f64 {
    let mut last = 0.0;
    for piece in line {
        if passed < piece.lasts {
            return piece.at(passed);
        }
        passed -= piece.lasts;
        last = if piece.over == piece.lasts { piece.to } else { piece.at(piece.lasts) };
    }
    last
}

impl Piece {
    fn read(
        text: &str,
        quantity: &dyn Fn(&str) -> Result<f64, String>,
        span: &dyn Fn(&str) -> Result<Span, String>,
    ) -> Result<Self, String> {
        let (text, lasts) = match text.split_once(" for ") {
            Some((text, lasts)) => (text, Some(span(lasts.trim())?)),
            None => (text, None),
        };
        let Some((from, rest)) = text.split_once("->") else {
            let value = quantity(text.trim())?;
            return Ok(Self { from: value, to: value, over: Span::MAX, lasts: lasts.unwrap_or(Span::MAX) });
        };
        let from = quantity(from.trim())?;
        if let Some((to, over)) = rest.split_once(" over ") {
            let over = span(over.trim())?.max(1);
            return match lasts {
                None => Ok(Self { from, to: quantity(to.trim())?, over, lasts: over }),
                Some(_) => Err("a slope says `over` how long it rises, and no `for`".to_owned()),
            };
        }
        match rest.split_once(" every ") {
            Some((to, every)) => {
                let over = span(every.trim())?.max(1);
                Ok(Self { from, to: quantity(to.trim())?, over, lasts: lasts.unwrap_or(Span::MAX) })
            }
            None => Err(format!("`{text}` lacks how long: write `A -> B over 10m` or `A -> B every 30s`")),
        }
    }

    /// The same on every machine: one division, one product, one sum.
    fn at(&self, passed: Span) -> f64 {
        let into = passed % self.over;
        self.from + (self.to - self.from) * (into as f64 / self.over as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(text: &str) -> Result<Series, String> {
        let number = |text: &str| text.parse::<f64>().map_err(|_| format!("no number: {text}"));
        let span = |text: &str| {
            let seconds = text.strip_suffix('s').ok_or("no unit")?;
            seconds.parse::<u64>().map(|s| s * 1_000_000_000).map_err(|_| format!("no span: {text}"))
        };
        Series::read(text, &number, &span)
    }

    fn at(text: &str, seconds: &[u64]) -> Vec<f64> {
        let series = series(text).unwrap();
        seconds.iter().map(|second| series.at(second * 1_000_000_000)).collect()
    }

    #[test]
    fn a_number_holds() {
        assert_eq!(at("5", &[0, 1, 1_000_000]), [5.0, 5.0, 5.0]);
        assert_eq!(Series::constant(5.0).at(7), 5.0);
    }

    #[test]
    fn slopes_follow_each_other_and_the_last_number_holds() {
        assert_eq!(
            at("1 for 10s, then 1 -> 11 over 10s", &[0, 9, 10, 15, 20, 99]),
            [1., 1., 1., 6., 11., 11.]
        );
        assert_eq!(at("4 for 2s, then 8", &[0, 1, 2, 3]), [4.0, 4.0, 8.0, 8.0]);
    }

    #[test]
    fn a_sawtooth_falls_at_once_and_ends() {
        assert_eq!(at("0 -> 10 every 10s", &[0, 5, 9, 10, 15]), [0.0, 5.0, 9.0, 0.0, 5.0]);
        assert_eq!(at("0 -> 10 every 10s for 15s, then 3", &[14, 15, 16]), [4.0, 3.0, 3.0]);
    }

    #[test]
    fn lines_are_added() {
        assert_eq!(at("0 -> 100 over 100s + 0 -> 10 every 10s", &[0, 5, 10, 200]), [0., 10., 10., 100.]);
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        assert_eq!(
            series("1 -> 2"),
            Err("`1 -> 2` lacks how long: write `A -> B over 10m` or `A -> B every 30s`".into())
        );
        assert_eq!(series("1 -> 2 over 3"), Err("no unit".into()));
        assert_eq!(
            series("1 -> 2 over 3s for 4s"),
            Err("a slope says `over` how long it rises, and no `for`".into())
        );
        assert_eq!(series("x"), Err("no number: x".into()));
        assert!(series("").is_err());
    }
}
