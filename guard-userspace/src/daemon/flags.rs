//! Behaviours that an operator can switch off on this host, for as long as it takes. They outlive the daemon.

use super::door::{Flag, Refusal};

/// A switch.
struct Known {
    name: &'static str,
    meaning: &'static str,
}

const KNOWN: [Known; 4] = [
    Known { name: "act", meaning: "carry out what policies decide; off: plans are refused, and told" },
    Known { name: "probes", meaning: "ask services how they are; off: checks by probes are unknown" },
    Known { name: "alerts", meaning: "tell people; off: alerts are recorded alone" },
    Known { name: "trial", meaning: "roll new policies back by itself if restarts rise" },
];

/// All switches. Each is on until somebody says otherwise.
#[derive(Clone, Debug, Default)]
pub(super) struct Flags {
    off: Vec<String>,
}

impl Flags {
    /// As they were put down.
    pub(super) fn restored(set: &[(String, bool)]) -> Self {
        Self { off: set.iter().filter(|(_, on)| !on).map(|(name, _)| name.clone()).collect() }
    }

    pub(super) fn is_on(&self, name: &str) -> bool {
        !self.off.iter().any(|off| off == name)
    }

    pub(super) fn set(&mut self, name: &str, on: bool) -> Result<(), Refusal> {
        if !KNOWN.iter().any(|known| known.name == name) {
            let names: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
            return Err(Refusal::Unknown(format!(
                "there is no flag `{name}`; there are {}",
                names.join(", ")
            )));
        }
        self.off.retain(|off| off != name);
        if !on {
            self.off.push(name.to_owned());
        }
        Ok(())
    }

    pub(super) fn all(&self) -> Vec<Flag> {
        let flag = |known: &Known| Flag {
            name: known.name.to_owned(),
            meaning: known.meaning,
            on: self.is_on(known.name),
        };
        KNOWN.iter().map(flag).collect()
    }
}
