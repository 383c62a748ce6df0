//! Two ways to read kernel memory.
//!
//! A pointer that the verifier knows by type (an argument of a BTF tracepoint, or what is loaded
//! through one) is read directly at about a nanosecond; any other address goes through a helper
//! at about ten. Both give 0 for memory that cannot be read.

use core::mem::{MaybeUninit, size_of};

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;

/// An address in kernel memory and the way to read from it.
pub(crate) trait Kernel: Copy {
    /// Takes an address that this way can read.
    fn at(address: u64) -> Self;

    /// The address.
    fn address(self) -> u64;

    /// Reads a number at a byte offset. `T` must be an integer.
    fn read<T: Copy>(self, offset: u32) -> T;

    /// Follows the pointer at a byte offset.
    #[inline(always)]
    fn follow(self, offset: u32) -> Self {
        Self::at(self.read(offset))
    }
}

/// Readable by load instructions: the verifier knows the type.
#[derive(Clone, Copy)]
pub(crate) struct Typed(*const u8);

/// Readable through the helper only.
#[derive(Clone, Copy)]
pub(crate) struct Untyped(u64);

impl Kernel for Typed {
    #[inline(always)]
    fn at(address: u64) -> Self {
        Self(address as *const u8)
    }

    #[inline(always)]
    fn address(self) -> u64 {
        self.0 as u64
    }

    #[inline(always)]
    fn read<T: Copy>(self, offset: u32) -> T {
        let field = self.0.wrapping_add(offset as usize).cast::<T>();
        // SAFETY: the verifier admits the load only if the field lies within the type behind the
        // pointer, and the kernel turns a fault into zeros.
        unsafe { field.read_volatile() }
    }
}

impl Kernel for Untyped {
    #[inline(always)]
    fn at(address: u64) -> Self {
        Self(address)
    }

    #[inline(always)]
    fn address(self) -> u64 {
        self.0
    }

    #[inline(always)]
    fn read<T: Copy>(self, offset: u32) -> T {
        // Not zeroed here: for three words that is a loop, which the verifier would follow each time.
        let mut value = MaybeUninit::<T>::uninit();
        let from = (self.0 + u64::from(offset)) as *const _;
        // SAFETY: the destination is a `T`.
        unsafe { bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, from) };
        // SAFETY: the helper has written every byte, zeros if it cannot read; integers have no invalid
        // values.
        unsafe { value.assume_init() }
    }
}
