//! What goes wrong around a recorder: each fault has its own clear words, its exit code, and leaves nothing.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use guard_tests::host;
use guard_tests::recorder::Place;
use guard_tests::tracer::{Ended, Tracer};
use rustix::mount::{MountFlags, mount_remount};

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
