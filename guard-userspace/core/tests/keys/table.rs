//! One row for each key: a service's body in which one value is changed.

/// A key and what is changed: `<one|other>`. ` ++ ` stands between lines of the body, ` NEXT ` before another document.
pub(crate) struct Row {
    /// The key, below its definition in the schema.
    pub(crate) key: &'static str,
    pub(crate) body: &'static str,
    /// Added to the scenario's timeline.
    pub(crate) world: &'static str,
}

/// Keys that cannot stand in `defaults:` by themselves: they go with documents of their own.
pub(crate) const NOT_SHARED: &[&str] = &[];

const fn row(key: &'static str, body: &'static str) -> Row {
    Row { key, body, world: "" }
}

pub(crate) const ROWS: &[Row] = &[
    // service
    row("service.labels", "labels: { a: <b|c> } ++ checks: { p: { tcp: a:1 } } ++ actions: { p: [alert] }"),
    row("service.owner", "owner: <a|b> ++ checks: { p: { tcp: a:1 } } ++ actions: { p: [alert] }"),
    row("service.impact", "impact: <low|medium> ++ checks: { p: { tcp: a:1 } } ++ actions: { p: [alert] }"),
    row("service.rto", "rto: <1s|1h> ++ restart: { backoff: { initial: 30s } }"),
    row(
        "service.runbook",
        "runbook: http://<a|b>/ ++ checks: { p: { tcp: a:1 } } ++ actions: { p: [alert] }",
    ),
    row("service.group", "group: <a|b> ++ restart: always NEXT host: { groups: { a: 1/1h, b: 9/1h } }"),
    row("service.run", "run: { command: [/bin/<a|b>] }"),
    row("service.adopt", "adopt: { exe: /bin/<app|b>, restart_via: { command: [/bin/a] } }"),
    row("service.ready", "ready: <started|notify>"),
    row("service.depends_on", "depends_on: <[]|[db]> NEXT service: db ++ run: { command: [/bin/db] }"),
    row("service.restart", "restart: <always|never>"),
    row("service.stop", "restart: { on: always, budget: 50/10m } ++ stop: { signal: <SIGTERM|SIGINT> }"),
    row("service.checks", "checks: { p: { tcp: <a|b>:1 } }"),
    row("service.actions", "checks: { p: { tcp: a:1 } } ++ actions: { p: [<alert|restart>] }"),
    row("service.failover", FAILOVER_PROMOTE),
    row("service.mode", "mode: <act|observe>"),
    // run
    row("run.command", "run: { command: [/bin/app, <a|b>] }"),
    row("run.user", "run: { command: [/bin/app], user: <a|b> }"),
    row("run.group", "run: { command: [/bin/app], group: <a|b> }"),
    row("run.environment", "run: { command: [/bin/app], environment: { A: <a|b> } }"),
    row("run.directory", "run: { command: [/bin/app], directory: /<a|b> }"),
    row("run.ports", "run: { command: [/bin/app, \"{port}\"], ports: { first: <80|81> } }"),
    row("run.instances", "run: { command: [/bin/app], instances: <1|2> }"),
    row("run.limits", "run: { command: [/bin/app], limits: { memory: <1GiB|2GiB> } }"),
    row("run.capabilities", "run: { command: [/bin/app], capabilities: [<chown|kill>] }"),
    row("run.log", "run: { command: [/bin/app], log: <journal|none> }"),
    row("ports.first", "run: { command: [/bin/app, \"{port}\"], ports: { first: <80|81> } }"),
    row("instances.min", "run: { command: [/bin/app], instances: { min: <0|1>, start: 1, max: 1 } }"),
    row("instances.start", "run: { command: [/bin/app], instances: { min: 1, start: <1|2>, max: 3 } }"),
    row(
        "instances.max",
        "run: { command: [/bin/app], instances: { min: 0, start: 1, max: <1|2> } } ++ checks: { p: { tcp: a:1 } } ++ actions: { p: [{ scale: { by: 1 } }] }",
    ),
    row("limits.memory", "run: { command: [/bin/app], limits: { memory: <1GiB|2GiB> } }"),
    row("limits.cpu", "run: { command: [/bin/app], limits: { cpu: <100%|200%> } }"),
    row("limits.processes", "run: { command: [/bin/app], limits: { processes: <10|20> } }"),
    row("limits.open_files", "run: { command: [/bin/app], limits: { open_files: <1000|2000> } }"),
    row("limits.core", "run: { command: [/bin/app], limits: { core: <0B|1GiB> } }"),
    row("limits.scope", "run: { command: [/bin/app], limits: { memory: 1GiB, scope: <instance|service> } }"),
    row("log.journal", "run: { command: [/bin/app], log: <journal|none> }"),
    row("log.none", "run: { command: [/bin/app], log: <none|journal> }"),
    row("log.file", "run: { command: [/bin/app], log: { file: /<a|b> } }"),
    row("log.max_size", "run: { command: [/bin/app], log: { file: /a, max_size: <1MiB|2MiB> } }"),
    row("log.keep", "run: { command: [/bin/app], log: { file: /a, keep: <1|2> } }"),
    // adopt
    row("adopt.exe", "adopt: { exe: /bin/<app|b>, restart_via: { command: [/bin/r] } }"),
    row(
        "adopt.command",
        "adopt: { exe: /bin/app, command: <app|other>, restart_via: { command: [/bin/r] } }",
    ),
    row("adopt.user", "adopt: { exe: /bin/app, user: <1|2>, restart_via: { command: [/bin/r] } }"),
    row("adopt.cgroup", "adopt: { cgroup: /<a/b|c/d>, restart_via: { command: [/bin/r] } }"),
    row("adopt.unit", "adopt: { unit: <a|b>.service, restart_via: { unit: a.service } }"),
    row(
        "adopt.container",
        "adopt: { container: <0123456789ab|0123456789ac>, restart_via: { command: [/bin/r] } }",
    ),
    row("adopt.listens", "adopt: { listens: <80|81>, restart_via: { command: [/bin/r] } }"),
    row("adopt.restart_via", "adopt: { exe: /bin/app, restart_via: { command: [/bin/<r|s>] } }"),
    row("adopt.timeout", "adopt: { exe: /bin/app, restart_via: { command: [/bin/r] }, timeout: <1m|2m> }"),
    row("adopt.min", "adopt: { exe: /bin/app, restart_via: { command: [/bin/r] }, min: <1|2> }"),
    row("restart_via.command", "adopt: { exe: /bin/app, restart_via: { command: [/bin/<r|s>] } }"),
    row("restart_via.unit", "adopt: { exe: /bin/app, restart_via: { unit: <a|b>.service } }"),
    row(
        "restart_via.container",
        "adopt: { exe: /bin/app, restart_via: { container: { name: <a|b>, runtime: docker } } }",
    ),
    row(
        "restart_via.container.name",
        "adopt: { exe: /bin/app, restart_via: { container: { name: <a|b>, runtime: docker } } }",
    ),
    row(
        "restart_via.container.runtime",
        "adopt: { exe: /bin/app, restart_via: { container: { name: a, runtime: <docker|podman> } } }",
    ),
    // ready
    row("ready.started", "ready: <started|notify>"),
    row("ready.listen", "ready: { listen: <80|81> }"),
    row("ready.notify", "ready: <notify|started>"),
    row("ready.delay", "ready: { delay: <1s|2s> }"),
    row("ready.http", "ready: { http: \"http://127.0.0.1:<80|81>/\" }"),
    row("ready.tcp", "ready: { tcp: \"127.0.0.1:<80|81>\" }"),
    row("ready.exec", "ready: { exec: [/bin/<a|b>] }"),
    row("ready.tls", "ready: { tls: \"127.0.0.1:<80|81>\" }"),
    row("ready.auth", "ready: { auth: \"http://127.0.0.1:<80|81>/\" }"),
    row("ready.within", "ready: { notify: {}, within: <100ms|1m> }"),
    // restart
    row("restart.on", "restart: { on: <always|failure> }"),
    row("restart.budget", "restart: { budget: <2/10m|5/10m> }"),
    row("restart.backoff", "restart: { backoff: { initial: <1s|2s> } }"),
    row("restart.success", "restart: { success: <0|[0, 3]> }"),
    row("restart.never", "restart: { never: [<4|3>] }"),
    row("restart.slow_retry", "restart: { budget: 1/10m, slow_retry: <1m|2m> }"),
    row("backoff.initial", "restart: { backoff: { initial: <1s|2s> } }"),
    row("backoff.factor", "restart: { backoff: { initial: 1s, factor: <1|3> } }"),
    row("backoff.max", "restart: { backoff: { initial: 1s, max: <1s|9s> } }"),
    row("backoff.jitter", "restart: { backoff: { initial: 1s, jitter: <0%|50%> } }"),
    row("backoff.reset_after", "restart: { backoff: { initial: 1s, reset_after: <1s|1h> } }"),
    // stop
    row("stop.signal", "restart: { on: always, budget: 50/10m } ++ stop: { signal: <SIGTERM|SIGINT> }"),
    row("stop.timeout", "restart: { on: always, budget: 50/10m } ++ stop: { timeout: <5s|50s> }"),
    row("stop.kill", "restart: { on: always, budget: 50/10m } ++ stop: { kill: <cgroup|group> }"),
    // probes
    row("probe.http", "checks: { p: { http: \"http://127.0.0.1:<80|81>/\" } }"),
    row("probe.tcp", "checks: { p: { tcp: \"127.0.0.1:<80|81>\" } }"),
    row("probe.exec", "checks: { p: { exec: [/bin/<a|b>] } }"),
    row("probe.tls", "checks: { p: { tls: \"127.0.0.1:<80|81>\" } }"),
    row("probe.auth", "checks: { p: { auth: \"http://127.0.0.1:<80|81>/\" } }"),
    row("probe.every", "checks: { p: { tcp: a:1, every: <5s|10s> } }"),
    row("probe.fail_after", "checks: { p: { tcp: a:1, fail_after: <1|4> } }"),
    row("probe.pass_after", "checks: { p: { tcp: a:1, fail_after: 1, pass_after: <1|4> } }"),
    row("probe.scope", "checks: { p: { tcp: a:1, scope: <instance|service> } }"),
    row("probe.grace", "checks: { p: { tcp: a:1, fail_after: 1, grace: <0s|3m> } }"),
    row("http.url", "checks: { p: { http: { url: \"http://127.0.0.1:<80|81>/\" } } }"),
    row("http.method", "checks: { p: { http: { url: \"http://127.0.0.1/\", method: <GET|HEAD> } } }"),
    row("http.headers", "checks: { p: { http: { url: \"http://127.0.0.1/\", headers: { A: <a|b> } } } }"),
    row("http.status", "checks: { p: { http: { url: \"http://127.0.0.1/\", status: <200|204> } } }"),
    row("http.body", "checks: { p: { http: { url: \"http://127.0.0.1/\", body: <a|b> } } }"),
    row("http.timeout", "checks: { p: { http: { url: \"http://127.0.0.1/\", timeout: <1s|2s> } } }"),
    row(
        "expected.contains",
        "checks: { p: { tcp: { address: a:1, expect: { contains: <a|b> }, send: x } } }",
    ),
    row("expected.matches", "checks: { p: { tcp: { address: a:1, expect: { matches: <a|b> }, send: x } } }"),
    row("tcp.address", "checks: { p: { tcp: { address: \"a:<1|2>\" } } }"),
    row("tcp.send", "checks: { p: { tcp: { address: a:1, expect: x, send: <a|b> } } }"),
    row("tcp.expect", "checks: { p: { tcp: { address: a:1, expect: <a|b>, send: x } } }"),
    row("tcp.timeout", "checks: { p: { tcp: { address: a:1, timeout: <1s|2s> } } }"),
    row("exec.command", "checks: { p: { exec: { command: [/bin/<a|b>] } } }"),
    row("exec.user", "checks: { p: { exec: { command: [/bin/a], user: <a|b> } } }"),
    row("exec.success", "checks: { p: { exec: { command: [/bin/a], success: <0|1> } } }"),
    row("exec.timeout", "checks: { p: { exec: { command: [/bin/a], timeout: <1s|2s> } } }"),
    row("tls.address", "checks: { p: { tls: { address: \"a:<1|2>\" } } }"),
    row("tls.name", "checks: { p: { tls: { address: a:1, name: <a|b> } } }"),
    row("tls.authorities", "checks: { p: { tls: { address: a:1, authorities: /<a|b> } } }"),
    row("tls.days_left", "checks: { p: { tls: { address: a:1, days_left: <1|2> } } }"),
    row("tls.min_version", "checks: { p: { tls: { address: a:1, min_version: <TLSv1.2|TLSv1.3> } } }"),
    row("tls.timeout", "checks: { p: { tls: { address: a:1, timeout: <1s|2s> } } }"),
    row("auth.url", "checks: { p: { auth: { url: \"http://127.0.0.1:<80|81>/\" } } }"),
    row("auth.method", "checks: { p: { auth: { url: \"http://127.0.0.1/\", method: <GET|HEAD> } } }"),
    row("auth.refused", "checks: { p: { auth: { url: \"http://127.0.0.1/\", refused: <401|403> } } }"),
    row("auth.timeout", "checks: { p: { auth: { url: \"http://127.0.0.1/\", timeout: <1s|2s> } } }"),
    // thresholds
    row("threshold.signal", "checks: { t: { signal: <pressure.cpu|cpu>, above: 40% } }"),
    row("threshold.above", "checks: { t: { signal: memory.rss, above: <100MiB|200MiB> } }"),
    row("threshold.below", "checks: { t: { signal: memory.rss, below: <100MiB|200MiB> } }"),
    row(
        "threshold.clear_below",
        "checks: { t: { signal: memory.swap, above: 50MiB, clear_below: <10MiB|40MiB> } }",
    ),
    row(
        "threshold.clear_above",
        "checks: { t: { signal: memory.rss, below: 100MiB, clear_above: <150MiB|200MiB> } }",
    ),
    row("threshold.for", "checks: { t: { signal: memory.rss, above: 100MiB, for: <0s|30s> } }"),
    row("threshold.keep_for", "checks: { t: { signal: memory.rss, below: 100MiB, keep_for: <0s|30s> } }"),
    row(
        "threshold.samples",
        "checks: { t: { signal: memory.rss, above: 100MiB, samples: <1 of 5|5 of 5> } }",
    ),
    row("threshold.every", "checks: { t: { signal: memory.rss, above: 100MiB, every: <1s|17s> } }"),
    row("threshold.window", "checks: { t: { signal: run_queue.p99, above: 20ms, window: <30s|5m> } }"),
    row(
        "threshold.check",
        "checks: { p: { tcp: a:1 }, q: { tcp: a:2 }, t: { signal: response.time, check: <p|q>, above: 20ms } }",
    ),
    row(
        "threshold.quantile",
        "checks: { p: { tcp: a:1 }, t: { signal: response.time, check: p, quantile: <1%|99%>, window: 5m, above: 100ms } }",
    ),
    row("threshold.causes", "checks: { t: { signal: exits, causes: [<fault|error>], above: 0 } }"),
    row("threshold.progress_of", "checks: { t: { signal: progress, progress_of: <log|cpu>, above: 1m } }"),
    row("threshold.exec", "checks: { n: { signal: number, exec: [/bin/<a|b>], above: 10 } }"),
    row(
        "threshold.json",
        "checks: { n: { signal: number, json: { url: \"http://127.0.0.1/<a|b>\", pointer: \"\" }, above: 10 } }",
    ),
    row(
        "threshold.prometheus",
        "checks: { n: { signal: number, prometheus: { url: \"http://127.0.0.1/\", metric: <a|b> }, above: 10 } }",
    ),
    row("threshold.scope", "checks: { t: { signal: memory.rss, above: 100MiB, scope: <instance|service> } }"),
    row("threshold.grace", "checks: { t: { signal: memory.rss, above: 60MiB, grace: <0s|3m> } }"),
    row(
        "json.url",
        "checks: { n: { signal: number, json: { url: \"http://127.0.0.1/<a|b>\", pointer: /a }, above: 10 } }",
    ),
    row(
        "json.pointer",
        "checks: { n: { signal: number, json: { url: \"http://127.0.0.1/\", pointer: /<a|b> }, above: 10 } }",
    ),
    row(
        "json.timeout",
        "checks: { n: { signal: number, json: { url: \"http://127.0.0.1/\", pointer: /a, timeout: <1s|2s> }, above: 10 } }",
    ),
    row(
        "prometheus.url",
        "checks: { n: { signal: number, prometheus: { url: \"http://127.0.0.1/<a|b>\", metric: a }, above: 10 } }",
    ),
    row(
        "prometheus.metric",
        "checks: { n: { signal: number, prometheus: { url: \"http://127.0.0.1/\", metric: <a|b> }, above: 10 } }",
    ),
    row(
        "prometheus.labels",
        "checks: { n: { signal: number, prometheus: { url: \"http://127.0.0.1/\", metric: a, labels: { a: <a|b> } }, above: 10 } }",
    ),
    row(
        "prometheus.timeout",
        "checks: { n: { signal: number, prometheus: { url: \"http://127.0.0.1/\", metric: a, timeout: <1s|2s> }, above: 10 } }",
    ),
    row("progress_of.log", "checks: { t: { signal: progress, progress_of: <log|cpu>, above: 1m } }"),
    row("progress_of.cpu", "checks: { t: { signal: progress, progress_of: <cpu|log>, above: 1m } }"),
    row("progress_of.io", "checks: { t: { signal: progress, progress_of: <io|log>, above: 1m } }"),
    row("progress_of.file", "checks: { t: { signal: progress, progress_of: { file: /<a|b> }, above: 1m } }"),
    row(
        "progress_of.exec",
        "checks: { t: { signal: progress, progress_of: { exec: [/bin/<a|b>] }, above: 1m } }",
    ),
    row(
        "progress_of.json",
        "checks: { t: { signal: progress, progress_of: { json: { url: \"http://127.0.0.1/<a|b>\", pointer: /a } }, above: 1m } }",
    ),
    row(
        "progress_of.prometheus",
        "checks: { t: { signal: progress, progress_of: { prometheus: { url: \"http://127.0.0.1/\", metric: <a|b> } }, above: 1m } }",
    ),
    // actions
    row("actions.steps", "checks: { p: { tcp: a:1 } } ++ actions: { p: { steps: [<alert|restart>] } }"),
    row(
        "actions.breaker",
        "checks: { p: { tcp: a:1 } } ++ actions: { p: { steps: [{ renice: 5 }], breaker: { tries: <1|9>, within: 10s } } }",
    ),
    row(
        "breaker.tries",
        "checks: { p: { tcp: a:1 } } ++ actions: { p: { steps: [{ renice: 5 }], breaker: { tries: <1|9>, within: 10s } } }",
    ),
    row(
        "breaker.within",
        "checks: { p: { tcp: a:1 } } ++ actions: { p: { steps: [{ renice: 5 }], breaker: { tries: 2, within: <10s|50s> } } }",
    ),
    row(
        "breaker.fallback",
        "checks: { p: { tcp: a:1 } } ++ actions: { p: { steps: [{ renice: 5 }], breaker: { tries: 1, within: 10s, fallback: <alert|stop> } } }",
    ),
    row("step.restart", "checks: { p: { tcp: a:1 } } ++ actions: { p: [<restart|alert>] }"),
    row("step.signal", "checks: { p: { tcp: a:1 } } ++ actions: { p: [{ signal: <SIGHUP|SIGUSR1> }] }"),
    row("step.stop", "checks: { p: { tcp: a:1 } } ++ actions: { p: [<stop|alert>] }"),
    row(
        "step.scale",
        "run: { command: [/bin/app], instances: { start: 1, max: 9 } } ++ checks: { p: { tcp: a:1 } } ++ actions: { p: [{ scale: { by: <1|2> } }] }",
    ),
    row("step.failover", FAILOVER_STEP),
    row("step.freeze", "checks: { p: { tcp: a:1 } } ++ actions: { p: [<freeze|thaw>] }"),
    row("step.thaw", "checks: { p: { tcp: a:1 } } ++ actions: { p: [<thaw|freeze>] }"),
    row("step.renice", "checks: { p: { tcp: a:1 } } ++ actions: { p: [{ renice: <1|2> }] }"),
    row(
        "step.requeue",
        "checks: { p: { tcp: a:1 } } ++ actions: { p: [{ requeue: { command: [/bin/<a|b>] } }] }",
    ),
    row("step.exec", "checks: { p: { tcp: a:1 } } ++ actions: { p: [{ exec: { command: [/bin/<a|b>] } }] }"),
    row("step.alert", "checks: { p: { tcp: a:1 } } ++ actions: { p: [{ alert: { message: <a|b> } }] }"),
    row("step.after", "checks: { p: { tcp: a:1 } } ++ actions: { p: [{ alert: {}, after: <0s|10s> }] }"),
    row(
        "step.if_still",
        "checks: { p: { tcp: a:1 } } ++ actions: { p: [alert, { restart: {}, if_still: <1s|10s> }] }",
    ),
    row(
        "step.approval",
        "checks: { p: { tcp: a:1 } } ++ actions: { p: [{ restart: {}, approval: { within: <1m|2m> } }] }",
    ),
    row(
        "step.when",
        "checks: { p: { tcp: a:1 } } ++ actions: { p: [{ alert: {}, when: instances == <1|2> }] }",
    ),
    row(
        "step.signal.name",
        "checks: { p: { tcp: a:1 } } ++ actions: { p: [{ signal: { name: <SIGHUP|SIGUSR1> } }] }",
    ),
    row(
        "step.signal.all",
        "checks: { p: { tcp: a:1 } } ++ actions: { p: [{ signal: { name: SIGHUP, all: <true|false> } }] }",
    ),
    row(
        "scale.by",
        "run: { command: [/bin/app], instances: { start: 1, max: 9 } } ++ checks: { p: { tcp: a:1 } } ++ actions: { p: [{ scale: { by: <1|2> } }] }",
    ),
    row(
        "scale.cooldown",
        "run: { command: [/bin/app], instances: { start: 1, max: 9 } } ++ checks: { p: { tcp: a:1 } } ++ actions: { p: [{ scale: { by: 1, cooldown: <1s|10m> } }, { scale: { by: 1, cooldown: 1s }, if_still: 10s }] }",
    ),
    row(
        "alert.severity",
        "checks: { p: { tcp: a:1 } } ++ actions: { p: [{ alert: { severity: <info|critical> } }] }",
    ),
    row("alert.message", "checks: { p: { tcp: a:1 } } ++ actions: { p: [{ alert: { message: <a|b> } }] }"),
    row(
        "approval.within",
        "checks: { p: { tcp: a:1 } } ++ actions: { p: [{ restart: {}, approval: { within: <1m|2m> } }] }",
    ),
    row(
        "hook.command",
        "checks: { p: { tcp: a:1 } } ++ actions: { p: [{ exec: { command: [/bin/<a|b>] } }] }",
    ),
    row(
        "hook.timeout",
        "checks: { p: { tcp: a:1 } } ++ actions: { p: [{ exec: { command: [/bin/a], timeout: <1s|2s> } }] }",
    ),
    row("act.restart", FALLBACK_RESTART),
    row(
        "act.signal",
        "checks: { p: { tcp: a:1 } } ++ actions: { p: { steps: [{ renice: 5 }], breaker: { tries: 1, within: 10s, fallback: { signal: <SIGHUP|SIGUSR1> } } } }",
    ),
    row(
        "act.stop",
        "checks: { p: { tcp: a:1 } } ++ actions: { p: { steps: [{ renice: 5 }], breaker: { tries: 1, within: 10s, fallback: <stop|alert> } } }",
    ),
    row(
        "act.scale",
        "run: { command: [/bin/app], instances: { start: 1, max: 9 } } ++ checks: { p: { tcp: a:1 } } ++ actions: { p: { steps: [{ renice: 5 }], breaker: { tries: 1, within: 10s, fallback: { scale: { by: <1|2> } } } } }",
    ),
    row("act.failover", FALLBACK_FAILOVER),
    row(
        "act.freeze",
        "checks: { p: { tcp: a:1 } } ++ actions: { p: { steps: [{ renice: 5 }], breaker: { tries: 1, within: 10s, fallback: <freeze|thaw> } } }",
    ),
    row(
        "act.thaw",
        "checks: { p: { tcp: a:1 } } ++ actions: { p: { steps: [{ renice: 5 }], breaker: { tries: 1, within: 10s, fallback: <thaw|freeze> } } }",
    ),
    row(
        "act.renice",
        "checks: { p: { tcp: a:1 } } ++ actions: { p: { steps: [{ renice: 5 }], breaker: { tries: 1, within: 10s, fallback: { renice: <1|2> } } } }",
    ),
    row(
        "act.requeue",
        "checks: { p: { tcp: a:1 } } ++ actions: { p: { steps: [{ renice: 5 }], breaker: { tries: 1, within: 10s, fallback: { requeue: { command: [/bin/<a|b>] } } } } }",
    ),
    row(
        "act.exec",
        "checks: { p: { tcp: a:1 } } ++ actions: { p: { steps: [{ renice: 5 }], breaker: { tries: 1, within: 10s, fallback: { exec: { command: [/bin/<a|b>] } } } } }",
    ),
    row(
        "act.alert",
        "checks: { p: { tcp: a:1 } } ++ actions: { p: { steps: [{ renice: 5 }], breaker: { tries: 1, within: 10s, fallback: { alert: { message: <a|b> } } } } }",
    ),
    // failover
    row(
        "failover.standbys",
        "checks: { p: { tcp: a:1 } } ++ actions: { p: [failover] } ++ failover: { standbys: [<s|t>], fence: { command: [/bin/f] }, promote: { command: [/bin/p] } } NEXT service: s ++ run: { command: [/bin/s] } NEXT service: t ++ run: { command: [/bin/t] }",
    ),
    row(
        "failover.demote",
        "checks: { p: { tcp: a:1 } } ++ actions: { p: [failover] } ++ failover: { standbys: [s], demote: { command: [/bin/<d|e>] }, fence: { command: [/bin/f] }, promote: { command: [/bin/p] } } NEXT service: s ++ run: { command: [/bin/s] }",
    ),
    row(
        "failover.fence",
        "checks: { p: { tcp: a:1 } } ++ actions: { p: [failover] } ++ failover: { standbys: [s], fence: { command: [/bin/<f|g>] }, promote: { command: [/bin/p] } } NEXT service: s ++ run: { command: [/bin/s] }",
    ),
    row(
        "failover.promote",
        "checks: { p: { tcp: a:1 } } ++ actions: { p: [failover] } ++ failover: { standbys: [s], fence: { command: [/bin/f] }, promote: { command: [/bin/<p|q>] } } NEXT service: s ++ run: { command: [/bin/s] }",
    ),
    Row {
        key: "failover.budget",
        body: FAILOVER_BUDGET,
        world: "  - { at: 1m, of: app, from_now_on: { hooks: { fence: { fails: no } } } }\n",
    },
    row(
        "demote.command",
        "checks: { p: { tcp: a:1 } } ++ actions: { p: [failover] } ++ failover: { standbys: [s], demote: { command: [/bin/<d|e>] }, fence: { command: [/bin/f] }, promote: { command: [/bin/p] } } NEXT service: s ++ run: { command: [/bin/s] }",
    ),
    row(
        "demote.timeout",
        "checks: { p: { tcp: a:1 } } ++ actions: { p: [failover] } ++ failover: { standbys: [s], demote: { command: [/bin/d], timeout: <1s|2s> }, fence: { command: [/bin/f] }, promote: { command: [/bin/p] } } NEXT service: s ++ run: { command: [/bin/s] }",
    ),
    Row {
        key: "demote.required",
        body: "checks: { p: { tcp: a:1 } } ++ actions: { p: [failover] } ++ failover: { standbys: [s], demote: { command: [/bin/d], required: <true|false> }, fence: { command: [/bin/f] }, promote: { command: [/bin/p] } } NEXT service: s ++ run: { command: [/bin/s] }",
        world: "  - { at: 1m, of: app, from_now_on: { hooks: { demote: { fails: no } } } }\n",
    },
    // host and defaults
    row("host.budget", "restart: always NEXT host: { budget: <1/1h|9/1h> }"),
    row("host.groups", "group: a ++ restart: always NEXT host: { groups: { a: <1/1h|9/1h> } }"),
    row("host-document.host", "restart: always NEXT host: { budget: <1/1h|9/1h> }"),
    row(
        "defaults-document.defaults",
        "restart: { backoff: { factor: 2 } } NEXT defaults: { restart: { budget: <1/1h|9/1h> } }",
    ),
];

const FAILOVER_PROMOTE: &str = "checks: { p: { tcp: a:1 } } ++ actions: { p: [failover] } ++ failover: { standbys: [s], fence: { command: [/bin/f] }, promote: { command: [/bin/<p|q>] } } NEXT service: s ++ run: { command: [/bin/s] }";
const FAILOVER_STEP: &str = "checks: { p: { tcp: a:1 } } ++ actions: { p: [<failover|alert>] } ++ failover: { standbys: [s], fence: { command: [/bin/f] }, promote: { command: [/bin/p] } } NEXT service: s ++ run: { command: [/bin/s] }";
const FALLBACK_FAILOVER: &str = "checks: { p: { tcp: a:1 } } ++ actions: { p: { steps: [{ renice: 5 }], breaker: { tries: 1, within: 10s, fallback: <failover|alert> } } } ++ failover: { standbys: [s], fence: { command: [/bin/f] }, promote: { command: [/bin/p] } } NEXT service: s ++ run: { command: [/bin/s] }";
const FALLBACK_RESTART: &str = "checks: { p: { tcp: a:1 } } ++ actions: { p: { steps: [{ renice: 5 }], breaker: { tries: 1, within: 10s, fallback: <restart|alert> } } }";
/// The fence fails again and again, until the budget is spent.
const FAILOVER_BUDGET: &str = "checks: { p: { tcp: a:1 } } ++ actions: { p: [failover, { failover: {}, if_still: 10s }] } ++ failover: { standbys: [s], fence: { command: [/bin/f] }, promote: { command: [/bin/p] }, budget: <1/1h|9/1h> } NEXT service: s ++ run: { command: [/bin/s] }";
