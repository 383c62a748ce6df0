//! Ends of real processes.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::super::tests::{Place, id, shell};
use super::*;

async fn gather(exits: &mut Exits, number: usize) -> HashMap<ProcId, Option<i32>> {
    let mut all = HashMap::new();
    while all.len() < number {
        let ended = tokio::time::timeout(Duration::from_secs(30), exits.next()).await.unwrap().unwrap();
        assert!(!ended.is_empty());
        all.extend(ended.into_iter().map(|one| (one.id, one.status)));
    }
    all
}

#[test]
fn ends_of_children_and_of_others() {
    let place = Place::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut exits = Exits::new().unwrap();
        let mut expected = HashMap::new();
        for (command, status) in
            [("exit 0", 0), ("exit 7", 7 << 8), ("kill -TERM $$", 15), ("kill -KILL $$", 9)]
        {
            let (started, _read) = place.start(&shell(command)).unwrap();
            // Some have ended by now, and are told all the same.
            let id = ProcId { pid: started.pid, start_ns: 1 };
            expected.insert(id, Some(status));
            exits.add(id, started.pidfd).unwrap();
            assert!(exits.has(id));
        }
        // Not our child: its parent, the shell, is, and does not wait for it.
        let (_parent, read) = place.start(&shell("sleep 0.2 >/dev/null & echo $!; exec sleep 1000")).unwrap();
        let mut line = String::new();
        BufReader::new(std::fs::File::from(read)).read_line(&mut line).unwrap();
        let pid: u32 = line.trim().parse().unwrap();
        let stranger = id(pid);
        expected.insert(stranger, None);
        let pidfd = pidfd_open(Pid::from_raw(pid.cast_signed()).unwrap(), PidfdFlags::empty()).unwrap();
        exits.add(stranger, pidfd).unwrap();

        let (given_up, _read) = place.start(&shell("exit 1")).unwrap();
        let not_waited = ProcId { pid: given_up.pid, start_ns: 1 };
        exits.add(not_waited, given_up.pidfd).unwrap();
        exits.remove(not_waited);
        assert_eq!(gather(&mut exits, expected.len()).await, expected);
        let more = tokio::time::timeout(Duration::from_millis(50), exits.next()).await;
        assert!(more.is_err(), "that was all");
    });
}

#[test]
fn many_at_once() {
    let place = Place::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut exits = Exits::new().unwrap();
        let mut rooms = Vec::new();
        for _ in 0..100 {
            let (started, _read) = place.start(&shell("sleep 1000")).unwrap();
            exits.add(ProcId { pid: started.pid, start_ns: 1 }, started.pidfd).unwrap();
            rooms.push(started.room);
        }
        rooms.iter().for_each(|room| room.kill().unwrap());
        assert!(gather(&mut exits, 100).await.values().all(|status| *status == Some(9)));
    });
}

#[test]
fn a_look_takes_no_status() {
    let place = Place::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut exits = Exits::new().unwrap();
        let (started, _read) = place.start(&shell("exec sleep 1000")).unwrap();
        let id = id(started.pid);
        assert!(!exits.is_over(id), "nobody waits for it");
        exits.add(id, started.pidfd.try_clone().unwrap()).unwrap();
        assert!(!exits.is_over(id));
        rustix::process::pidfd_send_signal(&started.pidfd, rustix::process::Signal::KILL).unwrap();
        super::super::tests::wait(&started.pidfd);
        assert!(exits.is_over(id) && exits.has(id), "it is told of by the next look for all");
        assert_eq!(exits.now().unwrap(), [Ended { id, status: Some(9) }]);
        assert!(!exits.is_over(id));
    });
}
