//! What a machine said, line by line: the other side of init.sh.

use std::collections::BTreeMap;

use serde_json::Value;

/// One thing that `processguard probe` tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    pub(super) name: String,
    /// `yes`, `no` or `unknown`.
    pub(super) state: String,
    pub(super) required: bool,
    /// What was found, and what follows.
    pub(super) detail: String,
}

/// One test's end.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ended {
    pub(super) passed: bool,
    pub(super) seconds: f64,
    /// What it said, if it failed.
    pub(super) log: Vec<String>,
}

/// All that one kernel showed.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Its release, and its security modules.
    pub(super) kernel: Option<(String, String)>,
    pub(super) probes: Vec<Probe>,
    /// Whether `processguard probe` says that a trace can run; its complaint otherwise.
    pub(super) probed: Option<Result<(), Vec<String>>>,
    pub(super) tests: BTreeMap<String, Ended>,
    /// Bugs that the kernel reported in its own log while we ran.
    pub(super) complaints: Option<Vec<String>>,
    /// Whether it came to the end.
    pub(super) ended: bool,
    log: Vec<String>,
}

impl Outcome {
    /// Takes the next line. Noise between the lines of init.sh is passed over.
    pub(super) fn take(&mut self, line: &str) {
        let line = line.trim_end();
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "@kernel" => {
                let (release, modules) = rest.split_once(' ').unwrap_or((rest, ""));
                self.kernel = Some((release.to_owned(), modules.to_owned()));
            }
            "@probe" => self.probes.extend(probe(rest)),
            "@log" => self.log.push(rest.to_owned()),
            "@probed" => {
                let log = std::mem::take(&mut self.log);
                self.probed = Some(if rest == "0" { Ok(()) } else { Err(log) });
            }
            "@test" => self.test(rest),
            "@complaints" => self.complaints = Some(std::mem::take(&mut self.log)),
            "@end" => self.ended = true,
            _ => {}
        }
    }

    /// Adds what another machine with the same kernel showed, which ran the other half of the tests.
    pub(super) fn merge(&mut self, other: Self) {
        self.ended &= other.ended;
        if self.probes.is_empty() {
            self.probes = other.probes;
        }
        // What failed once has failed, and what was silent once was silent.
        self.probed = match (self.probed.take(), other.probed) {
            (Some(Ok(())), theirs) => theirs,
            (ours, _) => ours,
        };
        self.complaints = match (self.complaints.take(), other.complaints) {
            (Some(ours), Some(theirs)) => Some(ours.into_iter().chain(theirs).collect()),
            _ => None,
        };
        self.kernel = self.kernel.take().or(other.kernel);
        self.tests.extend(other.tests);
    }

    fn test(&mut self, rest: &str) {
        let log = std::mem::take(&mut self.log);
        let mut cells = rest.split(' ');
        let (Some(name), Some(status)) = (cells.next(), cells.next()) else { return };
        let mut seconds = cells.filter_map(|cell| cell.parse::<f64>().ok());
        let (began, ended) = (seconds.next().unwrap_or(0.0), seconds.next().unwrap_or(0.0));
        let ended = Ended { passed: status == "0", seconds: ended - began, log };
        self.tests.insert(name.to_owned(), ended);
    }

    /// Whether a program of the security modules' kind was loaded and fired.
    pub(super) fn lsm(&self) -> Option<bool> {
        self.probes.iter().find(|probe| probe.name == "lsm").map(|probe| probe.state == "yes")
    }
}

fn probe(text: &str) -> Option<Probe> {
    let object: Value = serde_json::from_str(text).ok()?;
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    Some(Probe {
        name: text("name")?.to_owned(),
        state: text("state")?.to_owned(),
        required: object.get("required")?.as_bool()?,
        detail: [text("detail"), text("consequence")].into_iter().flatten().collect::<Vec<_>>().join("; "),
    })
}

#[cfg(test)]
mod tests {
    use super::Outcome;

    fn taken(lines: &[&str]) -> Outcome {
        let mut outcome = Outcome::default();
        lines.iter().for_each(|line| outcome.take(line));
        outcome
    }

    #[test]
    fn a_machine_that_came_to_its_end() {
        let outcome = taken(&[
            "@kernel 6.1.0-56 lockdown,bpf\r",
            r#"@probe {"name":"lsm","state":"yes","required":false,"detail":"fired","consequence":"may enforce"}"#,
            "@probed 0",
            "noise",
            "@log thread panicked",
            "@test a::b 101 1.50 4.00",
            "@test c::d 0 4.00 5.25",
            "@complaints 0",
            "@end",
        ]);
        assert_eq!(outcome.kernel, Some(("6.1.0-56".to_owned(), "lockdown,bpf".to_owned())));
        assert_eq!(outcome.lsm(), Some(true));
        assert_eq!(outcome.probes[0].detail, "fired; may enforce");
        assert_eq!(outcome.probed, Some(Ok(())));
        let (failed, passed) = (&outcome.tests["a::b"], &outcome.tests["c::d"]);
        assert!(!failed.passed && failed.seconds == 2.5 && failed.log == ["thread panicked"]);
        assert!(passed.passed && passed.seconds == 1.25 && passed.log.is_empty());
        assert_eq!(outcome.complaints, Some(Vec::new()));
        assert!(outcome.ended);
    }

    #[test]
    fn two_halves_are_a_whole_only_together() {
        let lines = ["@kernel 6.1 bpf", "@probed 0", "@test a::b 0 1 2", "@complaints 0", "@end"];
        let mut both = taken(&lines);
        both.merge(taken(&["@kernel 6.1 bpf", "@probed 0", "@test c::d 0 1 2", "@complaints 0", "@end"]));
        assert!(both.ended && both.tests.len() == 2 && both.probed == Some(Ok(())));
        assert_eq!(both.complaints, Some(Vec::new()));
        let mut half = taken(&lines);
        half.merge(taken(&["@kernel 6.1 bpf"]));
        assert!(!half.ended && half.probed.is_none() && half.complaints.is_none());
    }

    #[test]
    fn a_machine_that_fell_silent() {
        let outcome = taken(&["@kernel 7.2 bpf", "@log verifier says no", "@probed 1", "@test"]);
        assert_eq!(outcome.probed, Some(Err(vec!["verifier says no".to_owned()])));
        assert_eq!(outcome.lsm(), None);
        assert!(outcome.tests.is_empty() && !outcome.ended);
    }
}
