//! What happens to a process before its start is answered.

use guard_core::ids::ProcId;
use guard_core::policy::{Source, load};
use guard_core::supervise::{Deed, Done, Effect, Input, Plan, ServiceState};

use crate::world::{process, supervisor};

#[test]
fn who_is_ready_before_its_start_is_answered_is_ready() {
    let text = "version: processguard/v1\nservice: quick\nrun: { command: [/usr/bin/quick] }\nready: { notify: {}, within: 15s }\n";
    let set = load(&[Source { name: "quick.yaml", bytes: text.as_bytes() }]).set.expect("it is valid");
    let mut supervisor = supervisor(1);
    supervisor.handle(1, Input::Policies(set.into()));
    let effects = std::iter::from_fn(|| supervisor.poll_effect());
    let start = effects.into_iter().find_map(|effect| match effect {
        Effect::Act(Plan { id, deed: Deed::Start { .. }, .. }) => Some(id),
        _ => None,
    });
    let start = start.expect("it is to be started");
    let main = ProcId { pid: 9, start_ns: 2 };
    supervisor.handle(3, Input::Notified(ProcId { pid: 8, start_ns: 2 }));
    supervisor.handle(3, Input::Notified(main));
    supervisor.handle(4, Input::Done { id: start, result: Ok(Done::Started(process(main, "quick"))) });
    assert_eq!(supervisor.state("quick"), Some(ServiceState::Healthy));
}
