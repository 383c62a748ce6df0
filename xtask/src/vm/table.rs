//! The matrix: a column for each kernel, a row for each thing that was tried.

use super::outcome::Outcome;

/// A cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Good(&'static str),
    /// A fact about the kernel, neither good nor bad.
    Fact(&'static str),
    Red(&'static str),
}

impl Cell {
    fn text(self) -> &'static str {
        match self {
            Self::Good(text) | Self::Fact(text) | Self::Red(text) => text,
        }
    }

    /// Whether the command must fail.
    pub(super) fn is_red(self) -> bool {
        matches!(self, Self::Red(_))
    }
}

/// A row.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) cells: Vec<Cell>,
}

/// All rows over these columns: the probe's, the security modules, each test, the kernel's own log.
/// `left_out`: why a column's kernel is not asked for a test.
pub(super) fn rows(
    outcomes: &[&Outcome],
    tests: &[String],
    left_out: impl Fn(usize, &str) -> Option<&'static str>,
) -> Vec<Row> {
    let mut rows = vec![
        row(
            "boot to end",
            outcomes,
            |outcome| if outcome.ended { Cell::Good("ok") } else { Cell::Red("DIED") },
        ),
        row("processguard probe", outcomes, |outcome| match outcome.probed {
            Some(Ok(())) => Cell::Good("ok"),
            Some(Err(_)) => Cell::Red("FAILED"),
            None => Cell::Red("NOT RUN"),
        }),
    ];
    for name in probes(outcomes) {
        rows.push(row(&format!("  {name}"), outcomes, |outcome| probe(outcome, &name)));
    }
    rows.push(row("LSM programs", outcomes, |outcome| match outcome.lsm() {
        Some(true) => Cell::Fact("available"),
        Some(false) => Cell::Fact("not available"),
        None => Cell::Red("NOT TRIED"),
    }));
    for name in tests {
        let cell = |(column, outcome): (usize, &&Outcome)| match outcome.tests.get(name) {
            Some(ended) if ended.passed => Cell::Good("ok"),
            Some(_) => Cell::Red("FAILED"),
            None => left_out(column, name).map_or(Cell::Red("NOT RUN"), Cell::Fact),
        };
        rows.push(Row { name: name.clone(), cells: outcomes.iter().enumerate().map(cell).collect() });
    }
    rows.push(row("kernel log clean", outcomes, |outcome| match &outcome.complaints {
        Some(complaints) if complaints.is_empty() => Cell::Good("ok"),
        Some(_) => Cell::Red("NO"),
        None => Cell::Red("NOT READ"),
    }));
    rows
}

fn row(name: &str, outcomes: &[&Outcome], cell: impl Fn(&Outcome) -> Cell) -> Row {
    Row { name: name.to_owned(), cells: outcomes.iter().map(|outcome| cell(outcome)).collect() }
}

/// Names of what was probed on any kernel, in order.
fn probes(outcomes: &[&Outcome]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for probe in outcomes.iter().flat_map(|outcome| &outcome.probes) {
        if !names.contains(&probe.name) {
            names.push(probe.name.clone());
        }
    }
    names
}

fn probe(outcome: &Outcome, name: &str) -> Cell {
    match outcome.probes.iter().find(|probe| probe.name == name) {
        Some(probe) if probe.state == "yes" => Cell::Fact("yes"),
        Some(probe) if probe.required => Cell::Red("NO"),
        Some(probe) if probe.state == "no" => Cell::Fact("no"),
        Some(_) => Cell::Fact("unknown"),
        None => Cell::Red("NOT TRIED"),
    }
}

/// The table as text.
pub(super) fn text(kernels: &[&str], rows: &[Row]) -> String {
    let first = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.cells.get(column)).map(|cell| cell.text().len());
        cells.chain(kernels.get(column).map(|name| name.len())).max().unwrap_or(0)
    };
    let line = |name: &str, cells: &[&str]| {
        let cells =
            cells.iter().enumerate().map(|(column, cell)| format!("  {cell:width$}", width = width(column)));
        let line = format!("{name:first$}{}", cells.collect::<String>());
        line.trim_end().to_owned() + "\n"
    };
    let body =
        rows.iter().map(|row| line(&row.name, &row.cells.iter().map(|cell| cell.text()).collect::<Vec<_>>()));
    line("", kernels) + &body.collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::{Outcome, rows, text};

    #[test]
    fn what_did_not_run_is_red() {
        let mut good = Outcome::default();
        let lines = [
            r#"@probe {"name":"lsm","state":"no","required":false,"detail":"","consequence":""}"#,
            "@probed 0",
            "@test a::b 0 1 2",
            "@complaints 0",
            "@end",
        ];
        lines.iter().for_each(|line| good.take(line));
        let silent = Outcome::default();
        let rows = rows(&[&good, &silent, &good], &["a::b".to_owned(), "a::c".to_owned()], |column, name| {
            (column == 2 && name == "a::c").then_some("here")
        });
        let red = |column: usize| rows.iter().filter(|row| row.cells[column].is_red()).count();
        assert_eq!([red(0), red(1), red(2)], [1, rows.len(), 0], "{rows:?}");
        let table = text(&["5.10", "7.2", "6.18"], &rows);
        assert_eq!(table.lines().next(), Some("                    5.10           7.2        6.18"));
        assert!(table.contains("a::b                ok             NOT RUN    ok\n"), "{table}");
        assert!(table.contains("a::c                NOT RUN        NOT RUN    here\n"), "{table}");
        assert!(table.contains("LSM programs        not available  NOT TRIED  not available\n"), "{table}");
    }
}
