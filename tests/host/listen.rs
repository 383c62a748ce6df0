//! Listening sockets: twin of the kernel's `listen.rs`.

use anyhow::{Context, Result};
use guard_tests::tracer::Tracer;
use guard_tests::truth;

#[test]
fn listening_sockets_name_their_process_and_port() -> Result<()> {
    let tracer = Tracer::start(&[])?;
    let addresses = ["127.0.0.1", "0.0.0.0", "::1", "::"];
    let truths = addresses.map(|address| truth::run(&["listen", "--address", address]));
    let trace = tracer.stop()?;
    for truth in truths {
        let truth = truth?;
        let listener = truth.one("listener")?;
        let listens: Vec<_> = trace.with_pid("listen", listener.pid()?).collect();
        let [listen] = listens[..] else { panic!("{listener:?}: {listens:?}") };
        assert_eq!(listen.text("server.ip")?, listener.text("address")?);
        assert_eq!(listen.number("server.port")?, listener.number("port")?);
        assert_eq!(listen.text("process.name")?, "guard-workload");
        let exit = trace.with_pid("exit", listener.pid()?).next().context("no exit")?;
        assert_eq!(listen.identity("process")?, exit.identity("process")?);
    }
    Ok(())
}
