//! The new process, from clone3 to execve.
//!
//! It shares our memory and runs while the thread that made it waits: nothing here allocates, takes a lock, touches
//! what another thread may be changing, or returns. All it needs lies ready in a [`Recipe`]; how far it came, it says
//! by two stores into memory that it shares.

use std::ffi::{CStr, c_char};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use rustix::mm::{MapFlags, ProtFlags};

use super::error::Step;

/// The stack of a new process until it is the program. It needs less than a page; an unoptimised build needs more.
const STACK_BYTES: usize = 64 * 1024;
/// Below it, so that an overflow is a fault.
const GUARD_BYTES: usize = 64 * 1024;

/// Resets handlers that we installed, without a call for each (`CLONE_CLEAR_SIGHAND`, Linux 5.5).
const CLEAR_SIGHAND: u64 = 0x1_0000_0000;
/// Begins in another control group (`CLONE_INTO_CGROUP`, Linux 5.7).
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// A kernel's set of signals, one bit each.
const MASK_BYTES: usize = 8;

/// Everything about a new process, in a form that needs no more work. Pointers are into the [`super::Prepared`] that
/// owns it.
pub(super) struct Recipe {
    pub(super) program: *const c_char,
    pub(super) arguments: *const *const c_char,
    pub(super) environment: *const *const c_char,
    pub(super) directory: *const c_char,
    /// Standard input, output and error. Numbers above 2, so that none is overwritten before it is copied.
    pub(super) standard: [RawFd; 3],
    /// Files in which `0` is written to enter a group.
    pub(super) groups_to_enter: [RawFd; 4],
    pub(super) files: libc::rlimit,
    pub(super) core: Option<libc::rlimit>,
    pub(super) reset_score: bool,
    pub(super) reset_nice: bool,
    /// Signals that we ignore: bit 0 is signal 1.
    pub(super) ignored: u64,
    /// User and group to become, with supplementary groups.
    pub(super) account: Option<(u32, u32, *const u32, usize)>,
    /// Capabilities that are kept, and the number of those that the kernel knows.
    pub(super) kept: Option<(u64, u32)>,
    pub(super) no_new_privileges: bool,
    /// Where the failing step and its errno go.
    pub(super) step: AtomicU32,
    pub(super) errno: AtomicI32,
}

/// A stack for a new process.
#[derive(Debug)]
pub(super) struct Stack {
    base: *mut u8,
}

// SAFETY: the mapping is this value's own and has no tie to a thread.
unsafe impl Send for Stack {}
// SAFETY: a shared reference gives its address alone.
unsafe impl Sync for Stack {}

impl Stack {
    pub(super) fn new() -> io::Result<Self> {
        let flags = MapFlags::PRIVATE | MapFlags::STACK;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let base = unsafe {
            rustix::mm::mmap_anonymous(null_mut(), GUARD_BYTES + STACK_BYTES, ProtFlags::empty(), flags)
        }?;
        let stack = Self { base: base.cast() };
        let access = rustix::mm::MprotectFlags::READ | rustix::mm::MprotectFlags::WRITE;
        // SAFETY: this part of the mapping is ours and not in use yet.
        unsafe { rustix::mm::mprotect(stack.lowest().cast(), STACK_BYTES, access) }?;
        // The page that is used first is there already when it counts.
        let top = stack.lowest().wrapping_add(STACK_BYTES - 1);
        // SAFETY: the last byte of the part that can be written.
        unsafe { top.write_volatile(0) };
        Ok(stack)
    }

    fn lowest(&self) -> *mut u8 {
        self.base.wrapping_add(GUARD_BYTES)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no process runs on it: each has become a program or ended.
        let _ = unsafe { rustix::mm::munmap(self.base.cast(), GUARD_BYTES + STACK_BYTES) };
    }
}

/// `struct clone_args` up to `cgroup` (88 bytes, Linux 5.7).
#[repr(C)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Makes a process that becomes the program; returns when it has, or has failed, which the recipe says then.
/// `into`: the group's directory, or `None` if the process enters its groups by itself.
pub(super) fn clone_and_run(
    recipe: &Recipe,
    stack: &Stack,
    into: Option<RawFd>,
) -> io::Result<(u32, OwnedFd)> {
    let mut pidfd: i32 = -1;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD;
    let arguments = CloneArguments {
        flags: u64::from(flags.cast_unsigned()) | CLEAR_SIGHAND | into.map_or(0, |_| INTO_CGROUP),
        pidfd: (&raw mut pidfd) as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: libc::SIGCHLD as u64,
        stack: stack.lowest() as u64,
        stack_size: STACK_BYTES as u64,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: into.map_or(0, |fd| u64::try_from(fd).unwrap_or(0)),
    };
    // No handler of ours may run in the new process, whose memory is ours: until it has none, signals wait.
    let before = Mask::block_all();
    // SAFETY: the arguments are valid for the call; the new process runs `begin` on a stack of its own with a recipe that
    // outlives it, since this thread is suspended until it is another program or has ended.
    let made = unsafe { clone3(&arguments, recipe) };
    before.restore();
    let pid = u32::try_from(made).map_err(|_negative| {
        io::Error::from_raw_os_error(i32::try_from(made.wrapping_neg()).unwrap_or(libc::EIO))
    })?;
    // SAFETY: the kernel has made this descriptor for us.
    Ok((pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

#[cfg(target_arch = "x86_64")]
unsafe fn clone3(arguments: &CloneArguments, recipe: &Recipe) -> i64 {
    let result: i64;
    // SAFETY: the caller's. The new process has its stack pointer at the top of its own stack, aligned to 16 bytes, and
    // never comes back from `begin`; in the caller's process, nothing but the named registers is changed.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call {begin}",
            "ud2",
            "2:",
            begin = sym begin,
            in("r12") std::ptr::from_ref(recipe),
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") std::ptr::from_ref(arguments),
            in("rsi") size_of::<CloneArguments>(),
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

#[cfg(target_arch = "aarch64")]
unsafe fn clone3(arguments: &CloneArguments, recipe: &Recipe) -> i64 {
    let result: i64;
    // SAFETY: as for the other machine.
    unsafe {
        std::arch::asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x20",
            "bl {begin}",
            "brk 1",
            "2:",
            begin = sym begin,
            in("x20") std::ptr::from_ref(recipe),
            in("x8") libc::SYS_clone3,
            inlateout("x0") std::ptr::from_ref(arguments) => result,
            in("x1") size_of::<CloneArguments>(),
            lateout("x30") _,
        );
    }
    result
}

/// All signals that can be blocked, and back.
struct Mask(u64);

impl Mask {
    fn block_all() -> Self {
        let all = u64::MAX;
        let mut before = 0_u64;
        // The C library's own call leaves out two signals that it uses itself.
        // SAFETY: both sets are valid and have the kernel's size.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigprocmask,
                libc::SIG_SETMASK,
                &raw const all,
                &raw mut before,
                MASK_BYTES,
            )
        };
        Self(before)
    }

    fn restore(&self) {
        // SAFETY: as above.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigprocmask,
                libc::SIG_SETMASK,
                &raw const self.0,
                null_mut::<u64>(),
                MASK_BYTES,
            )
        };
    }
}

/// The new process.
extern "C" fn begin(recipe: *const Recipe) -> ! {
    // SAFETY: the recipe outlives this process's use of it, see `clone_and_run`.
    let recipe = unsafe { &*recipe };
    if let Err(step) = become_program(recipe) {
        // SAFETY: this thread's errno, which is the waiting thread's; nobody else uses it now.
        recipe.errno.store(unsafe { *libc::__errno_location() }, Ordering::Relaxed);
        recipe.step.store(step as u32, Ordering::Release);
    }
    loop {
        // SAFETY: ends this process, without anything of ours being run.
        unsafe { libc::syscall(libc::SYS_exit_group, 127) };
    }
}

/// One system call; a negative result is an error in this step.
macro_rules! call {
    ($step:expr, $number:expr $(, $argument:expr)*) => {
        // SAFETY: only what this process has of its own is changed; pointers are into the recipe or this stack.
        if unsafe { libc::syscall($number $(, $argument)*) } < 0 {
            return Err($step);
        }
    };
}

/// Comes back only if something fails.
fn become_program(recipe: &Recipe) -> Result<(), Step> {
    call!(Step::Session, libc::SYS_setsid);
    for group in recipe.groups_to_enter {
        if group >= 0 {
            call!(Step::Room, libc::SYS_write, group, c"0".as_ptr(), 1_usize);
        }
    }
    if recipe.reset_score {
        write_to(c"/proc/self/oom_score_adj", c"0", Step::Score)?;
    }
    if recipe.reset_nice {
        call!(Step::Nice, libc::SYS_setpriority, libc::PRIO_PROCESS, 0_usize, 0_usize);
    }
    for (which, limit) in
        [(libc::RLIMIT_NOFILE, Some(&recipe.files)), (libc::RLIMIT_CORE, recipe.core.as_ref())]
    {
        if let Some(limit) = limit {
            let pointer: *const libc::rlimit = limit;
            call!(Step::Limits, libc::SYS_prlimit64, 0, which, pointer, null_mut::<libc::rlimit>());
        }
    }
    for (to, from) in (0..).zip(recipe.standard) {
        call!(Step::Descriptors, libc::SYS_dup3, from, to, 0);
    }
    close_others()?;
    // SAFETY: as in `call!`; this one cannot fail.
    unsafe { libc::syscall(libc::SYS_umask, 0o022) };
    privileges(recipe)?;
    call!(Step::Directory, libc::SYS_chdir, recipe.directory);
    signals(recipe)?;
    call!(Step::Execute, libc::SYS_execve, recipe.program, recipe.arguments, recipe.environment);
    Ok(())
}

fn write_to(path: &CStr, text: &CStr, step: Step) -> Result<(), Step> {
    // SAFETY: as in `call!`.
    let file = unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), libc::O_WRONLY, 0) };
    if file < 0 {
        return Err(step);
    }
    call!(step, libc::SYS_write, file, text.as_ptr(), text.to_bytes().len());
    // Closed with all others.
    Ok(())
}

/// All but 0, 1 and 2.
fn close_others() -> Result<(), Step> {
    // SAFETY: the descriptors are this process's own copies.
    if unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0) } == 0 {
        return Ok(());
    }
    // Before Linux 5.9: ours are all close-on-exec.
    // SAFETY: as for errors in `begin`.
    if unsafe { *libc::__errno_location() } == libc::ENOSYS { Ok(()) } else { Err(Step::Descriptors) }
}

/// The header and the data of capset, version 3.
#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CapabilityData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `_LINUX_CAPABILITY_VERSION_3`.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

/// An argument of prctl that must be 0 in all its 64 bits.
const NONE: u64 = 0;

fn privileges(recipe: &Recipe) -> Result<(), Step> {
    if let Some((kept, known)) = recipe.kept {
        for capability in 0..known {
            if kept >> capability & 1 == 0 {
                call!(
                    Step::Bounding,
                    libc::SYS_prctl,
                    libc::PR_CAPBSET_DROP,
                    u64::from(capability),
                    NONE,
                    NONE,
                    NONE
                );
            }
        }
    }
    let becomes = recipe.account.is_some_and(|(uid, ..)| uid != 0);
    if let Some((uid, gid, groups, count)) = recipe.account {
        if recipe.kept.is_some() {
            call!(Step::Capabilities, libc::SYS_prctl, libc::PR_SET_KEEPCAPS, 1_u64, NONE, NONE, NONE);
        }
        call!(Step::Groups, libc::SYS_setgroups, count, groups);
        call!(Step::Group, libc::SYS_setresgid, gid, gid, gid);
        call!(Step::User, libc::SYS_setresuid, uid, uid, uid);
    }
    if let Some((kept, known)) = recipe.kept {
        #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
        let data = [kept as u32, (kept >> 32) as u32].map(|half| CapabilityData {
            effective: half,
            permitted: half,
            inheritable: half,
        });
        let header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
        call!(Step::Capabilities, libc::SYS_capset, &raw const header, &raw const data);
        for capability in 0..known {
            // Root gets them from the bounding set.
            if becomes && kept >> capability & 1 == 1 {
                let (raise, capability) = (libc::PR_CAP_AMBIENT_RAISE as u64, u64::from(capability));
                call!(
                    Step::Capabilities,
                    libc::SYS_prctl,
                    libc::PR_CAP_AMBIENT,
                    raise,
                    capability,
                    NONE,
                    NONE
                );
            }
        }
    }
    if recipe.no_new_privileges {
        call!(Step::Privileges, libc::SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1_u64, NONE, NONE, NONE);
    }
    Ok(())
}

/// `struct sigaction` as the kernel has it; zeros are the default.
#[repr(C)]
struct Action([u64; 4]);

fn signals(recipe: &Recipe) -> Result<(), Step> {
    // Ignored signals stay so over clone and exec; ours are no business of a service (SIGPIPE, above all).
    let action = Action([0; 4]);
    let mut ignored = recipe.ignored;
    while ignored != 0 {
        let signal = ignored.trailing_zeros() + 1;
        ignored &= ignored - 1;
        let none = null_mut::<Action>();
        call!(Step::Signals, libc::SYS_rt_sigaction, signal, &raw const action, none, MASK_BYTES);
    }
    let none = 0_u64;
    let before = null::<u64>();
    call!(Step::Signals, libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const none, before, MASK_BYTES);
    Ok(())
}
