//! What questions find.

use super::{AT_ONCE, BOOT_NS, Fed, World};
use crate::policy::model::Probe;
use crate::rehearse::scenario::{Gauge, Reply, Says};
use crate::supervise::{Answer, Ask, Question};

/// Bytes that a process which makes progress writes to its log each second.
const LOG_RATE: u64 = 100;

/// Resident memory of a process of which nothing is said, in bytes.
pub(super) const RSS_BYTES: f64 = 50.0 * 1024.0 * 1024.0;

impl World<'_> {
    pub(super) fn ask(&mut self, now_ns: u64, question: &Question) {
        let (answer, took_ns) = match &question.ask {
            Ask::Probe(probe) => self.probe(now_ns, question, probe),
            Ask::Number(source) => self.replied(now_ns, question, source.timeout()),
            Ask::Changed(_) => (self.changed(now_ns, question), AT_ONCE),
            Ask::Logged(id) => {
                let life = self.place(*id).and_then(|place| self.lives.get(&place));
                let moved = life.map(|life| life.progress(now_ns).0);
                let bytes = moved.map(|moved| Answer::Number((moved / super::SECOND * LOG_RATE) as f64));
                (bytes.unwrap_or_else(ended), AT_ONCE)
            }
            Ask::Pss(ids) => {
                let places = ids.iter().filter_map(|id| self.place(*id));
                let bytes: f64 = places
                    .map(|place| {
                        let read = |gauge| self.gauge(now_ns, &place, gauge);
                        read(Gauge::MemoryPss).or_else(|| read(Gauge::MemoryRss)).unwrap_or(RSS_BYTES)
                    })
                    .sum();
                (Answer::Number(bytes), AT_ONCE)
            }
        };
        self.tell(now_ns.saturating_add(took_ns), Fed::Answered { question: question.id, answer, took_ns });
    }

    fn probe(&self, now_ns: u64, question: &Question, probe: &Probe) -> (Answer, u64) {
        let subject = &question.subject;
        let life = subject.instance.and_then(|instance| self.lives.get(&(subject.service.clone(), instance)));
        let somebody =
            self.lives.iter().any(|((service, _), life)| *service == subject.service && life.ready);
        let is_ready =
            if subject.instance.is_some() { life.is_some_and(|life| life.ready) } else { somebody };
        let timeout_ns = probe.timeout();
        if life.is_some_and(|life| life.frozen) {
            return late(timeout_ns);
        }
        let refused = || (Answer::Fail("connection refused".to_owned()), AT_ONCE);
        match (&question.check, probe) {
            (None, _) if is_ready => (Answer::Pass, AT_ONCE),
            (None, Probe::Exec(_)) => (Answer::Fail("exit code 1".to_owned()), AT_ONCE),
            (None, _) => refused(),
            (Some(_), Probe::Exec(_)) => self.replied(now_ns, question, timeout_ns),
            (Some(_), _) if is_ready => self.replied(now_ns, question, timeout_ns),
            (Some(_), _) => refused(),
        }
    }

    fn replied(&self, now_ns: u64, question: &Question, timeout_ns: u64) -> (Answer, u64) {
        let name = question.check.as_deref().unwrap_or_default();
        let reply = self.said(&question.subject, |said| said.checks.get(name).cloned());
        let reply = reply.unwrap_or_else(Reply::pass);
        let instance = question.subject.instance.unwrap_or_default();
        let life = self.lives.get(&(question.subject.service.clone(), instance));
        let born_ns = life.map_or(BOOT_NS, |life| life.born_ns);
        let took_ns = reply.takes.at(now_ns, born_ns).max(0.0) as u64;
        if took_ns > timeout_ns {
            return late(timeout_ns);
        }
        let number = matches!(question.ask, Ask::Number(_));
        let answer = match reply.says {
            Says::Pass if number => Answer::Error("the scenario says no number".to_owned()),
            Says::Pass => Answer::Pass,
            Says::Fail(how) => Answer::Fail(how),
            Says::Error(why) => Answer::Error(why),
            Says::Number(timed) => Answer::Number(timed.at(now_ns, born_ns)),
            Says::Queue(name) => self.queues.get(&name).map_or_else(
                || Answer::Error(format!("the scenario has no queue `{name}`")),
                |length| Answer::Number(*length),
            ),
        };
        (answer, took_ns)
    }

    fn changed(&self, now_ns: u64, question: &Question) -> Answer {
        let subject = &question.subject;
        let all = self.lives.iter().filter(|((service, instance), _)| {
            *service == subject.service && subject.instance.is_none_or(|wanted| wanted == *instance)
        });
        let last_ns = all.map(|(_, life)| life.progress(now_ns).1).max();
        // Files have times of the calendar.
        let of_calendar = |last_ns: u64| (last_ns - BOOT_NS) as f64 + self.scenario.begins_s as f64 * 1e9;
        last_ns.map_or_else(ended, |last_ns| Answer::Number(of_calendar(last_ns.max(BOOT_NS))))
    }
}

fn ended() -> Answer {
    Answer::Error("it has ended".to_owned())
}

fn late(timeout_ns: u64) -> (Answer, u64) {
    (Answer::Fail("no answer in time".to_owned()), timeout_ns)
}
