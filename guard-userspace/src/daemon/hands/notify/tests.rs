//! What real processes say, and what hostile ones do.

use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use super::*;

#[test]
fn lines_are_read() {
    let notice = parse(7, b"READY=1\nSTATUS=up\nMAINPID=1\nWATCHDOG=1\n").unwrap();
    let expected =
        Notice { pid: 7, ready: true, watchdog: true, status: Some("up".into()), ..Notice::default() };
    assert_eq!(notice, expected);
    assert!(parse(7, b"STOPPING=1").unwrap().stopping);
    for bytes in [&b""[..], b"READY=0", b"READY=1x", b"\0\0\0", b"FDSTORE=1"] {
        assert_eq!(parse(7, bytes), None);
    }
    let long = [b"STATUS=".as_slice(), &[0xff; 4000]].concat();
    let status = parse(7, &long).unwrap().status.unwrap();
    assert_eq!(status.chars().count(), STATUS_BYTES);
}

#[test]
fn who_says_it_is_what_the_kernel_says() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify.sock");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        drop(Notices::bind(&path).unwrap());
        let mut notices = Notices::bind(&path).unwrap();
        let socket = UnixDatagram::unbound().unwrap();
        socket.connect(&path).unwrap();
        // Nonsense, something too long, and something with a descriptor.
        socket.send(b"nonsense").unwrap();
        socket.send(&[b'x'; MESSAGE_BYTES + 1]).unwrap();
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = rustix::net::SendAncillaryBuffer::new(&mut space);
        let rights = [socket.as_fd()];
        control.push(rustix::net::SendAncillaryMessage::ScmRights(&rights));
        let text = [io::IoSlice::new(b"STATUS=with a descriptor")];
        rustix::net::sendmsg(&socket, &text, &mut control, rustix::net::SendFlags::empty()).unwrap();
        let before = std::fs::read_dir("/proc/self/fd").unwrap().count();
        let first = notices.next().await.unwrap();
        assert_eq!((first.pid, first.status.as_deref()), (std::process::id(), Some("with a descriptor")));
        assert!(std::fs::read_dir("/proc/self/fd").unwrap().count() <= before + 8, "it is not kept");
        UnixDatagram::unbound().unwrap().send_to(b"READY=1\n", &path).unwrap();
        let ready = tokio::time::timeout(Duration::from_secs(30), notices.next()).await.unwrap().unwrap();
        assert!(ready.ready && ready.pid == std::process::id());
    });
}
