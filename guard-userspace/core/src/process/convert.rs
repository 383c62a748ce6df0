//! Wire fields to event fields.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use guard_common::wire::{self, Header, Task};

use crate::event::{
    Action, Cgroup, Event, Listen, Name, Origin, Process, Program, Sender, Signal, SignalResult,
};
use crate::ids::ProcId;
use crate::latency::{Instead, Stall, Waited};

/// `AF_INET` of every Linux architecture.
const AF_INET: u32 = 2;

/// An event at a record's time and place.
pub(crate) fn event(header: &Header, action: Action) -> Event {
    Event { time_ns: header.time_ns, cpu: header.cpu, sequence: header.sequence, action }
}

/// A process as a record shows it, with what the record only points to.
pub(crate) fn process(
    id: ProcId,
    task: &Task,
    (parent, parent_name): (ProcId, Name),
    cgroup: Arc<Cgroup>,
    program: Option<Arc<Program>>,
) -> Process {
    Process {
        id,
        parent,
        parent_name,
        ns_pid: task.ns_tgid,
        pid_namespace: task.pid_namespace,
        uid: task.uid,
        gid: task.gid,
        euid: task.euid,
        egid: task.egid,
        caps_effective: task.caps_effective,
        exec_count: task.exec_count,
        kernel_thread: task.flags & wire::TASK_KERNEL_THREAD != 0,
        cgroup,
        name: Name::new(task.comm),
        program,
    }
}

/// A signal as its record shows it; `sender` is its sender's identity and name.
pub(crate) fn signal(record: &wire::Signal, (id, name): (ProcId, Name)) -> Signal {
    Signal {
        number: record.number,
        code: record.code,
        origin: match record.origin {
            wire::ORIGIN_PROCESS => Origin::Process(Sender { id, name, uid: record.sender_uid }),
            wire::ORIGIN_FAULT => Origin::Fault,
            wire::ORIGIN_TIMER => Origin::Timer,
            // What this version cannot name did at least not come from a process.
            _ => Origin::Kernel,
        },
        result: match record.result {
            wire::RESULT_IGNORED => SignalResult::Ignored,
            wire::RESULT_PENDING => SignalResult::Pending,
            wire::RESULT_OVERFLOW => SignalResult::Overflow,
            wire::RESULT_LOST_INFO => SignalResult::LostInfo,
            _ => SignalResult::Delivered,
        },
        thread: (record.group == 0).then_some(record.target.key.tid),
        value: record.value,
    }
}

/// A listening socket as its record shows it.
#[expect(clippy::cast_possible_truncation, reason = "a TCP port has 16 bits")]
pub(crate) fn listen(record: &wire::Listen) -> Listen {
    let [a, b, c, d, ..] = record.address;
    let address = match record.family {
        AF_INET => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        _ => IpAddr::V6(Ipv6Addr::from(record.address)),
    };
    Listen { address: SocketAddr::new(address, record.port as u16) }
}

/// A stall as its record shows it; `instead` is the identity of who ran.
pub(crate) fn stall(record: &wire::Stall, instead: ProcId) -> Stall {
    let what = match record.what {
        wire::STALL_RUN_QUEUE => Waited::RunQueue(instead.is_some().then(|| Instead {
            id: instead,
            thread: record.instead.tid,
            name: Name::new(record.instead_comm),
        })),
        _ => Waited::Uninterruptible,
    };
    let (thread, cpu) = (record.task.key.tid, record.header.cpu);
    Stall { what, thread, cpu, waited_ns: record.waited_ns, ongoing: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit;

    #[test]
    fn addresses_of_both_families() {
        let mut record = testkit::listen(testkit::task(1, 10), 8080);
        record.address[..4].copy_from_slice(&[127, 0, 0, 1]);
        assert_eq!(listen(&record).address.to_string(), "127.0.0.1:8080");
        record.family = 10;
        record.address = [0; 16];
        record.address[15] = 1;
        assert_eq!(listen(&record).address.to_string(), "[::1]:8080");
    }

    #[test]
    fn a_signal_to_one_thread_names_it() {
        let mut record = testkit::signal(testkit::task(1, 10), 15, testkit::task(2, 20));
        record.target.key.tid = 3;
        let sender = (ProcId { pid: 2, start_ns: 20 }, Name::from_bytes(b"bash"));
        assert_eq!(signal(&record, sender).thread, None);
        record.group = 0;
        assert_eq!(signal(&record, sender).thread, Some(3));
    }

    #[test]
    fn unknown_numbers_stay_harmless() {
        let mut record = testkit::signal(testkit::task(1, 10), 15, testkit::task(2, 20));
        record.origin = 99;
        record.result = 99;
        let converted = signal(&record, (ProcId::NONE, Name::default()));
        assert_eq!(converted.origin, Origin::Kernel);
        assert_eq!(converted.result, SignalResult::Delivered);
    }
}
