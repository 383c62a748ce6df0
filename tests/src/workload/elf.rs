//! The smallest program there is: static, one page, no loader. It exits with the number of its
//! arguments, the name not counted, so a storm's children can end differently at no cost.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context, Result};

/// exit_group(argc - 1): the kernel enters with argc on top of the stack.
#[cfg(target_arch = "x86_64")]
const CODE: &[u8] = &[
    0x8b, 0x3c, 0x24, // mov edi, [rsp]
    0xff, 0xcf, // dec edi
    0xb8, 0xe7, 0x00, 0x00, 0x00, // mov eax, 231
    0x0f, 0x05, // syscall
];
#[cfg(target_arch = "aarch64")]
const CODE: &[u8] = &[
    0xe0, 0x03, 0x40, 0xb9, // ldr w0, [sp]
    0x00, 0x04, 0x00, 0x51, // sub w0, w0, #1
    0xc8, 0x0b, 0x80, 0xd2, // mov x8, #94
    0x01, 0x00, 0x00, 0xd4, // svc #0
];

#[cfg(target_arch = "x86_64")]
const MACHINE: u16 = 62; // EM_X86_64
#[cfg(target_arch = "aarch64")]
const MACHINE: u16 = 183; // EM_AARCH64

const BASE: u64 = 0x40_0000;
const HEADERS: u16 = 64 + 56;

/// Bytes of the program's file: an ELF header, one loadable segment over the whole file, code.
fn image() -> Vec<u8> {
    let size = u64::from(HEADERS) + CODE.len() as u64;
    let mut image = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let half = |image: &mut Vec<u8>, value: u16| image.extend(value.to_le_bytes());
    let word = |image: &mut Vec<u8>, value: u32| image.extend(value.to_le_bytes());
    let long = |image: &mut Vec<u8>, value: u64| image.extend(value.to_le_bytes());
    half(&mut image, 2); // e_type: ET_EXEC
    half(&mut image, MACHINE);
    word(&mut image, 1); // e_version
    long(&mut image, BASE + u64::from(HEADERS)); // e_entry
    long(&mut image, 64); // e_phoff
    long(&mut image, 0); // e_shoff
    word(&mut image, 0); // e_flags
    // e_ehsize, e_phentsize, e_phnum, e_shentsize, e_shnum, e_shstrndx
    [64, 56, 1, 64, 0, 0].iter().for_each(|&value| half(&mut image, value));
    word(&mut image, 1); // p_type: PT_LOAD
    word(&mut image, 5); // p_flags: read, execute
    // p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align
    [0, BASE, BASE, size, size, 0x1000].iter().for_each(|&value| long(&mut image, value));
    image.extend(CODE);
    image
}

/// Writes the program, executable by all.
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: &Path) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
    }
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o755)
        .open(path)
        .with_context(|| format!("create {}", path.display()))?;
    file.write_all(&image()).with_context(|| format!("write {}", path.display()))
}
