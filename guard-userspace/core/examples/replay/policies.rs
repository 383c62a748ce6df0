//! Policies of a host on which everybody has some: one that the stream meets, and as many others as wanted.

use std::sync::Arc;

use guard_core::policy::set::PolicySet;
use guard_core::policy::{Source, load};

/// So many services, read as an operator's files are.
pub(crate) fn set(count: u32) -> Result<Arc<PolicySet>, String> {
    let texts: Vec<(String, String)> =
        (0..count).map(|number| (format!("{number}.yaml"), policy(number))).collect();
    let sources: Vec<Source<'_>> =
        texts.iter().map(|(name, text)| Source { name, bytes: text.as_bytes() }).collect();
    let loaded = load(&sources);
    loaded.set.map(Arc::new).ok_or_else(|| format!("{:?}", loaded.diagnostics.first()))
}

fn policy(number: u32) -> String {
    let adopt = match number % 8 {
        _ if number == 0 => "exe: /opt/hot/bin/worker".to_owned(),
        1 => format!("unit: app{number}.service"),
        2 => format!("command: \"--instance=app{number}( |$)\", user: {}", 2_000 + number % 50),
        3 => format!("exe: /srv/app{number}/**"),
        4 => format!("listens: {}", 10_000 + number),
        5 => format!("cgroup: /kubepods/pod{number}"),
        6 => format!("container: \"{number:012x}\""),
        7 => format!("exe: /usr/bin/python3, command: \"worker-{number}$\""),
        _ => format!("exe: /opt/app{number}/bin/server"),
    };
    format!(
        "version: processguard/v1\nservice: app{number}\nadopt: {{ {adopt} }}\n\
         checks:\n  memory: {{ signal: memory.rss, above: 400MiB, clear_below: 300MiB, for: 30s }}\n\
         actions:\n  memory: [{{ alert: {{ severity: warning }} }}]\n"
    )
}
