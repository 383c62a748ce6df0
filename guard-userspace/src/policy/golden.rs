//! Golden files: what a rehearsal should read like.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::files::Error;

/// Lines of a difference that are shown of each side.
const LINES: usize = 12;

/// How a text compares with its golden file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compared {
    /// It is the same.
    Same,
    /// It is not; where they differ.
    Different(String),
    /// There is no golden file.
    None,
}

/// Beside a scenario: `leak.scenario.yaml` has `leak.golden`.
#[must_use]
pub fn beside(scenario: &Path) -> PathBuf {
    let name = scenario.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(super::files::SCENARIO).unwrap_or(&name);
    scenario.with_file_name(format!("{stem}.golden"))
}

/// Compares a text with its golden file.
///
/// # Errors
/// If the file cannot be read.
pub fn compare(path: &Path, text: &str) -> Result<Compared, Error> {
    match fs::read_to_string(path) {
        Ok(golden) if golden == text => Ok(Compared::Same),
        Ok(golden) => Ok(Compared::Different(difference(&golden, text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Compared::None),
        Err(source) => Err(Error::Read { path: path.to_owned(), source }),
    }
}

/// Makes a text its golden file.
///
/// # Errors
/// If the file cannot be written.
pub fn bless(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// Where two texts begin and cease to differ: `-` lines of the golden file, `+` lines of now.
fn difference(golden: &str, text: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (golden.lines().collect(), text.lines().collect());
    let same = old.iter().zip(&new).take_while(|(one, other)| one == other).count();
    let (old, new) = (old.get(same..).unwrap_or_default(), new.get(same..).unwrap_or_default());
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(|(one, other)| one == other).count();
    let mut out = format!("    line {}:\n", same + 1);
    for (mark, lines) in [('-', old), ('+', new)] {
        let lines = lines.get(..lines.len() - tail).unwrap_or_default();
        for line in lines.iter().take(LINES) {
            out.push_str(&format!("    {mark} {line}\n"));
        }
        if lines.len() > LINES {
            out.push_str(&format!("    {mark} ... {} more lines\n", lines.len() - LINES));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_begins_and_ends_where_it_does() {
        let shown = difference("a\nb\nc\nd\n", "a\nx\ny\nd\n");
        assert_eq!(shown, "    line 2:\n    - b\n    - c\n    + x\n    + y\n");
        assert_eq!(difference("a\n", "a\nb\n"), "    line 2:\n    + b\n");
        let long: String = (0..100).map(|line| format!("{line}\n")).collect();
        assert!(difference(&long, "").contains("    - ... 88 more lines\n"));
    }

    #[test]
    fn golden_files_stand_beside_their_scenarios() {
        assert_eq!(beside(Path::new("a/leak.scenario.yaml")), Path::new("a/leak.golden"));
    }

    #[test]
    fn what_is_blessed_is_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.golden");
        assert_eq!(compare(&path, "a\n").unwrap(), Compared::None);
        bless(&path, "a\n").unwrap();
        assert_eq!(compare(&path, "a\n").unwrap(), Compared::Same);
        assert!(matches!(compare(&path, "b\n").unwrap(), Compared::Different(_)));
    }
}
