//! What goes wrong around a recorder: each fault has its own clear words, its exit code, and leaves nothing.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use guard_tests::recorder::{self, Place};
use guard_tests::trace::Trace;
use guard_tests::tracer::{Ended, Tracer};
use guard_tests::{host, truth};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

/// Runs `processguard record` at a place with other pins, to its end.
fn record_at(place: &Place, pins: &Path) -> Result<Ended> {
    let mut command = vec![host::processguard()?.into_os_string(), "record".into()];
    command.extend([place.recording().into(), "--pins".into(), pins.into()]);
    command.extend(["--socket".into(), place.socket().into()]);
    Tracer::spawn(&command)?.wait()
}

fn assert_refused(ended: &Ended, words: &[&str]) {
    assert_eq!(ended.status.code(), Some(7), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    for words in words {
        assert!(ended.stderr.contains(words), "{words:?} is not in {}", ended.stderr);
    }
}

#[test]
fn without_a_bpf_file_system_the_remedy_is_named() -> Result<()> {
    let place = Place::new()?;
    let elsewhere = tempfile::tempdir()?;
    let ended = record_at(&place, &elsewhere.path().join("processguard"))?;
    assert_refused(&ended, &["is not in a bpf file system", "mount -t bpf bpf /sys/fs/bpf", "--pins"]);
    assert!(!elsewhere.path().join("processguard").exists());
    Ok(())
}

#[test]
fn a_read_only_bpf_file_system_is_named() -> Result<()> {
    let place = Place::new()?;
    mount_remount(place.bpffs(), MountFlags::RDONLY, "").context("remount")?;
    let ended = record_at(&place, &place.pins())?;
    assert_refused(&ended, &["read-only", "remount,rw"]);
    Ok(())
}

#[test]
fn what_is_not_ours_is_refused_and_left_alone() -> Result<()> {
    let place = Place::new()?;
    // A directory that is named like a sensor of ours, and one that is not.
    let (ours, theirs) = (place.pins().join("v1-12345678"), place.pins().join("theirs"));
    fs::create_dir_all(&ours)?;
    fs::create_dir(&theirs)?;
    let ended = record_at(&place, &place.pins())?;
    assert_refused(&ended, &["v1-12345678", "not a sensor of ours", "sensor detach"]);
    let status = place.sensor(&["status"])?;
    let text = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(text.contains("not made by processguard"), "{text}");
    let detached = place.sensor(&["detach"])?;
    assert!(detached.status.success(), "{detached:?}");
    assert!(!ours.exists());
    assert!(theirs.exists(), "something else's directory was removed");
    Ok(())
}

/// A file system of one mebibyte.
struct Small {
    directory: tempfile::TempDir,
}

impl Small {
    fn new() -> Result<Self> {
        let small = Self { directory: tempfile::tempdir()? };
        let options = Some(c"size=1m");
        mount("tmpfs", small.directory.path(), "tmpfs", MountFlags::empty(), options).context("mount")?;
        Ok(small)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = unmount(self.directory.path(), UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk_ends_the_recorder_and_the_ring_keeps_the_rest() -> Result<()> {
    let place = Place::new()?;
    let small = Small::new()?;
    let recording = small.directory.path().join("recording");
    fs::create_dir_all(&recording)?;
    std::os::unix::fs::symlink(&recording, place.recording())?;
    let recorder = place.record(&["--ring-size", "32MiB"])?;
    let truth = truth::run(&["storm", "--count", "1500"])?;
    let ended = recorder.wait()?;
    assert_eq!(ended.status.code(), Some(5), "{}", ended.stderr);
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(last.contains("No space left") && last.contains("make room"), "{last}");
    // Room is made: the whole recording moves to a larger place, and the next recorder goes on.
    let larger = tempfile::tempdir()?;
    for file in recorder::files(&recording)? {
        fs::copy(&file, larger.path().join(file.file_name().context("name")?))?;
    }
    fs::remove_file(place.recording())?;
    std::os::unix::fs::symlink(larger.path(), place.recording())?;
    recorder::stop(place.record(&[])?)?;
    let trace = place.replay(&["--events", "fork,exec,exit"])?;
    for child in truth.all("child") {
        let actions: Vec<_> = trace.of(child)?.iter().map(|record| record.action()).collect();
        ensure!(actions == ["fork", "exec", "exit"], "{child:?}: {actions:?}");
    }
    assert_eq!(trace.lost_in_all()?, 0);
    Ok(())
}

#[test]
fn a_damaged_file_is_a_gap_between_what_comes_before_and_after() -> Result<()> {
    let place = Place::new()?;
    let recorder = place.record(&["--max-size", "64KiB"])?;
    truth::run(&["storm", "--count", "300"])?;
    let last = truth::run(&["run", "--", "/bin/true"])?;
    recorder::stop(recorder)?;
    let first = recorder::files(&place.recording())?.into_iter().next().context("no file")?;
    let mut bytes = fs::read(&first)?;
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).context("empty")? ^= 0xff;
    fs::write(&first, bytes)?;
    let mut command = guard_tests::tracer::trace_command(&["--format", "json", "--input"])?;
    command.push(place.recording().into());
    let ended = Tracer::spawn(&command)?.wait()?;
    assert_eq!(ended.status.code(), Some(6), "{}", ended.stderr);
    let name = first.file_name().and_then(|name| name.to_str()).context("name")?;
    assert!(ended.stderr.contains(name) && ended.stderr.contains("byte "), "{}", ended.stderr);
    let trace = Trace::parse(ended.stdout, ended.stderr)?;
    assert_eq!(trace.all("gap").count(), 1, "what the damage hides");
    let actions: Vec<_> = trace.of(last.one("program")?)?.iter().map(|record| record.action()).collect();
    assert_eq!(actions, ["fork", "exec", "exit"]);
    Ok(())
}
