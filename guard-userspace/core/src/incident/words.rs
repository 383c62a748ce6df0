//! Causes in words.

use crate::event::{Cause, Exit, ExitStatus, Origin, Sender, Signal};
use crate::names::SignalName;

/// How a process ended: `killed by SIGKILL from bash[6937]`.
pub(super) fn death(exit: &Exit) -> String {
    match (&exit.cause, exit.status) {
        (_, ExitStatus::Code(code)) => format!("exit code {code}"),
        (_, ExitStatus::Unknown) => "ended, and nobody saw how".to_owned(),
        (cause, ExitStatus::Signal { number, core }) => {
            let name = SignalName(number.into());
            let core = if core { " and dumped core" } else { "" };
            match cause {
                Cause::Oom(group) => match group.as_ref().and_then(|group| group.path.as_deref()) {
                    Some(path) => format!("killed for lack of memory in {}", path.escape_debug()),
                    None => "killed for lack of memory".to_owned(),
                },
                Cause::Fault => format!("crashed with {name}{core}"),
                Cause::Signal(sender) => format!("killed by {name} from {}{core}", who(sender)),
                Cause::Kernel => format!("killed by {name} from the kernel{core}"),
                Cause::Own => format!("killed itself with {name}{core}"),
                Cause::Unknown | Cause::RecordLost => format!("killed by {name}{core}"),
            }
        }
    }
}

/// A signal: `SIGKILL from bash[6937]`.
pub(super) fn signal(signal: &Signal) -> String {
    let name = SignalName(signal.number);
    match &signal.origin {
        Origin::Process(sender) => format!("{name} from {}", who(sender)),
        Origin::Kernel => format!("{name} from the kernel"),
        Origin::Fault => format!("{name} by its own fault"),
        Origin::Timer => format!("{name} from its own timer"),
    }
}

fn who(sender: &Sender) -> String {
    format!("{}[{}]", sender.name.as_bytes().escape_ascii(), sender.id.pid)
}
