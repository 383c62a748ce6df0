//! The keys of a scenario's file.

use super::numbers::{Counts, Durations, Numbers, Percents, Sizes};
use super::texts::{Delaying, Ending, Instant, Whom, WhomText};
use crate::policy::language::{AbsolutePath, Argument, Name, Version};
use crate::policy::read::{Duration, Int, List, Map, Nothing, Number, Text};

keys! {
    /// A world and what happens in it, in which policies are rehearsed.
    struct ScenarioKeys as "scenario" {
        /// The language that this is written in.
        _version("version"): Version,
        /// What it shows, in a line.
        scenario: Text,
        /// Files of policies, beside this one.
        policies: List<Text, 1>,
        /// Seed of all dice.
        seed: Int<0, 9_007_199_254_740_991> = "1",
        /// When it begins, in UTC.
        begins: Instant = "2026-01-05T09:00:00Z",
        /// How long it lasts.
        lasts: Duration,
        /// How often processes are sampled.
        sample: Duration = "1s",
        /// How processes behave, by `service` or `service/instance`.
        world: Map<WhomText, BehaviourKeys> = "{}",
        /// Queues that services work off.
        queues: Map<Name, QueueKeys> = "{}",
        /// What happens.
        timeline: List<MomentKeys> = "[]",
    }
}

keys! {
    /// How processes behave. What is not said is as it was before.
    struct BehaviourKeys as "behaviour" {
        /// Of an adopted service: how many main processes there are at the beginning. Without it: 1.
        exist: Option<Int<0, 1024>>,
        /// Of an adopted service: what its processes look like, where its policy does not say it.
        process: Option<LookKeys>,
        /// A start fails, and how.
        start_fails: Option<Text>,
        /// From the start until it is ready. Without it: 300ms.
        ready_in: Option<Delaying>,
        /// From the signal that asks for it until it has ended. Without it: 100ms.
        stops_in: Option<Delaying>,
        /// How it ends then. Without it: by that signal.
        ends: Option<Ending>,
        /// It ends by itself.
        dies: Option<DyingKeys>,
        /// Its log and its marker file move on. Without it: true.
        progress: Option<bool>,
        /// What it uses.
        signals: SignalsKeys = "{}",
        /// What its checks find. Without it: all pass, within 5ms.
        checks: Map<Name, ReplyKeys> = "{}",
        /// How programs go that are run for it. Without it: well, within 100ms.
        hooks: HooksKeys = "{}",
    }
}

keys! {
    /// What an adopted process looks like.
    struct LookKeys as "look" {
        /// Its executable.
        exe: Option<AbsolutePath>,
        /// Program and arguments.
        command: List<Argument> = "[]",
        /// Its user's number.
        uid: Option<Int<0, 4_294_967_294>>,
        /// Its control group.
        cgroup: Option<Text>,
        /// Its systemd unit.
        unit: Option<Text>,
        /// Its container: the beginning of the id.
        container: Option<Text>,
        /// The TCP port that it listens on once it is ready.
        listens: Option<Int<1, 65_535>>,
    }
}

keys! {
    /// An end by itself.
    struct DyingKeys as "death" {
        /// So long after its start.
        after: Duration,
        /// How: `exit 1`, `SIGSEGV` or `oom`.
        how("as"): Ending,
    }
}

keys! {
    /// What a process uses, as it changes from its start on.
    struct SignalsKeys as "signals of a process" {
        /// CPU time, in percent of one core. Without it: 1%.
        cpu: Option<Percents>,
        /// Resident memory. Without it: 50MiB.
        memory_rss("memory.rss"): Option<Sizes>,
        /// Memory in proportion. Without it: as much as is resident.
        memory_pss("memory.pss"): Option<Sizes>,
        /// Memory that was swapped out.
        memory_swap("memory.swap"): Option<Sizes>,
        /// Share of the control group's memory limit. Without it: resident memory in it.
        memory_share("memory.share"): Option<Percents>,
        /// Open files. Without it: 32.
        files_open("files.open"): Option<Counts>,
        /// Share of the limit on open files.
        files_share("files.share"): Option<Percents>,
        /// Threads. Without it: 4.
        threads: Option<Counts>,
        /// Bytes read, in a second.
        io_read("io.read"): Option<Sizes>,
        /// Bytes written, in a second.
        io_write("io.write"): Option<Sizes>,
        /// How long threads wait for a CPU.
        run_queue("run_queue.p99"): Option<Durations>,
        /// How long it sleeps uninterruptibly.
        uninterruptible("uninterruptible.time"): Option<Durations>,
        /// Share of time in which something waits for a CPU.
        pressure_cpu("pressure.cpu"): Option<Percents>,
        /// Share of time in which something waits for memory.
        pressure_memory("pressure.memory"): Option<Percents>,
        /// Share of time in which something waits for input or output.
        pressure_io("pressure.io"): Option<Percents>,
    }
}

keys! {
    /// What a check finds. The word `pass` alone: all is well.
    struct ReplyKeys as "reply", words ["pass"], lone ["pass", "fail", "error", "number", "queue"] {
        /// All is well.
        _pass("pass"): Option<Nothing>,
        /// It is not, and how.
        fail: Option<Text>,
        /// It cannot be asked, and why.
        error: Option<Text>,
        /// A number.
        number: Option<Numbers>,
        /// The length of this queue.
        queue: Option<Whom>,
        /// How long the answer takes. Without it: 5ms.
        takes: Option<Durations>,
    }
}

keys! {
    /// How programs go that are run for a service.
    struct HooksKeys as "hooks" {
        /// The one that asks the old primary to step down.
        demote: Option<HookKeys>,
        /// The one that shuts the old primary out.
        fence: Option<HookKeys>,
        /// The one that makes the standby the primary.
        promote: Option<HookKeys>,
        /// The one that gives back what an instance held.
        requeue: Option<HookKeys>,
        /// Any other.
        exec: Option<HookKeys>,
    }
}

keys! {
    /// How a program goes.
    struct HookKeys as "hook" {
        /// How long it takes.
        takes: Delaying = "100ms",
        /// It fails, and how.
        fails: Option<Text>,
    }
}

keys! {
    /// A queue.
    struct QueueKeys as "queue" {
        /// What comes in, in a second.
        arrives: Numbers,
        /// The service that works it off.
        service: Whom,
        /// How much of it each ready instance does in a second.
        each: Number,
    }
}

keys! {
    /// Something that happens at a time.
    struct MomentKeys as "moment",
        lone ["becomes", "from_now_on", "dies", "start", "stop", "restart", "scale", "approve", "deny", "lost"],
        with ("becomes", "of"), with ("from_now_on", "of"), with ("dies", "of") {
        /// How long after the beginning.
        at_time("at"): Duration,
        /// What to tell the reader.
        note: Option<Text>,
        /// Whom it happens to: `service` or `service/instance`.
        of: Option<Whom>,
        /// The processes that live now behave like this until they end.
        becomes: Option<BehaviourKeys>,
        /// All behave like this from now on.
        from_now_on: Option<BehaviourKeys>,
        /// They end: `exit 1`, `SIGSEGV` or `oom`.
        dies: Option<Ending>,
        /// An operator starts this service.
        start: Option<Whom>,
        /// An operator stops this service.
        stop: Option<Whom>,
        /// An operator restarts this service or instance.
        restart: Option<Whom>,
        /// An operator wants so many instances.
        scale: Option<ScaleKeys>,
        /// Whoever is asked agrees to what waits for approval for this service.
        approve: Option<Whom>,
        /// Whoever is asked does not agree.
        deny: Option<Whom>,
        /// Kernel records are lost, and the process table is uncertain for so long.
        lost: Option<Duration>,
    }
}

keys! {
    /// So many instances.
    struct ScaleKeys as "scaling" {
        /// Of this service.
        service: Whom,
        /// So many.
        to: Int<0, 1024>,
    }
}
