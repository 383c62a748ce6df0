//! What goes wrong with the files of a recording.

use std::fs;

use anyhow::{Context, Result, ensure};
use guard_tests::recorder::{self, Place};
use guard_tests::trace::Trace;
use guard_tests::tracer::Tracer;
use guard_tests::truth;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

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
