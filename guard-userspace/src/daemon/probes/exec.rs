//! Programs whose exit code is the answer, or whose first word is a number.

use std::path::Path;

use guard_core::policy::model::ExecProbe;

use super::verdict::Bad;
use crate::daemon::others::program::{Ended, Error, Program};

/// Whether a program is content.
pub(super) async fn probe(probe: &ExecProbe, group: Option<&Path>) -> Result<(), Bad> {
    let ended = run(probe, group).await?;
    if is_good(&ended, probe) { Ok(()) } else { Bad::fail(told(ended)) }
}

/// The first word that a program prints.
pub(super) async fn number(probe: &ExecProbe, group: Option<&Path>) -> Result<f64, Bad> {
    let ended = run(probe, group).await?;
    if !is_good(&ended, probe) {
        return Bad::own(told(ended));
    }
    let text = String::from_utf8_lossy(ended.said.out.head());
    let Some(word) = text.split_whitespace().next() else {
        return Bad::own("the program printed nothing, and no number");
    };
    match word.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Bad::own(format!(
            "the program printed `{}`, which is no number",
            crate::show::escape::display(word.as_bytes())
        )),
    }
}

async fn run(probe: &ExecProbe, cgroup: Option<&Path>) -> Result<Ended, Bad> {
    let program = Program {
        command: &probe.command,
        user: probe.user.as_deref(),
        timeout: probe.timeout,
        cgroup,
        ..Program::default()
    };
    program.run().await.map_err(|error| match error {
        late @ Error::Late { .. } => Bad::Fail(crate::daemon::others::in_words(&late)),
        other => Bad::Own(crate::daemon::others::in_words(&other)),
    })
}

fn is_good(ended: &Ended, probe: &ExecProbe) -> bool {
    ended.status.code().is_some_and(|code| probe.success.iter().any(|&good| i32::from(good) == code))
}

fn told(ended: Ended) -> String {
    format!("{}{}", ended.how(), ended.said.last().first_line())
}
