//! A TCP socket started to listen: `inet_sock_set_state`.

use aya_ebpf::helpers::generated::bpf_get_current_task;
use aya_ebpf::programs::BtfTracePointContext;
use guard_common::layout::ABSENT;
use guard_common::wire::{Kind, Listen};

use crate::config::offset;
use crate::emit::{self, Attempt};
use crate::filter;
use crate::read::{Kernel, Typed, Untyped};
use crate::task;

/// `TCP_LISTEN` of the kernel's `tcp_states.h`.
const TCP_LISTEN: u32 = 10;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// `inet_sock_set_state(sk, old, new)`; the change to listening happens in the system call.
#[inline(always)]
pub(crate) fn record(ctx: &BtfTracePointContext) {
    if ctx.arg::<u32>(2) != TCP_LISTEN || !emit::wanted(Kind::LISTEN) {
        return;
    }
    // SAFETY: a helper without arguments.
    let current = Untyped::at(unsafe { bpf_get_current_task() });
    if !filter::passes(current) {
        return;
    }
    let sock = Typed::at(ctx.arg::<u64>(0));
    let family: u16 = sock.read(offset!(sock_family));
    let address = match family {
        AF_INET => [u64::from(sock.read::<u32>(offset!(sock_rcv_saddr))), 0],
        AF_INET6 if offset!(sock_v6_rcv_saddr) != ABSENT => {
            let at = offset!(sock_v6_rcv_saddr);
            let sock = Untyped::at(sock.address());
            [sock.read(at), sock.read(at + 8)]
        }
        _ => [0; 2],
    };
    let Some(attempt) = Attempt::new(Kind::LISTEN) else { return };
    let Some(mut entry) = attempt.reserve::<Listen>() else { return };
    let listen = entry.as_mut_ptr();
    // SAFETY: places within the reserved record; `address` lies at an 8-byte boundary.
    unsafe {
        task::fill(&raw mut (*listen).task, current);
        (&raw mut (*listen).address).cast::<[u64; 2]>().write(address);
        (&raw mut (*listen).port).write(u32::from(sock.read::<u16>(offset!(sock_num))));
        (&raw mut (*listen).family).write(u32::from(family));
    }
    attempt.submit(entry);
}
