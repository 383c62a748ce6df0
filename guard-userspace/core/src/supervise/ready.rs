//! When an instance is ready: its program runs, it listens, says so, answers, or has lived for long enough.

use std::sync::Arc;

use crate::policy::model::{Port, Probe, Readiness, TcpProbe};

use super::effect::Ask;
use super::input::Answer;
use super::instance::{Instance, Phase, Why};
use super::unit::{Turn, Unit};

/// The shortest and the longest time between two questions whether an instance is ready, in nanoseconds. In between: a tenth
/// of the time since its start.
const READY_EVERY_NS: (u64, u64) = (10_000_000, 1_000_000_000);

impl Unit {
    /// An instance is ready.
    pub(super) fn is_ready(&mut self, number: u32, what: &str, turn: &Turn<'_>) {
        let policy = Arc::clone(&self.policy);
        let Some(instance) = self.instances.get_mut(&number) else { return };
        if let Phase::Up(up) = &mut instance.phase
            && up.ready_ns.is_none()
        {
            (up.ready_ns, up.ask_ns) = (Some(turn.now_ns), None);
            instance.why = Why::new(what, turn.now_ns);
            instance.checks.begin(&policy, Some(number), &self.dice, turn.now_ns);
        }
    }

    /// An instance, or one of its descendants, listens on a port.
    pub(super) fn listens(&mut self, number: u32, port: u16, turn: &Turn<'_>) {
        if self.ready_port(number) == Some(port) {
            self.is_ready(number, &format!("it listens on port {port}"), turn);
        }
    }

    /// It said `READY=1`.
    pub(super) fn notified(&mut self, number: u32, turn: &Turn<'_>) {
        if self.notifies() {
            self.is_ready(number, "it said READY=1", turn);
        }
    }

    /// What the readiness probe found.
    pub(super) fn ready_answer(&mut self, number: u32, question: u64, answer: &Answer, turn: &Turn<'_>) {
        let Some(Instance { phase: Phase::Up(up), .. }) = self.instances.get_mut(&number) else { return };
        if up.asked.take_if(|asked| *asked == question).is_none() {
            return;
        }
        if *answer == Answer::Pass {
            let listens = self.ready_port(number).map(|port| format!("it listens on port {port}"));
            let what = listens.as_deref().unwrap_or("its readiness probe passed");
            return self.is_ready(number, what, turn);
        }
        if up.ready_ns.is_none() {
            let (shortest, longest) = READY_EVERY_NS;
            let wait = (turn.now_ns.saturating_sub(up.since_ns) / 10).clamp(shortest, longest);
            up.ask_ns = Some(turn.now_ns.saturating_add(wait));
        }
    }

    /// Asks an instance whether it is ready, where it can be asked.
    pub(super) fn ask_whether_ready(&mut self, number: u32, turn: &mut Turn<'_>) {
        let probe = self.ready_probe(number);
        let subject = self.subject(Some(number));
        let Some(Instance { phase: Phase::Up(up), .. }) = self.instances.get_mut(&number) else { return };
        up.ask_ns = None;
        if let Some(probe) = probe {
            up.asked = Some(turn.shared.ask(self.slot, subject, None, Ask::Probe(Box::new(probe))));
        }
    }

    /// What shows that an instance is ready, if it can be asked. Where it listens is told by the kernel; only an instance that lived
    /// while nobody listened to that is asked.
    fn ready_probe(&self, number: u32) -> Option<Probe> {
        match &self.policy.ready.by {
            Readiness::Probe(probe) => Some(self.fill(number).probe(probe)),
            Readiness::Listen(_) => {
                let address = format!("127.0.0.1:{}", self.ready_port(number)?);
                Some(Probe::Tcp(TcpProbe { address, send: None, expect: None, timeout: READY_EVERY_NS.1 }))
            }
            _ => None,
        }
    }

    /// Where an instance listens when it is ready.
    fn ready_port(&self, number: u32) -> Option<u16> {
        match self.policy.ready.by {
            Readiness::Listen(Port::Fixed(fixed)) => Some(fixed),
            Readiness::Listen(Port::Instance) => self.run().and_then(|run| run.port(number)),
            _ => None,
        }
    }
}
