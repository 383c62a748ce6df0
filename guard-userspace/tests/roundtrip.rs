//! Whatever an event holds, its JSON line gives the same event back.

use std::net::SocketAddr;
use std::sync::Arc;

use guard_common::wire::Kind;
use guard_core::event::{
    Action, Cause, Cgroup, Container, Drift, Event, Exec, Exit, ExitStatus, Gap, Group, Listen, LossCause,
    Lost, Name, Oom, Origin, Process, Program, ProgramFlags, Resync, ResyncReason, Sender, Signal,
    SignalResult, Usage,
};
use guard_core::ids::{BootId, ProcId};
use guard_core::latency::{BUCKETS, GroupLatency, Histogram, Instead, Latency, Stall, Waited};
use guard_core::resources::{GroupResources, Percent, Pressure, Resources, Sample, Stalled};
use guard_userspace::clock::Stamp;
use guard_userspace::show::compact::CompactWriter;
use guard_userspace::show::escape::is_hidden;
use guard_userspace::show::json::{JsonWriter, Line, read};
use guard_userspace::show::when::Timestamps;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

/// Bytes as processes choose them: text, escapes, anything; never NUL, which the kernel ends them with.
fn bytes() -> BoxedStrategy<Vec<u8>> {
    let letters = prop_oneof![
        4 => "[ -~]{0,12}".prop_map(String::into_bytes),
        1 => r"[\\x0-9a-f]{0,12}".prop_map(String::into_bytes),
        1 => any::<String>().prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..12),
    ];
    letters
        .prop_map(|mut bytes| {
            bytes.retain(|&byte| byte != 0);
            bytes
        })
        .boxed()
}

fn name() -> impl Strategy<Value = Name> {
    bytes().prop_map(|bytes| Name::from_bytes(&bytes))
}

fn id() -> impl Strategy<Value = ProcId> {
    (1_u32..=4_194_304, prop_oneof![Just(0), 1_u64..1 << 60])
        .prop_map(|(pid, start_ns)| ProcId { pid, start_ns })
}

fn cgroup() -> BoxedStrategy<Cgroup> {
    let runtime = prop_oneof![
        Just(None),
        Just(Some("docker")),
        Just(Some("containerd")),
        Just(Some("cri-o")),
        Just(Some("podman")),
    ];
    let container = ("[0-9a-f]{64}", runtime).prop_map(|(id, runtime)| Container { id: id.into(), runtime });
    let text = || any::<String>().prop_map(String::into_boxed_str);
    (any::<u64>(), any::<u32>(), of(text()), of(container), of(text()))
        .prop_map(|(id, hierarchy, path, container, unit)| Cgroup { id, hierarchy, path, container, unit })
        .boxed()
}

fn program() -> impl Strategy<Value = Program> {
    let args = (vec(bytes(), 0..4), of(bytes())).prop_map(|(whole, cut)| {
        let mut args: Vec<u8> = whole.into_iter().flat_map(|arg| [arg, vec![0]].concat()).collect();
        args.extend(cut.unwrap_or_default());
        args
    });
    let flags = any::<[bool; 5]>().prop_map(|[a, b, c, d, e]| ProgramFlags {
        args_truncated: a,
        executable_truncated: b,
        working_directory_truncated: c,
        executable_deleted: d,
        working_directory_deleted: e,
    });
    (bytes(), any::<u64>(), any::<u32>(), bytes(), args, any::<u32>(), flags).prop_map(
        |(executable, inode, device, working_directory, args, args_count, flags)| Program {
            executable,
            inode,
            device,
            working_directory,
            args,
            args_count,
            flags,
        },
    )
}

fn process() -> impl Strategy<Value = Process> {
    let parent = of((id(), name())).prop_map(Option::unwrap_or_default);
    let ids = any::<[u32; 6]>();
    (id(), parent, ids, any::<[u64; 2]>(), any::<bool>(), cgroup(), name(), of(program())).prop_map(
        |(
            id,
            (parent, parent_name),
            ids,
            [caps_effective, exec_count],
            kernel_thread,
            cgroup,
            name,
            program,
        )| {
            let [ns_pid, pid_namespace, uid, gid, euid, egid] = ids;
            Process {
                id,
                parent,
                parent_name,
                ns_pid,
                pid_namespace,
                uid,
                gid,
                euid,
                egid,
                caps_effective,
                exec_count,
                kernel_thread,
                cgroup: Arc::new(cgroup),
                name,
                program: program.map(Arc::new),
            }
        },
    )
}

fn sender() -> impl Strategy<Value = Sender> {
    (id(), name(), any::<u32>()).prop_map(|(id, name, uid)| Sender { id, name, uid })
}

fn exit() -> impl Strategy<Value = Exit> {
    let status = prop_oneof![
        any::<u8>().prop_map(ExitStatus::Code),
        (1_u8..=64, any::<bool>()).prop_map(|(number, core)| ExitStatus::Signal { number, core }),
        Just(ExitStatus::Unknown),
    ];
    let cause = prop_oneof![
        Just(Cause::Own),
        sender().prop_map(Cause::Signal),
        Just(Cause::Fault),
        of(cgroup().prop_map(Arc::new)).prop_map(Cause::Oom),
        Just(Cause::Kernel),
        Just(Cause::Unknown),
        Just(Cause::RecordLost),
    ];
    let usage = (any::<[u64; 7]>(), of(any::<u64>()), of(any::<u64>())).prop_map(
        |(used, read_bytes, write_bytes)| {
            let [user_ns, system_ns, peak_rss_bytes, minor_faults, major_faults, voluntary, involuntary] =
                used;
            Usage {
                user_ns,
                system_ns,
                peak_rss_bytes,
                minor_faults,
                major_faults,
                voluntary_switches: voluntary,
                involuntary_switches: involuntary,
                read_bytes,
                write_bytes,
            }
        },
    );
    (status, cause, any::<u64>(), of(any::<u64>()), of(any::<u64>()), of(usage)).prop_map(
        |(status, cause, lifetime_ns, fork_to_exec_ns, exec_to_listen_ns, usage)| Exit {
            status,
            cause,
            lifetime_ns,
            fork_to_exec_ns,
            exec_to_listen_ns,
            usage,
        },
    )
}

fn signal() -> impl Strategy<Value = Signal> {
    let origin = prop_oneof![
        sender().prop_map(Origin::Process),
        Just(Origin::Kernel),
        Just(Origin::Fault),
        Just(Origin::Timer),
    ];
    let result = prop_oneof![
        Just(SignalResult::Delivered),
        Just(SignalResult::Ignored),
        Just(SignalResult::Pending),
        Just(SignalResult::Overflow),
        Just(SignalResult::LostInfo),
    ];
    (1_u32..=64, any::<i32>(), origin, result, of(any::<u32>()), any::<u64>()).prop_map(
        |(number, code, origin, result, thread, value)| Signal {
            number,
            code,
            origin,
            result,
            thread,
            value,
        },
    )
}

fn exec() -> impl Strategy<Value = Exec> {
    (any::<u32>(), any::<u64>(), any::<bool>(), of(any::<u64>())).prop_map(
        |(calling_thread, caps_gained, secure, since_fork_ns)| Exec {
            calling_thread,
            caps_gained,
            secure,
            since_fork_ns,
        },
    )
}

fn gap() -> impl Strategy<Value = Gap> {
    let lost = (prop::sample::select(Kind::ALL.to_vec()), any::<bool>(), of(any::<u32>()), any::<u64>())
        .prop_map(|(kind, ring, cpu, count)| {
            let cause = if ring { LossCause::RingFull } else { LossCause::Recursion };
            Lost { kind, cause, cpu, count }
        });
    vec(lost, 0..4).prop_map(|lost| Gap { lost })
}

fn resync() -> impl Strategy<Value = Resync> {
    let reason = prop_oneof![Just(ResyncReason::Gap), Just(ResyncReason::Sweep)];
    (reason, any::<[u64; 10]>()).prop_map(|(reason, counts)| {
        let [duration_ns, found, inserted, ended, programs, parents, users, capabilities, names, cgroups] =
            counts;
        let drift = Drift { inserted, ended, programs, parents, users, capabilities, names, cgroups };
        Resync { reason, duration_ns, found, drift }
    })
}

fn stall() -> impl Strategy<Value = Stall> {
    let instead = (id(), any::<u32>(), name()).prop_map(|(id, thread, name)| Instead { id, thread, name });
    let what = prop_oneof![of(instead).prop_map(Waited::RunQueue), Just(Waited::Uninterruptible)];
    (what, any::<u32>(), any::<u32>(), any::<u64>(), any::<bool>())
        .prop_map(|(what, thread, cpu, waited_ns, ongoing)| Stall { what, thread, cpu, waited_ns, ongoing })
}

fn latency() -> impl Strategy<Value = Latency> {
    let count = || prop_oneof![3 => Just(0), 1 => any::<u64>()];
    let histogram = move || {
        vec(count(), BUCKETS).prop_map(|counts| {
            let mut histogram = Histogram::default();
            histogram.buckets.copy_from_slice(&counts);
            histogram
        })
    };
    let histograms = (histogram(), histogram(), histogram(), histogram());
    (any::<u16>(), any::<u64>(), histograms, any::<[u64; 2]>()).prop_map(
        |(group, interval_ns, (run_queue, voluntary, involuntary, uninterruptible), [negative, missed])| {
            let waits = GroupLatency { run_queue, voluntary, involuntary, uninterruptible, negative, missed };
            Latency { group, interval_ns, waits }
        },
    )
}

fn percent() -> impl Strategy<Value = Percent> {
    (0_u64..1 << 40).prop_map(|hundredths| Percent { hundredths })
}

/// Of the process at the time: what an event says twice is not written twice.
fn sample() -> impl Strategy<Value = Sample> {
    let optional = (of(any::<u64>()), of(any::<u64>()), of(any::<u64>()), of(any::<u64>()));
    (any::<[u64; 3]>(), any::<[u32; 2]>(), optional, of(percent())).prop_map(
        |([cpu_ns, rss_bytes, swap_bytes], [open_files, threads], optional, cpu)| {
            let (run_delay_ns, open_files_limit, read_bytes, write_bytes) = optional;
            let used = Resources {
                cpu_ns,
                run_delay_ns,
                rss_bytes,
                swap_bytes,
                open_files,
                open_files_limit,
                threads,
                read_bytes,
                write_bytes,
                ..Resources::default()
            };
            Sample { used, cpu }
        },
    )
}

fn group() -> impl Strategy<Value = Group> {
    let stall = || (percent(), any::<u64>()).prop_map(|(avg10, total_ns)| Stalled { avg10, total_ns });
    let pressure = || of((stall(), of(stall())).prop_map(|(some, full)| Pressure { some, full }));
    (cgroup(), any::<[Option<u64>; 2]>(), [pressure(), pressure(), pressure()]).prop_map(
        |(cgroup, [memory_bytes, memory_limit_bytes], [cpu_pressure, memory_pressure, io_pressure])| Group {
            cgroup: Arc::new(cgroup),
            used: GroupResources {
                memory_bytes,
                memory_limit_bytes,
                cpu_pressure,
                memory_pressure,
                io_pressure,
            },
        },
    )
}

fn action() -> impl Strategy<Value = Action> {
    let process = || process().prop_map(Arc::new).boxed();
    let oom = of(cgroup().prop_map(Arc::new)).prop_map(|memory_cgroup| Oom { memory_cgroup });
    let listen =
        any::<(std::net::IpAddr, u16)>().prop_map(|(ip, port)| Listen { address: SocketAddr::new(ip, port) });
    prop_oneof![
        process().prop_map(|process| Action::Fork { process }),
        (process(), exec()).prop_map(|(process, exec)| Action::Exec { process, exec }),
        (process(), exit()).prop_map(|(process, exit)| Action::Exit { process, exit: Box::new(exit) }),
        (process(), signal()).prop_map(|(process, signal)| Action::Signal { process, signal }),
        (process(), oom).prop_map(|(process, oom)| Action::Oom { process, oom }),
        (process(), listen).prop_map(|(process, listen)| Action::Listen { process, listen }),
        (process(), stall()).prop_map(|(process, stall)| Action::Stall { process, stall }),
        (process(), latency())
            .prop_map(|(process, latency)| Action::Latency { process, latency: Box::new(latency) }),
        (process(), sample())
            .prop_map(|(process, sample)| Action::Resources { process, sample: Box::new(sample) }),
        group().prop_map(|group| Action::Group(Box::new(group))),
        gap().prop_map(Action::Gap),
        resync().prop_map(Action::Resync),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    (0_u64..1 << 60, any::<u32>(), any::<u64>(), action()).prop_map(|(time_ns, cpu, sequence, mut action)| {
        if let Action::Resources { process, sample } = &mut action {
            sample.used.id = process.id;
            sample.used.time_ns = time_ns;
            sample.used.cgroup_hierarchy = process.cgroup.hierarchy;
            sample.used.cgroup_id = process.cgroup.id;
        }
        Event { time_ns, cpu, sequence, action }
    })
}

fn stamp() -> impl Strategy<Value = Stamp> {
    // From 1970 to 2260, whatever the time since boot is.
    (any::<u128>(), 0_i64..8_000_000_000_000_000_000)
        .prop_map(|(boot, utc_offset_ns)| Stamp { boot: BootId(boot), utc_offset_ns })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn json_gives_the_event_back(stamp in stamp(), event in event()) {
        let mut line = Vec::new();
        JsonWriter::new(Stamp { boot: BootId(0), utc_offset_ns: 0 }).event(&mut line, &stamp, &event);
        let text = std::str::from_utf8(&line).unwrap();
        prop_assert!(text.ends_with('\n') && text.matches('\n').count() == 1);
        prop_assert!(!text.trim_end().chars().any(is_hidden));
        let read = read(&line).unwrap();
        prop_assert_eq!(read, Line::Event(stamp, Box::new(event)));
    }

    #[test]
    fn a_compact_line_is_one_line_of_visible_text(stamp in stamp(), event in event()) {
        let mut line = Vec::new();
        CompactWriter::new(Timestamps::Utc, false).event(&mut line, &stamp, &event);
        let text = std::str::from_utf8(&line).unwrap();
        prop_assert!(text.ends_with('\n'));
        prop_assert!(!text.trim_end_matches('\n').chars().any(is_hidden), "{text:?}");
    }

    #[test]
    fn no_line_makes_the_reader_panic(line: Vec<u8>) {
        let _ = read(&line);
    }
}
