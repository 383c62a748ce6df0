//! Why a process died of a signal.
//!
//! While a process lives, the signals that could kill it are remembered, one of each number.
//! When its exit record names a signal, the one of that number is the killer:
//!
//! * SIGKILL: the **first** delivered. Nothing survives it, so whatever came later hit the dying.
//! * Any other: the **latest** delivered. A process that outlived an earlier one had a handler;
//!   once one is fatal the kernel reports later ones as ignored or already pending, never as
//!   delivered.
//! * None delivered: the first that found another of its number pending. The pending one itself
//!   was generated before the sensor was attached, or lost.
//!
//! A killer remembered from before a loss of signal records is not trusted, except for SIGKILL:
//! it may have been handled, and the fatal one been lost.

use std::sync::Arc;

use crate::event::{Cause, Cgroup, ExitStatus, Origin, Sender, Signal, SignalResult};
use crate::ids::ProcId;
use crate::limits::REMEMBERED_SIGNALS;

const SIGKILL: u32 = 9;

/// Signals whose default is not death (Linux numbers of x86, Arm and RISC-V): SIGCHLD, SIGCONT,
/// SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH.
const HARMLESS: [u32; 8] = [17, 18, 19, 20, 21, 22, 23, 28];

/// What is known about a living process that may explain its death.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    /// At most [`REMEMBERED_SIGNALS`], the one touched last at the end.
    signals: Vec<Seen>,
    /// The out-of-memory killer chose it; with its memory control group.
    oom: Option<Option<Arc<Cgroup>>>,
}

#[derive(Clone, Debug)]
struct Seen {
    number: u32,
    /// Queued, and not merely the like of one already pending.
    delivered: bool,
    /// Losses of signal records before it.
    losses: u32,
    cause: Cause,
}

/// A cause, and whether an out-of-memory record may still overturn it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) cause: Cause,
    pub(crate) open: bool,
}

/// Whether a signal is worth remembering.
pub(crate) fn can_kill(signal: &Signal) -> bool {
    !HARMLESS.contains(&signal.number)
        && !matches!(signal.result, SignalResult::Ignored | SignalResult::Overflow)
}

impl Evidence {
    /// Remembers a signal to `target`; `losses` counts the losses of signal records so far.
    pub(crate) fn add_signal(&mut self, target: ProcId, signal: &Signal, losses: u32) {
        let seen = Seen {
            number: signal.number,
            delivered: signal.result != SignalResult::Pending,
            losses,
            cause: cause_of(target, &signal.origin),
        };
        if let Some(index) = self.signals.iter().position(|old| old.number == seen.number) {
            let outdated = |old: &Seen| seen.delivered && !(old.delivered && seen.number == SIGKILL);
            if !self.signals.get(index).is_some_and(outdated) {
                return;
            }
            self.signals.remove(index);
        } else if self.signals.len() >= REMEMBERED_SIGNALS {
            let oldest = self.signals.iter().position(|old| old.number != SIGKILL).unwrap_or(0);
            self.signals.remove(oldest);
        }
        self.signals.push(seen);
    }

    /// Remembers that the out-of-memory killer chose the process.
    pub(crate) fn add_oom(&mut self, memory_cgroup: Option<Arc<Cgroup>>) {
        self.oom = Some(memory_cgroup);
    }
}

/// Judges a death by what was remembered. A mark of the out-of-memory killer alone proves
/// nothing: it also marks processes that were already on their way out.
pub(crate) fn judge(status: ExitStatus, evidence: Option<&Evidence>, losses: u32) -> Verdict {
    let closed = |cause| Verdict { cause, open: false };
    let ExitStatus::Signal { number, .. } = status else { return closed(Cause::Own) };
    let number = u32::from(number);
    let killer = evidence
        .and_then(|evidence| evidence.signals.iter().find(|seen| seen.number == number))
        .filter(|seen| number == SIGKILL || seen.losses == losses)
        .map_or(Cause::Unknown, |seen| seen.cause.clone());
    if number != SIGKILL || !matches!(killer, Cause::Kernel | Cause::Unknown) {
        return closed(killer);
    }
    match evidence.and_then(|evidence| evidence.oom.clone()) {
        Some(memory_cgroup) => closed(Cause::Oom(memory_cgroup)),
        None => Verdict { cause: killer, open: true },
    }
}

fn cause_of(target: ProcId, origin: &Origin) -> Cause {
    match origin {
        Origin::Process(sender) if is_self(target, sender) => Cause::Own,
        Origin::Process(sender) => Cause::Signal(sender.clone()),
        Origin::Fault => Cause::Fault,
        Origin::Kernel | Origin::Timer => Cause::Kernel,
    }
}

/// Two processes with one pid never live at the same time: a missing start time does not matter.
fn is_self(target: ProcId, sender: &Sender) -> bool {
    let starts = [target.start_ns, sender.id.start_ns];
    target.pid == sender.id.pid && (starts.contains(&0) || target.start_ns == sender.id.start_ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Name;

    const TARGET: ProcId = ProcId { pid: 7, start_ns: 70 };

    fn sender(pid: u32) -> Sender {
        Sender {
            id: ProcId { pid, start_ns: u64::from(pid) * 10 },
            name: Name::from_bytes(b"bash"),
            uid: 1000,
        }
    }

    fn signal(number: u32, origin: Origin, result: SignalResult) -> Signal {
        Signal { number, code: 0, origin, result, thread: None, value: 0 }
    }

    fn from(number: u32, pid: u32, result: SignalResult) -> Signal {
        signal(number, Origin::Process(sender(pid)), result)
    }

    fn judged(number: u8, signals: &[Signal]) -> Cause {
        let mut evidence = Evidence::default();
        signals
            .iter()
            .filter(|signal| can_kill(signal))
            .for_each(|signal| evidence.add_signal(TARGET, signal, 0));
        judge(ExitStatus::Signal { number, core: false }, Some(&evidence), 0).cause
    }

    #[test]
    fn the_killer_by_signal() {
        use SignalResult::{Delivered, Ignored, LostInfo, Overflow, Pending};
        let by = |pid| Cause::Signal(sender(pid));
        for (why, number, signals, expected) in [
            ("nothing seen", 15, vec![], Cause::Unknown),
            ("another number", 15, vec![from(2, 1, Delivered)], Cause::Unknown),
            ("one sender", 15, vec![from(15, 1, Delivered)], by(1)),
            ("itself", 6, vec![from(6, 7, Delivered)], Cause::Own),
            ("first handled, second fatal", 15, vec![from(15, 1, Delivered), from(15, 2, Delivered)], by(2)),
            ("second SIGKILL hits the dying", 9, vec![from(9, 1, Delivered), from(9, 2, Delivered)], by(1)),
            ("second found the first pending", 15, vec![from(15, 1, Delivered), from(15, 2, Pending)], by(1)),
            ("only a pending one", 15, vec![from(15, 1, Pending), from(15, 2, Pending)], by(1)),
            ("delivered beats pending", 9, vec![from(9, 1, Pending), from(9, 2, Delivered)], by(2)),
            (
                "ignored and lost ones do not kill",
                34,
                vec![from(34, 1, LostInfo), from(34, 2, Ignored), from(34, 3, Overflow)],
                by(1),
            ),
            ("fault", 11, vec![signal(11, Origin::Fault, Delivered)], Cause::Fault),
            ("kernel", 1, vec![signal(1, Origin::Kernel, Delivered)], Cause::Kernel),
            ("timer", 14, vec![signal(14, Origin::Timer, Delivered)], Cause::Kernel),
            (
                "harmless ones push nothing out",
                15,
                [from(15, 1, Delivered)]
                    .into_iter()
                    .chain(HARMLESS.map(|number| from(number, 2, Delivered)))
                    .collect(),
                by(1),
            ),
            (
                "SIGKILL is never pushed out",
                9,
                [from(9, 1, Delivered)]
                    .into_iter()
                    .chain((30..60).map(|number| from(number, 2, Delivered)))
                    .collect(),
                by(1),
            ),
        ] {
            assert_eq!(judged(number, &signals), expected, "{why}");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut evidence = Evidence::default();
        (1..=64).for_each(|n| evidence.add_signal(TARGET, &from(n, 1, SignalResult::Delivered), 0));
        assert_eq!(evidence.signals.len(), REMEMBERED_SIGNALS);
    }

    #[test]
    fn only_a_sigkill_without_sender_stays_open() {
        let kill = ExitStatus::Signal { number: 9, core: false };
        assert_eq!(judge(kill, None, 0), Verdict { cause: Cause::Unknown, open: true });
        assert!(!judge(ExitStatus::Signal { number: 15, core: false }, None, 0).open);
        assert_eq!(judge(ExitStatus::Code(3), None, 0), Verdict { cause: Cause::Own, open: false });

        let mut evidence = Evidence::default();
        evidence.add_signal(TARGET, &signal(9, Origin::Kernel, SignalResult::Delivered), 0);
        assert_eq!(judge(kill, Some(&evidence), 0), Verdict { cause: Cause::Kernel, open: true });
        evidence.add_oom(None);
        assert_eq!(judge(kill, Some(&evidence), 0), Verdict { cause: Cause::Oom(None), open: false });
    }

    #[test]
    fn a_marked_process_that_another_killed_or_that_exits_is_no_oom_death() {
        let mut evidence = Evidence::default();
        evidence.add_signal(TARGET, &from(9, 1, SignalResult::Delivered), 0);
        evidence.add_oom(None);
        let kill = ExitStatus::Signal { number: 9, core: false };
        assert_eq!(judge(kill, Some(&evidence), 0).cause, Cause::Signal(sender(1)));
        assert_eq!(judge(ExitStatus::Code(0), Some(&evidence), 0).cause, Cause::Own);
    }

    #[test]
    fn after_a_loss_only_sigkill_is_trusted() {
        let mut evidence = Evidence::default();
        evidence.add_signal(TARGET, &from(15, 1, SignalResult::Delivered), 0);
        evidence.add_signal(TARGET, &from(9, 2, SignalResult::Delivered), 0);
        let cause = |number| judge(ExitStatus::Signal { number, core: false }, Some(&evidence), 1).cause;
        assert_eq!(cause(15), Cause::Unknown);
        assert_eq!(cause(9), Cause::Signal(sender(2)));
    }
}
