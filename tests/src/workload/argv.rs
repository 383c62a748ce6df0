//! Argument vectors of all sorts.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use anyhow::{Context, Result};
use serde_json::json;

use super::child::{Child, with};
use super::truth::Truth;
use super::{Args, elf};
use crate::sys;

/// Bytes that a terminal must not get, that are not text, or that only look like other text.
const WEIRD: &[&[u8]] = &[
    b"\xff\xfe not utf-8 \x80",
    b"\x1b[31mred\x1b]0;title\x07",
    b"two\nlines\r\tand a tab",
    b"",
    "right-to-left \u{202e}txt.exe \u{2066}isolate\u{2069}".as_bytes(),
    b"\"quoted\" \\back\\ 'single' $HOME",
    "caf\u{e9} \u{1f980}".as_bytes(),
    b"\x7f\x01\x02 c1: \xc2\x9b31m",
    "half \u{1f980}".as_bytes().split_at(7).0,
];

/// `big-argv --bytes N --each M`: N bytes of arguments, M bytes each with its NUL.
pub(super) fn big(args: &Args) -> Result<()> {
    let (total, each): (usize, usize) = (args.number("bytes", 102_400)?, args.number("each", 100)?);
    let words = (0..total / each).map(|number| {
        let mut word = format!("{number:08}").into_bytes();
        word.resize(each - 1, b'a' + u8::try_from(number % 26).unwrap_or(0));
        word
    });
    let words: Vec<Vec<u8>> = std::iter::once(b"big".to_vec()).chain(words).collect();
    exec(args, OsStr::new("big"), &words)
}

/// `weird-argv`: arguments and a program's name that are not plain text.
pub(super) fn weird(args: &Args) -> Result<()> {
    let words: Vec<Vec<u8>> = WEIRD.iter().map(|word| word.to_vec()).collect();
    exec(args, OsStr::from_bytes(b"we\x1b[1mi\nrd\xff"), &words)
}

fn exec(args: &Args, name: &OsStr, words: &[Vec<u8>]) -> Result<()> {
    let directory = tempfile::tempdir().context("make a temporary directory")?;
    let program = directory.path().join(name);
    elf::write(&program)?;
    let path = program.as_os_str().as_bytes();
    let child = Child::fork(|| Err(sys::execveat(libc::AT_FDCWD, path, words)))?;
    let line = with(child.wait("process")?, "args", json!(words));
    Truth::open(args)?.line(&with(line, "executable", json!(path)))
}

/// `failed-exec`: an exec of what does not exist.
pub(super) fn failed(args: &Args) -> Result<()> {
    let child = Child::fork(|| {
        let _error = sys::execveat(libc::AT_FDCWD, b"/no/such/program", &["none"]);
        Ok(127)
    })?;
    Truth::open(args)?.line(&child.wait("process")?)
}
