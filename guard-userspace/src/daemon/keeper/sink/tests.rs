//! Sinks on real file systems and sockets.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use super::*;

fn file(path: PathBuf, max_size: u64, keep: u32) -> Sink {
    Sink::new(&Target::File { path, max_size, keep }, Path::new("/nowhere"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|_| "-".into())
}

#[test]
fn a_file_is_rotated_at_line_ends() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("below/x.log");
    let mut sink = file(path.clone(), 10, 2);
    let now = Instant::now();
    assert_eq!(sink.write(b"1234\n6789\n", now), 0);
    assert_eq!(sink.write(b"a\nb\nc\nd\ne\nf", now), 0);
    assert_eq!(sink.write(b"gh\nlonger than a file\nx\n", now), 0);
    let older = |number| read(&directory.path().join(format!("below/x.log.{number}")));
    let all = [older(3), older(2), older(1), read(&path)];
    assert_eq!(all, ["-", "longer tha", "n a file\n", "x\n"], "{all:?}");
    for number in 1..=2 {
        assert!(older(number).len() <= 10);
    }
    // Another one moves it away: a new one is begun.
    fs::rename(&path, directory.path().join("moved")).unwrap();
    sink.write(b"y\n", now + Duration::from_secs(2));
    assert_eq!(read(&path), "y\n");
    // The next keeper goes on where this one was.
    let mut next = file(path.clone(), 10, 0);
    next.write(b"zzz\n", now);
    assert_eq!(read(&path), "y\nzzz\n");
    next.write(b"55555\n", now);
    assert_eq!((read(&path), older(1)), ("55555\n".into(), "n a file\n".into()), "none is kept");
    assert_eq!((sink.trouble(), next.trouble()), (None, None));
}

/// A file system of its own, of 64 KiB.
struct Small(tempfile::TempDir);

impl Small {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data = c"size=64k";
        rustix::mount::mount("none", directory.path(), "tmpfs", rustix::mount::MountFlags::empty(), data)
            .unwrap();
        Self(directory)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk_is_counted_and_told_once_there_is_room() {
    let small = Small::new();
    let path = small.0.path().join("x.log");
    let ballast = small.0.path().join("ballast");
    fs::write(&ballast, vec![0; 32 * 1024]).unwrap();
    let mut sink = file(path.clone(), 1 << 20, 1);
    let line = [b'x'; 99].iter().chain(b"\n").copied().collect::<Vec<u8>>();
    let mut lost = 0;
    let now = Instant::now();
    for _ in 0..1000 {
        lost += sink.write(&line, now);
    }
    let there = fs::metadata(&path).unwrap().len();
    assert_eq!(there + lost, 100_000, "each byte is there or counted");
    assert!(lost > 50_000 && there > 10_000, "{there}");
    let trouble = sink.trouble().unwrap();
    assert!(trouble.contains("x.log: No space left on device"), "{trouble}");
    fs::remove_file(&ballast).unwrap();
    assert_eq!(sink.write(b"again\n", now), 0);
    assert_eq!(sink.trouble(), None);
    let text = read(&path);
    let (before, after) = text.split_once("processguard: ").unwrap();
    assert!(before.ends_with('\n'));
    assert_eq!(
        after,
        format!("{lost} bytes of the log are missing here: No space left on device (os error 28)\nagain\n")
    );
}

#[test]
fn a_place_that_cannot_be_written_is_no_end() {
    let directory = tempfile::tempdir().unwrap();
    let blocked = directory.path().join("file");
    fs::write(&blocked, "").unwrap();
    let mut sink = file(blocked.join("x.log"), 1 << 20, 1);
    assert_eq!(sink.write(b"12345", Instant::now()), 5);
    assert!(sink.trouble().unwrap().contains("Not a directory"));
    fs::remove_file(&blocked).unwrap();
    assert_eq!(sink.write(b"x\n", Instant::now()), 0);
    let text = read(&blocked.join("x.log"));
    assert_eq!(text, "processguard: 5 bytes of the log are missing here: Not a directory (os error 20)\nx\n");
}

fn journal(directory: &Path) -> (PathBuf, PathBuf, Sink) {
    let (socket, fallback) = (directory.join("stdout"), directory.join("fallback.log"));
    let target = Target::Journal { identifier: "check\nout".into(), fallback: fallback.clone() };
    let sink = Sink::new(&target, &socket);
    (socket, fallback, sink)
}

#[test]
fn the_journal_gets_lines_and_a_file_stands_in_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let (socket, fallback, mut sink) = journal(directory.path());
    let now = Instant::now();
    assert_eq!(sink.write(b"alone\n", now), 0);
    assert_eq!(read(&fallback), "alone\n");
    assert!(sink.trouble().unwrap().contains("the log goes to"), "{:?}", sink.trouble());
    let listener = UnixListener::bind(&socket).unwrap();
    sink.write(b"too early\n", now);
    let later = now + Duration::from_secs(2);
    sink.write(b"<3>bad\n", later);
    assert_eq!(sink.trouble(), None);
    let (mut stream, _) = listener.accept().unwrap();
    let mut bytes = [0; 100];
    let mut text = String::new();
    while !text.ends_with("bad\n") {
        let count = stream.read(&mut bytes).unwrap();
        text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
    }
    assert_eq!(text, "check out\n\n6\n1\n0\n0\n0\n<3>bad\n");
    // It is restarted.
    drop(stream);
    sink.write(b"between\n", later);
    sink.write(b"after\n", later + Duration::from_secs(2));
    let (mut stream, _) = listener.accept().unwrap();
    drop(sink);
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("after\n"), "{text}");
    assert_eq!(read(&fallback), "alone\ntoo early\nbetween\n");
}

#[test]
fn a_journal_that_takes_nothing_holds_nobody_up() {
    let directory = tempfile::tempdir().unwrap();
    let (socket, fallback, mut sink) = journal(directory.path());
    let listener = UnixListener::bind(&socket).unwrap();
    let now = Instant::now();
    let block = vec![b'x'; 64 * 1024];
    let mut written = 0;
    while sink.waits().is_none() {
        assert_eq!(sink.write(&block, now), 0);
        written += block.len();
    }
    let (_, until) = sink.waits().unwrap();
    assert_eq!(sink.resume(until - Duration::from_millis(1)), 0);
    assert!(sink.waits().is_some());
    assert_eq!(sink.resume(until + Duration::from_secs(5)), 0);
    assert!(sink.waits().is_none() && sink.trouble().is_some());
    let (mut stream, _) = listener.accept().unwrap();
    let mut taken = Vec::new();
    stream.read_to_end(&mut taken).unwrap();
    let header = "check out\n\n6\n1\n0\n0\n0\n".len();
    let aside = usize::try_from(fs::metadata(&fallback).unwrap().len()).unwrap();
    assert_eq!(taken.len() - header + aside, written, "each byte is at one of both");
    let _ = stream.flush();
}
