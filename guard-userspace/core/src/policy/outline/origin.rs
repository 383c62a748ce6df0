//! `run` and `adopt`.

use super::{Keys, Outline, labels, percent, single, texts, word};
use crate::policy::model::{self, Adopt, LogTarget, Port, Readiness, Ready, RestartVia, Run};

pub(super) fn run(run: &Run) -> Outline {
    let mut keys = Keys::default();
    keys.put("command", texts(&run.command));
    keys.maybe("user", run.user.as_deref().map(account));
    keys.maybe("group", run.group.as_deref().map(account));
    keys.filled("environment", labels(&run.environment));
    keys.text("directory", run.directory.to_string_lossy());
    keys.maybe("ports", run.first_port.map(|port| single("first", word(port))));
    let mut instances = Keys::default();
    instances.word("min", run.instances.min);
    instances.word("start", run.instances.start);
    instances.word("max", run.instances.max);
    keys.put("instances", instances.done());
    let mut limits = Keys::default();
    limits.maybe("memory", run.limits.memory.map(|bytes| word(model::bytes(bytes))));
    limits.maybe("cpu", run.limits.cpu.map(|hundredths| word(percent(hundredths as f64 / 100.0))));
    limits.maybe("processes", run.limits.processes.map(word));
    limits.maybe("open_files", run.limits.open_files.map(word));
    limits.maybe("core", run.limits.core.map(|bytes| word(model::bytes(bytes))));
    limits.word("scope", if run.limits.per_service { "service" } else { "instance" });
    keys.put("limits", limits.done());
    keys.maybe("capabilities", run.capabilities.as_ref().map(texts));
    keys.put("log", log(&run.log.target));
    keys.done()
}

fn log(target: &LogTarget) -> Outline {
    match target {
        LogTarget::Journal => word("journal"),
        LogTarget::Null => word("none"),
        LogTarget::File { path, max_size, keep } => {
            let mut keys = Keys::default();
            keys.text("file", path.to_string_lossy());
            keys.word("max_size", model::bytes(*max_size));
            keys.word("keep", keep);
            keys.done()
        }
    }
}

/// A name, or a number that YAML reads as one.
pub(super) fn account(name: &str) -> Outline {
    if name.parse::<u32>().is_ok() { word(name) } else { Outline::Text(name.to_owned()) }
}

pub(super) fn adopt(adopt: &Adopt) -> Outline {
    let selector = &adopt.matching;
    let text = |text: &Option<String>| text.clone().map(Outline::Text);
    let mut keys = Keys::default();
    keys.maybe("exe", text(&selector.exe));
    keys.maybe("command", text(&selector.command));
    keys.maybe("user", selector.user.as_deref().map(account));
    keys.maybe("cgroup", text(&selector.cgroup));
    keys.maybe("unit", text(&selector.unit));
    keys.maybe("container", text(&selector.container));
    keys.maybe("listens", selector.listens.map(word));
    if let Some(via) = &adopt.restart_via {
        keys.put("restart_via", restart_via(via));
        keys.span("timeout", adopt.timeout);
    }
    keys.word("min", adopt.min);
    keys.done()
}

fn restart_via(via: &RestartVia) -> Outline {
    match via {
        RestartVia::Command(command) => single("command", texts(command)),
        RestartVia::Unit(unit) => single("unit", Outline::Text(unit.clone())),
        RestartVia::Container { runtime, container } => {
            let mut keys = Keys::default();
            keys.text("name", container);
            keys.word("runtime", runtime);
            single("container", keys.done())
        }
    }
}

pub(super) fn ready(ready: &Ready) -> Outline {
    let mut keys = Keys::default();
    match &ready.by {
        Readiness::Started => keys.put("started", super::nothing()),
        Readiness::Listen(port) => keys.put("listen", self::port(*port)),
        Readiness::Notify => keys.put("notify", super::nothing()),
        Readiness::Probe(probe) => {
            let (name, value) = super::check::probe(probe);
            keys.put(name, value);
        }
        Readiness::Delay(span) => keys.span("delay", *span),
    }
    keys.span("within", ready.within);
    keys.done()
}

fn port(port: Port) -> Outline {
    match port {
        Port::Fixed(port) => word(port),
        Port::Instance => Outline::Text("{port}".to_owned()),
    }
}
