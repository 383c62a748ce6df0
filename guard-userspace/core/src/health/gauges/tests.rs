//! What is measured, signal by signal.

use proptest::prelude::*;

use super::*;
use crate::event::Usage;
use crate::policy::model::{Bound, NumberSource, Scope, Threshold};
use crate::resources::{Resources, Stalled};

const SECOND: u64 = 1_000_000_000;

fn gauges(signals: &[Signal]) -> Gauges {
    let check = |signal: &Signal| Check {
        name: signal.name().to_owned(),
        scope: Scope::Instance,
        grace: 0,
        kind: CheckKind::Threshold(Threshold {
            signal: signal.clone(),
            every: SECOND,
            bound: Bound::Above(1.0),
            clear: 1.0,
            hold: 0,
            keep: 0,
            samples: None,
        }),
    };
    Gauges::new(&signals.iter().map(check).collect::<Vec<_>>(), 100 * SECOND)
}

fn id(pid: u32, start_s: u64) -> ProcId {
    ProcId { pid, start_ns: start_s * SECOND }
}

/// A sample `at` seconds after boot.
fn used(id: ProcId, at: u64) -> Resources {
    Resources { id, time_ns: at * SECOND, ..Resources::default() }
}

fn feed(gauges: &mut Gauges, used: Resources) {
    gauges.sample(&Sample { used, cpu: None });
}

fn exit(status: ExitStatus, cause: Cause, usage: Option<Usage>) -> Exit {
    Exit { status, cause, lifetime_ns: 0, fork_to_exec_ns: None, exec_to_listen_ns: None, usage }
}

/// The main process, which was there before, and a child that is younger than the gauges.
const MAIN: ProcId = ProcId { pid: 10, start_ns: 50 * SECOND };
const CHILD: ProcId = ProcId { pid: 11, start_ns: 101 * SECOND };

#[test]
fn sums_and_largest_of_a_family() {
    let mut gauges = gauges(&[]);
    let value = |gauges: &Gauges, signal: &Signal| gauges.value(signal, 102 * SECOND);
    assert_eq!(value(&gauges, &Signal::MemoryRss), None, "not measured yet");
    let main = Resources {
        rss_bytes: 1_000,
        swap_bytes: 10,
        threads: 2,
        open_files: 50,
        open_files_limit: Some(100),
        ..used(MAIN, 102)
    };
    feed(&mut gauges, main);
    feed(
        &mut gauges,
        Resources { rss_bytes: 500, swap_bytes: 1, threads: 1, open_files: 70, ..used(CHILD, 102) },
    );
    for (signal, expected) in [
        (Signal::MemoryRss, 1_500.0),
        (Signal::MemorySwap, 11.0),
        (Signal::Threads, 3.0),
        (Signal::FilesOpen, 70.0),
        (Signal::FilesShare, 50.0),
        (Signal::Age, 2.0 * SECOND as f64),
    ] {
        assert_eq!(value(&gauges, &signal), Some(expected), "{signal}");
    }
    gauges.exited(CHILD, &exit(ExitStatus::Code(0), Cause::Own, None));
    assert_eq!(value(&gauges, &Signal::MemoryRss), Some(1_000.0));
    assert_eq!(value(&gauges, &Signal::FilesOpen), Some(50.0));
    assert_eq!(gauges.value(&Signal::MemoryRss, 200 * SECOND), None, "nobody measures it any more");
    assert_eq!(gauges.value(&Signal::Age, 200 * SECOND), Some(100.0 * SECOND as f64));
    assert_eq!(value(&gauges, &Signal::MemoryPss), None, "asked for elsewhere");
}

#[test]
fn cpu_and_io_since_the_sample_before_also_of_those_that_ended_between() {
    let mut gauges = gauges(&[]);
    let main = |at, cpu_ns, io| Resources {
        cpu_ns,
        read_bytes: Some(io),
        write_bytes: Some(2 * io),
        ..used(MAIN, at)
    };
    feed(&mut gauges, main(102, 500 * SECOND, 1_000));
    assert_eq!(gauges.value(&Signal::Cpu, 102 * SECOND), None, "what it used before says nothing");
    feed(&mut gauges, main(104, 501 * SECOND, 3_000));
    let values = |gauges: &Gauges, at: u64| {
        [Signal::Cpu, Signal::IoRead, Signal::IoWrite].map(|signal| gauges.value(&signal, at * SECOND))
    };
    assert_eq!(values(&gauges, 104), [Some(50.0), Some(1_000.0), Some(2_000.0)]);
    // A child is born, seen once, and ends before it is seen again.
    let child =
        Resources { cpu_ns: SECOND / 4, read_bytes: Some(0), write_bytes: Some(0), ..used(CHILD, 105) };
    feed(&mut gauges, child);
    let usage = Usage {
        user_ns: SECOND / 2,
        system_ns: SECOND / 4,
        read_bytes: Some(600),
        write_bytes: Some(0),
        ..Usage::default()
    };
    gauges.exited(CHILD, &exit(ExitStatus::Code(0), Cause::Own, Some(usage)));
    // Another is never seen at all.
    gauges.exited(id(12, 103), &exit(ExitStatus::Code(0), Cause::Own, Some(usage)));
    feed(&mut gauges, main(106, 501 * SECOND, 3_000));
    assert_eq!(values(&gauges, 106), [Some(75.0), Some(600.0), Some(0.0)]);
}

#[test]
fn io_that_is_not_accounted_is_not_known() {
    let mut gauges = gauges(&[]);
    for at in [102, 103, 104] {
        feed(&mut gauges, Resources { cpu_ns: at * SECOND, ..used(MAIN, at) });
    }
    assert_eq!(gauges.value(&Signal::Cpu, 104 * SECOND), Some(100.0));
    assert_eq!(gauges.value(&Signal::IoRead, 104 * SECOND), None);
}

#[test]
fn what_groups_and_probes_tell() {
    let response = |quantile| Signal::ResponseTime { of: "api".to_owned(), quantile, window: 60 * SECOND };
    let [median, worst] = [response(0.5), response(1.0)];
    let mut gauges = gauges(&[median.clone(), worst.clone()]);
    let percent = |hundredths| Percent { hundredths };
    let pressure = |hundredths| {
        let some = Stalled { avg10: percent(hundredths), total_ns: 0 };
        Some(Pressure { some, full: None })
    };
    let group = GroupResources {
        memory_bytes: Some(300),
        memory_limit_bytes: Some(400),
        cpu_pressure: pressure(1_250),
        memory_pressure: pressure(100),
        io_pressure: None,
    };
    gauges.group(101 * SECOND, &group);
    let value = |gauges: &Gauges, signal: &Signal, at: u64| gauges.value(signal, at * SECOND);
    assert_eq!(value(&gauges, &Signal::MemoryShare, 101), Some(75.0));
    assert_eq!(value(&gauges, &Signal::PressureCpu, 101), Some(12.5));
    assert_eq!(value(&gauges, &Signal::PressureMemory, 101), Some(1.0));
    assert_eq!(value(&gauges, &Signal::PressureIo, 101), None);

    assert_eq!(value(&gauges, &median, 101), None, "no answer yet");
    let fail = Answer::Fail("status 500".to_owned());
    let timeout = SECOND;
    for (at, check, answer, took_ns) in [
        (101, "api", &Answer::Pass, 30),
        (102, "api", &Answer::Pass, 10),
        (103, "api", &Answer::Pass, 20),
        (104, "other", &Answer::Pass, 999),
        (105, "api", &fail, 1),
        (106, "api", &fail, timeout),
        (107, "api", &Answer::Error("no such host".to_owned()), 5),
    ] {
        gauges.answered(at * SECOND, check, answer, took_ns, timeout);
    }
    assert_eq!(value(&gauges, &median, 110), Some(20.0));
    assert_eq!(value(&gauges, &worst, 110), Some(SECOND as f64), "in vain, for as long as it could");
    assert_eq!(value(&gauges, &median, 162), Some(20.0));
    assert_eq!(value(&gauges, &median, 167), None, "the last one is as old as the window");
}

#[test]
fn waits_for_a_cpu_and_sleeps() {
    let (queue, sleep) =
        (Signal::RunQueueP99 { window: 24 * SECOND }, Signal::Uninterruptible { window: 24 * SECOND });
    let mut gauges = gauges(&[queue.clone(), sleep.clone()]);
    let value = |gauges: &Gauges, signal: &Signal, at: u64| gauges.value(signal, at * SECOND);
    assert_eq!(value(&gauges, &queue, 100), None, "nobody tells of waits");
    let mut waits = GroupLatency::default();
    waits.run_queue.buckets[3] = 100;
    waits.uninterruptible.buckets[4] = 1;
    gauges.latency(101 * SECOND, &Latency { group: 1, interval_ns: SECOND, waits });
    assert_eq!(value(&gauges, &queue, 102), Some(16_000.0));
    assert_eq!(value(&gauges, &sleep, 102), Some(32_000.0));
    let stall = |what| Stall { what, thread: 10, cpu: 0, waited_ns: 5 * SECOND, ongoing: true };
    gauges.stall(103 * SECOND, &stall(Waited::RunQueue(None)));
    gauges.stall(104 * SECOND, &stall(Waited::Uninterruptible));
    assert_eq!(value(&gauges, &sleep, 104), Some(5.0 * SECOND as f64));
    assert_eq!(value(&gauges, &sleep, 128), Some(5.0 * SECOND as f64));
    assert_eq!(value(&gauges, &sleep, 129), Some(0.0), "nobody waited in the window");
    assert_eq!(value(&gauges, &queue, 129), Some(0.0));
}

#[test]
fn restarts_and_ends_outlive_the_process() {
    let window = 600 * SECOND;
    let exits = |causes: &[&str]| Signal::Exits {
        causes: causes.iter().map(|&cause| cause.to_owned()).collect(),
        window,
    };
    let (restarts, all, oom) = (Signal::Restarts { window }, exits(&[]), exits(&["oom", "fault"]));
    let mut gauges = gauges(&[restarts.clone(), all.clone(), oom.clone(), Signal::MemoryGrowth { window }]);
    gauges.ended(110 * SECOND, Ending::Oom);
    gauges.ended(120 * SECOND, Ending::Error);
    gauges.restarted(121 * SECOND);
    feed(&mut gauges, Resources { rss_bytes: 7, ..used(MAIN, 121) });
    gauges.begin(122 * SECOND);
    let value = |gauges: &Gauges, signal: &Signal, at: u64| gauges.value(signal, at * SECOND);
    assert_eq!(value(&gauges, &restarts, 122), Some(1.0));
    assert_eq!(value(&gauges, &all, 122), Some(2.0));
    assert_eq!(value(&gauges, &oom, 122), Some(1.0));
    assert_eq!(value(&gauges, &oom, 710), Some(0.0));
    assert_eq!(value(&gauges, &Signal::MemoryRss, 122), None, "that was another process");
    assert_eq!(value(&gauges, &Signal::Age, 122), Some(0.0));
}

#[test]
fn endings_have_causes() {
    let success = [EndStatus::Code(0), EndStatus::Signal(15)];
    let code = ExitStatus::Code;
    let signal = |number| ExitStatus::Signal { number, core: false };
    for (status, cause, expected) in [
        (code(0), Cause::Own, None),
        (signal(15), Cause::Unknown, None),
        (code(1), Cause::Own, Some(Ending::Error)),
        (signal(9), Cause::Oom(None), Some(Ending::Oom)),
        (signal(11), Cause::Fault, Some(Ending::Fault)),
        (signal(6), Cause::Own, Some(Ending::Signal)),
        (signal(9), Cause::Unknown, Some(Ending::Signal)),
        (ExitStatus::Unknown, Cause::RecordLost, Some(Ending::Error)),
    ] {
        assert_eq!(Ending::of(&exit(status, cause, None), &success), expected);
    }
}

#[test]
fn progress_by_cpu_io_and_markers_from_outside() {
    let progress = |of| Signal::Progress { of };
    let number = NumberSource::Json { url: "http://x".into(), pointer: "/done".into(), timeout: SECOND };
    let [cpu, io, log, done] =
        [Marker::Cpu, Marker::Io, Marker::Log, Marker::Number(number.clone())].map(progress);
    let mut gauges = gauges(&[cpu.clone(), io.clone(), log.clone(), done.clone()]);
    let value = |gauges: &Gauges, signal: &Signal, at: u64| {
        gauges.value(signal, at * SECOND).map(|ns| ns / SECOND as f64)
    };
    assert_eq!(value(&gauges, &log, 105), None, "nobody looked at the log yet");
    // Busy until 103, then it uses 0.5% of a core; it writes until 105.
    for at in 101..120_u64 {
        let cpu_ns = at.min(103) * SECOND + at * SECOND / 200;
        let io = Some(at.min(105) * 10);
        feed(&mut gauges, Resources { cpu_ns, read_bytes: io, write_bytes: Some(0), ..used(MAIN, at) });
    }
    assert_eq!(value(&gauges, &cpu, 120), Some(17.0));
    assert_eq!(value(&gauges, &io, 120), Some(15.0));
    gauges.marked(110 * SECOND, &Marker::Log, 5.0);
    gauges.marked(115 * SECOND, &Marker::Log, 5.0);
    gauges.marked(118 * SECOND, &Marker::Number(number), 1.0);
    assert_eq!(value(&gauges, &log, 120), Some(10.0));
    assert_eq!(value(&gauges, &done, 120), Some(2.0));
    gauges.marked(121 * SECOND, &Marker::Log, 6.0);
    assert_eq!(value(&gauges, &log, 122), Some(1.0));
    assert_eq!(value(&gauges, &cpu, 200), None, "no samples any more: not known");
}

#[test]
fn instances_together() {
    let window = SECOND;
    for (signal, expected) in [
        (Signal::MemoryRss, Some(7.0)),
        (Signal::Restarts { window }, Some(7.0)),
        (Signal::FilesShare, Some(4.0)),
        (Signal::Age, Some(4.0)),
    ] {
        assert_eq!(together(&signal, [Some(3.0), None, Some(4.0)]), expected);
    }
    assert_eq!(together(&Signal::Cpu, [None, None]), None);
}

/// What happens to a family that is watched.
#[derive(Clone, Debug)]
enum Turn {
    /// It spent so much since the last time, and has so much memory.
    Sample {
        pid: u32,
        cpu_ns: u64,
        rss_bytes: u64,
    },
    Exit {
        pid: u32,
        cpu_ns: u64,
    },
    Wait,
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        4 => (1_u32..5, 0..SECOND, 0_u64..1_000)
            .prop_map(|(pid, cpu_ns, rss_bytes)| Turn::Sample { pid, cpu_ns, rss_bytes }),
        1 => (1_u32..5, 0..SECOND).prop_map(|(pid, cpu_ns)| Turn::Exit { pid, cpu_ns }),
        1 => Just(Turn::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// In whatever order samples and ends come, memory is that of the last samples of those who live. Where all are sampled
    /// together, CPU time is neither counted twice nor lost, also that of processes which nobody ever sampled.
    #[test]
    fn sums_stay_sums(turns in proptest::collection::vec(turn(), 0..80), together in any::<bool>()) {
        let mut gauges = gauges(&[]);
        let mut living: BTreeMap<u32, (u64, u64)> = [].into();
        let (mut spent_ns, mut now) = (0, 200);
        let mut generation = [0_u64; 5];
        feed(&mut gauges, used(id(9, 1), now));
        for turn in turns.into_iter().chain([Turn::Wait]) {
            let of = |pid: u32, generation: &[u64; 5]| id(pid, 1_000 + generation[pid as usize]);
            match turn {
                Turn::Sample { pid, cpu_ns, rss_bytes } => {
                    spent_ns += cpu_ns;
                    let cpu_ns = living.get(&pid).map_or(0, |&(cpu_ns, _)| cpu_ns) + cpu_ns;
                    living.insert(pid, (cpu_ns, rss_bytes));
                    if !together {
                        feed(&mut gauges, Resources { cpu_ns, rss_bytes, ..used(of(pid, &generation), now) });
                        let rss: u64 = living.values().map(|&(_, rss_bytes)| rss_bytes).sum();
                        prop_assert_eq!(gauges.value(&Signal::MemoryRss, now * SECOND), Some(rss as f64));
                    }
                }
                Turn::Exit { pid, cpu_ns } => {
                    let before_ns = living.remove(&pid).map_or(0, |(cpu_ns, _)| cpu_ns);
                    spent_ns += cpu_ns;
                    let usage = Usage { user_ns: before_ns + cpu_ns, ..Usage::default() };
                    let exit = exit(ExitStatus::Code(0), Cause::Own, Some(usage));
                    gauges.exited(of(pid, &generation), &exit);
                    generation[pid as usize] += 1;
                }
                Turn::Wait => {
                    now += 1;
                    for (&pid, &(cpu_ns, rss_bytes)) in &living {
                        feed(&mut gauges, Resources { cpu_ns, rss_bytes, ..used(of(pid, &generation), now) });
                    }
                    feed(&mut gauges, used(id(9, 1), now));
                    let rss: u64 = living.values().map(|&(_, rss_bytes)| rss_bytes).sum();
                    prop_assert_eq!(gauges.value(&Signal::MemoryRss, now * SECOND), Some(rss as f64));
                    let told = gauges.value(&Signal::Cpu, now * SECOND).unwrap();
                    if together {
                        prop_assert!((told - spent_ns as f64 * 100.0 / SECOND as f64).abs() < 1e-6, "{told}");
                    }
                    spent_ns = 0;
                }
            }
        }
    }
}
