//! Keys to the model.

use std::collections::BTreeMap;

use super::keys::{BehaviourKeys, HookKeys, HooksKeys, MomentKeys, ReplyKeys, ScenarioKeys, SignalsKeys};
use super::mentions::{Mention, Mentioned};
use super::texts::{self, Delaying, Ending, Whom};
use crate::rehearse::scenario::{
    Behaviour, Gauge, Happening, HookPlay, Look, Moment, Queue, Reply, Says, Scenario, Timed,
};
use crate::rehearse::series::Series;
use crate::supervise::Subject;

pub(super) fn build(keys: &ScenarioKeys, mentions: &mut Vec<Mention>) -> Scenario {
    let world = keys.world.0.iter().map(|(whom, behaviour)| {
        let whom = texts::subject(&whom.0);
        mentions.push(Mention::subject(whom.clone(), behaviour.at));
        let said = self::behaviour(behaviour, &whom, mentions);
        (whom, said)
    });
    let world = world.collect();
    let queues = keys.queues.0.iter().map(|(name, queue)| {
        mentions.push(Mention::of(&queue.service));
        let service = queue.service.subject.service.to_string();
        (name.0.to_string(), Queue { arrives: queue.arrives.0.clone(), service, each: queue.each.0 })
    });
    let queues = queues.collect();
    let mut timeline: Vec<Moment> =
        keys.timeline.0.iter().map(|moment| self::moment(moment, mentions)).collect();
    timeline.sort_by_key(|moment| moment.at);
    Scenario {
        title: keys.scenario.0.to_string(),
        policies: keys.policies.0.iter().map(|path| path.0.to_string()).collect(),
        seed: keys.seed.to(),
        begins_s: keys.begins.0,
        lasts: keys.lasts.0,
        // More often than that, a rehearsal of a day takes minutes.
        sample: keys.sample.0.max(100_000_000),
        world,
        queues,
        timeline,
    }
}

fn behaviour(keys: &BehaviourKeys, subject: &Subject, mentions: &mut Vec<Mention>) -> Behaviour {
    let delay = |delay: &Option<Delaying>| delay.map(|delay| delay.0);
    let checks = keys.checks.0.iter().map(|(name, reply)| {
        let check = Mentioned::Check(
            subject.clone(),
            name.0.to_string(),
            reply.number.is_some() || reply.queue.is_some(),
        );
        mentions.push(Mention { spot: reply.at, what: check });
        (name.0.to_string(), self::reply(reply, mentions))
    });
    let checks = checks.collect();
    Behaviour {
        exist: keys.exist.map(|count| count.to()),
        process: keys.process.as_ref().map(|look| Look {
            exe: look.exe.as_ref().map(|path| path.0.to_string()),
            command: look.command.0.iter().map(|word| word.0.to_string()).collect(),
            uid: look.uid.map(|uid| uid.to()),
            cgroup: look.cgroup.as_ref().map(|path| path.0.to_string()),
            unit: look.unit.as_ref().map(|unit| unit.0.to_string()),
            container: look.container.as_ref().map(|id| id.0.to_string()),
            listens: look.listens.map(|port| port.to()),
        }),
        start_fails: keys.start_fails.as_ref().map(|text| text.0.to_string()),
        ready_in: delay(&keys.ready_in),
        stops_in: delay(&keys.stops_in),
        ends: keys.ends.map(|end| end.0),
        dies: keys.dies.as_ref().map(|dying| (dying.after.0, dying.how.0)),
        progress: keys.progress,
        signals: signals(&keys.signals),
        checks,
        hooks: hooks(&keys.hooks),
    }
}

fn signals(keys: &SignalsKeys) -> BTreeMap<Gauge, Timed> {
    let all: [(Gauge, Option<&Series>); 15] = [
        (Gauge::Cpu, keys.cpu.as_ref().map(|series| &series.0)),
        (Gauge::MemoryRss, keys.memory_rss.as_ref().map(|series| &series.0)),
        (Gauge::MemoryPss, keys.memory_pss.as_ref().map(|series| &series.0)),
        (Gauge::MemorySwap, keys.memory_swap.as_ref().map(|series| &series.0)),
        (Gauge::MemoryShare, keys.memory_share.as_ref().map(|series| &series.0)),
        (Gauge::FilesOpen, keys.files_open.as_ref().map(|series| &series.0)),
        (Gauge::FilesShare, keys.files_share.as_ref().map(|series| &series.0)),
        (Gauge::Threads, keys.threads.as_ref().map(|series| &series.0)),
        (Gauge::IoRead, keys.io_read.as_ref().map(|series| &series.0)),
        (Gauge::IoWrite, keys.io_write.as_ref().map(|series| &series.0)),
        (Gauge::RunQueueP99, keys.run_queue.as_ref().map(|series| &series.0)),
        (Gauge::Uninterruptible, keys.uninterruptible.as_ref().map(|series| &series.0)),
        (Gauge::PressureCpu, keys.pressure_cpu.as_ref().map(|series| &series.0)),
        (Gauge::PressureMemory, keys.pressure_memory.as_ref().map(|series| &series.0)),
        (Gauge::PressureIo, keys.pressure_io.as_ref().map(|series| &series.0)),
    ];
    all.into_iter().filter_map(|(gauge, series)| Some((gauge, Timed::with_life(series?.clone())))).collect()
}

fn reply(keys: &ReplyKeys, mentions: &mut Vec<Mention>) -> Reply {
    let says = if let Some(how) = &keys.fail {
        Says::Fail(how.0.to_string())
    } else if let Some(why) = &keys.error {
        Says::Error(why.0.to_string())
    } else if let Some(series) = &keys.number {
        Says::Number(Timed::with_life(series.0.clone()))
    } else if let Some(queue) = &keys.queue {
        let name = queue.subject.service.to_string();
        mentions.push(Mention { spot: queue.spot, what: Mentioned::Queue(name.clone()) });
        Says::Queue(name)
    } else {
        Says::Pass
    };
    let takes = keys.takes.as_ref().map(|series| Timed::with_life(series.0.clone()));
    Reply { says, takes: takes.unwrap_or(Reply::pass().takes) }
}

fn hooks(keys: &HooksKeys) -> BTreeMap<String, HookPlay> {
    let all = [
        ("demote", &keys.demote),
        ("fence", &keys.fence),
        ("promote", &keys.promote),
        ("requeue", &keys.requeue),
        ("exec", &keys.exec),
    ];
    let play = |hook: &HookKeys| HookPlay {
        takes: hook.takes.0,
        fails: hook.fails.as_ref().map(|text| text.0.to_string()),
    };
    all.into_iter().filter_map(|(name, hook)| Some((name.to_owned(), play(hook.as_ref()?)))).collect()
}

fn moment(keys: &MomentKeys, mentions: &mut Vec<Mention>) -> Moment {
    let all = [&keys.of, &keys.start, &keys.stop, &keys.restart, &keys.approve, &keys.deny];
    mentions.extend(all.into_iter().flatten().map(Mention::of));
    let whom = keys.of.as_ref().map(|whom| whom.subject.clone());
    let name = |whom: &Whom| whom.subject.service.to_string();
    let mut happens = |behaviour: &Option<BehaviourKeys>, make: fn(Subject, Box<Behaviour>) -> Happening| {
        let (behaviour, whom) = (behaviour.as_ref()?, whom.clone()?);
        let said = self::behaviour(behaviour, &whom, mentions);
        Some(make(whom, Box::new(said)))
    };
    let what = happens(&keys.becomes, Happening::Becomes)
        .or_else(|| happens(&keys.from_now_on, Happening::FromNowOn))
        .or_else(|| Some(Happening::Dies(whom.clone()?, dies(keys.dies?))))
        .or_else(|| keys.start.as_ref().map(|whom| Happening::Start(name(whom))))
        .or_else(|| keys.stop.as_ref().map(|whom| Happening::Stop(name(whom))))
        .or_else(|| keys.restart.as_ref().map(|whom| Happening::Restart(whom.subject.clone())))
        .or_else(|| keys.approve.as_ref().map(|whom| Happening::Approve(name(whom))))
        .or_else(|| keys.deny.as_ref().map(|whom| Happening::Deny(name(whom))))
        .or_else(|| keys.lost.map(|span| Happening::Lost(span.0)));
    let scale = keys.scale.as_ref().map(|scale| {
        mentions.push(Mention::of(&scale.service));
        Happening::Scale(name(&scale.service), scale.to.to())
    });
    Moment {
        at: keys.at_time.0,
        note: keys.note.as_ref().map(|text| text.0.to_string()),
        what: what.or(scale).unwrap_or(Happening::Nothing),
    }
}

const fn dies(end: Ending) -> crate::rehearse::scenario::End {
    end.0
}
