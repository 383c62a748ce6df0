//! The performance envelope (design, section 6), as far as this bench can see it.

use super::{
    contender::{BPFTRACE_ID, OURS, SNOOPS},
    report::Row,
    truth::Account,
};

/// Row 1: all lifecycle programs together, per fork + exec + exit.
const KERNEL_NS: f64 = 3_000.0;
/// Row 2: the reader's processor time per spawn.
const READER_US: f64 = 5.0;
/// Row 1 beside its peers, as a ratio that means the same on every machine: 3 us against 36 and 26 us is a
/// twelfth and a ninth; a quarter leaves room for what a busy machine adds to short programs.
const KERNEL_RATIO: f64 = 0.25;

/// One rule, and what came of it.
pub(super) struct Verdict {
    pub(super) rule: String,
    pub(super) measured: String,
    pub(super) holds: bool,
    /// Counts and ratios decide over the exit code; absolute times, which depend on the machine, are only said.
    pub(super) gates: bool,
}

pub(super) fn check(rows: &[Row], account: Option<&Account>) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let find = |id: &str| rows.iter().find(|row| row.id == id);
    if let Some(ours) = find(OURS) {
        verdicts.extend(absolute(ours));
        for peer in [SNOOPS, BPFTRACE_ID].into_iter().filter_map(find) {
            verdicts.extend(beside(ours, peer));
        }
    }
    verdicts.extend(account.into_iter().flat_map(counted));
    verdicts
}

fn absolute(ours: &Row) -> Vec<Verdict> {
    let kernel = ours.kernel_ns.unwrap_or(f64::NAN);
    let reader = ours.reader_us.unwrap_or(f64::NAN);
    vec![
        Verdict {
            rule: format!("in-kernel cost of fork + exec + exit at most {:.0} us", KERNEL_NS / 1000.0),
            measured: format!("{:.2} us", kernel / 1000.0),
            holds: kernel <= KERNEL_NS,
            gates: false,
        },
        Verdict {
            rule: format!("reader CPU per spawn in a storm at most {READER_US:.0} us"),
            measured: format!("{reader:.2} us"),
            holds: reader <= READER_US,
            gates: false,
        },
    ]
}

fn beside(ours: &Row, peer: &Row) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    if let (Some(mine), Some(theirs)) = (ours.kernel_ns, peer.kernel_ns) {
        verdicts.push(Verdict {
            rule: format!("in-kernel cost at most {KERNEL_RATIO} x that of {}", peer.title),
            measured: format!("{:.3} x", mine / theirs),
            holds: mine / theirs <= KERNEL_RATIO,
            gates: true,
        });
    }
    // The intervals must be apart the wrong way before this fails: wall time of a storm is noisy.
    verdicts.push(Verdict {
        rule: format!("storm slow-down not above that of {}", peer.title),
        measured: format!("{:.3} against {:.3}", ours.slowdown.median, peer.slowdown.median),
        holds: ours.slowdown.low <= peer.slowdown.high,
        gates: true,
    });
    verdicts
}

fn counted(account: &Account) -> Vec<Verdict> {
    let each: Vec<_> = account
        .kinds
        .iter()
        .map(|(kind, count)| format!("{kind} {} + {} lost", count.observed, count.lost))
        .collect();
    vec![
        Verdict {
            rule: "spawned = observed + lost, for fork, exec and exit".to_owned(),
            measured: format!("{} spawned: {}", account.spawned, each.join(", ")),
            holds: account.adds_up(),
            gates: true,
        },
        Verdict {
            rule: "no record lost at the highest storm that the cores can make".to_owned(),
            measured: format!("{} lost", account.lost()),
            holds: account.lost() == 0,
            gates: true,
        },
    ]
}
