//! `processguard probe`: what this kernel and these privileges allow.

use guard_common::limits::RING_BYTES;
use guard_common::wire::Kind;

use crate::exit::{Code, Failure, HELP};
use crate::output::{self, Sink};
use crate::sensor::probe::{self, Finding, Findings, State};
use crate::sensor::{Attach, Options, Watch};
use crate::show::escape;

const EXAMPLES: &str = "\
EXAMPLES
  processguard probe
      one line for each thing that was tried, with what follows from it
  processguard probe --json | jq 'select(.state == \"no\")'
      what does not work here
  processguard probe >/dev/null && processguard trace
      trace only where a trace can run

";

/// Try what this kernel and these privileges allow; exit status 0 only if `trace` can run
///
/// Every hook is really loaded and attached for a moment; nothing stays behind.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}{HELP}"), after_help = HELP)]
pub(super) struct Arguments {
    /// One JSON object for each thing that was tried: name, state (yes, no, unknown), required, detail,
    /// consequence
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub(super) fn run(&self) -> Result<Code, Failure> {
        let findings = probe::run(&Options {
            kinds: Kind::ALL.to_vec(),
            watch: Watch::All,
            uid: None,
            cgroup: None,
            child_signals: false,
            samples: false,
            ring_bytes: RING_BYTES,
            attach: Attach::Auto,
            kernel_log: false,
            latency: None,
        });
        let text = if self.json { json(&findings) } else { lines(&findings) };
        match Sink::Stdout.write(text.as_bytes()) {
            Ok(()) | Err(output::Error::Closed) => Ok(findings.blocked.map_or(Code::Ok, Code::from)),
            Err(error) => Err(error.into()),
        }
    }
}

const fn word(state: State) -> &'static str {
    match state {
        State::Yes => "yes",
        State::No => "no",
        State::Unknown => "unknown",
    }
}

fn json(findings: &Findings) -> String {
    let line = |finding: &Finding| {
        let Finding { name, state, detail, consequence, required } = finding;
        let object = serde_json::json!({
            "name": name,
            "state": word(*state),
            "required": required,
            "detail": detail,
            "consequence": consequence,
        });
        format!("{object}\n")
    };
    findings.list.iter().map(line).collect()
}

fn lines(findings: &Findings) -> String {
    let width = findings.list.iter().map(|finding| finding.name.len()).max().unwrap_or(0);
    let line = |Finding { name, state, detail, consequence, .. }: &Finding| {
        let detail = escape::message(detail);
        let between = if detail.is_empty() || consequence.is_empty() { "" } else { "; " };
        format!("{:<7}  {name:<width$}  {detail}{between}{consequence}\n", word(*state))
    };
    let verdict = match findings.blocked {
        None => "The trace can run here.\n",
        Some(_) => "The trace cannot run here.\n",
    };
    findings.list.iter().map(line).chain([verdict.to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sensor::ErrorKind;

    fn findings() -> Findings {
        let finding = |name, state, detail: &str, consequence, required| Finding {
            name,
            state,
            detail: detail.to_owned(),
            consequence,
            required,
        };
        Findings {
            list: vec![
                finding("btf", State::Yes, "/sys/kernel/btf/vmlinux", "", true),
                finding("lsm", State::No, "the kernel refused:\nEINVAL", "no enforcement", false),
            ],
            blocked: None,
        }
    }

    #[test]
    fn one_line_each() {
        let expected = "yes      btf  /sys/kernel/btf/vmlinux\n\
                        no       lsm  the kernel refused:\\nEINVAL; no enforcement\n\
                        The trace can run here.\n";
        assert_eq!(lines(&findings()), expected);
        let blocked = Findings { blocked: Some(ErrorKind::Privilege), ..findings() };
        assert!(lines(&blocked).ends_with("The trace cannot run here.\n"));
        for line in json(&findings()).lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
        assert_eq!(json(&findings()).lines().count(), 2);
    }
}
