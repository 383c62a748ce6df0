//! Container and systemd unit from a control group's path.
//!
//! Runtimes name a container's group after its full id, under one of two drivers: `cgroupfs`
//! (`/docker/ID`) or `systemd` (`/system.slice/docker-ID.scope`). A group that only looks like
//! one (`libpod-conmon-ID.scope`: the monitor outside the container) has something else than the
//! bare id after the prefix. Containers nest (kind runs pods inside a docker container), and so
//! do units: the innermost counts.

use crate::event::{Cgroup, Container};

/// Digits of a full container id: a SHA-256 or as many random bytes, in hexadecimal.
const ID_DIGITS: usize = 64;

const DOCKER: &str = "docker";
const CONTAINERD: &str = "containerd";
const CRI_O: &str = "cri-o";
const PODMAN: &str = "podman";

/// What precedes the id in a component of its own: `docker-ID.scope`.
const PREFIXES: [(&str, &str); 6] = [
    ("docker-", DOCKER),
    ("cri-containerd-", CONTAINERD),
    ("nerdctl-", CONTAINERD),
    ("crio-", CRI_O),
    ("libpod-payload-", PODMAN),
    ("libpod-", PODMAN),
];

/// What precedes the id where a systemd path reached a runtime that does not speak it:
/// `SLICE:cri-containerd:ID`.
const COLON_NAMES: [(&str, &str); 5] = [
    ("docker", DOCKER),
    ("cri-containerd", CONTAINERD),
    ("nerdctl", CONTAINERD),
    ("crio", CRI_O),
    ("libpod", PODMAN),
];

/// Types of units that have processes. Slices only hold other units.
const UNIT_TYPES: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];

/// All that a path tells of its control group.
#[must_use]
pub fn describe(hierarchy: u32, id: u64, path: &str) -> Cgroup {
    Cgroup { id, hierarchy, path: Some(path.into()), container: container(path), unit: unit(path) }
}

fn container(path: &str) -> Option<Container> {
    let (parent, (id, runtime)) = path.rsplit('/').enumerate().find_map(|(index, component)| {
        let found = named(component)?;
        Some((path.rsplit('/').nth(index + 1), found))
    })?;
    let runtime = runtime.or_else(|| (parent == Some("docker")).then_some(DOCKER));
    Some(Container { id: id.into(), runtime })
}

/// The container that one component names.
fn named(component: &str) -> Option<(&str, Option<&'static str>)> {
    let name = component.strip_suffix(".scope").unwrap_or(component);
    if is_id(name) {
        return Some((name, None));
    }
    let prefixed = || {
        PREFIXES.iter().find_map(|&(prefix, runtime)| {
            let id = name.strip_prefix(prefix)?;
            is_id(id).then_some((id, Some(runtime)))
        })
    };
    let colons = || {
        let (front, id) = name.rsplit_once(':')?;
        let (_, word) = front.rsplit_once(':')?;
        let &(_, runtime) = COLON_NAMES.iter().find(|&&(name, _)| name == word)?;
        is_id(id).then_some((id, Some(runtime)))
    };
    prefixed().or_else(colons)
}

fn is_id(text: &str) -> bool {
    text.len() == ID_DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn unit(path: &str) -> Option<Box<str>> {
    path.rsplit('/').find_map(|component| {
        // systemd puts an underscore before a unit's name that the kernel could take for one of
        // its own files.
        let name = component.strip_prefix('_').unwrap_or(component);
        let is_unit = |kind| name.strip_suffix(kind).is_some_and(|stem| !stem.is_empty());
        UNIT_TYPES.into_iter().any(is_unit).then(|| name.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "4c01db0b339c6d4b5f6d2d1c0f7bb1d0f3a1f0d5be7a8c7f2e64d3a95b1c0e8f";
    const B: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    /// Path with `A` and `B` for the ids; container's id and runtime; unit.
    type Case = (&'static str, Option<(&'static str, Option<&'static str>)>, Option<&'static str>);

    const CASES: &[Case] = &[
        // No container, no unit.
        ("/", None, None),
        ("", None, None),
        ("/system.slice", None, None),
        ("/user.slice/user-1000.slice", None, None),
        ("/lxc.payload.web", None, None),
        // Units alone.
        ("/init.scope", None, Some("init.scope")),
        ("/system.slice/nginx.service", None, Some("nginx.service")),
        (r"/system.slice/system-getty.slice/getty@tty1.service", None, Some("getty@tty1.service")),
        (r"/system.slice/dev-disk-by\x2duuid-0f3a.swap", None, Some(r"dev-disk-by\x2duuid-0f3a.swap")),
        ("/system.slice/docker.socket", None, Some("docker.socket")),
        ("/system.slice/var-lib-data.mount", None, Some("var-lib-data.mount")),
        ("/system.slice/_cpu.service", None, Some("cpu.service")),
        ("/system.slice/.service", None, None),
        ("/user.slice/user-1000.slice/session-3.scope", None, Some("session-3.scope")),
        ("/user.slice/user-1000.slice/user@1000.service/init.scope", None, Some("init.scope")),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/app-foot@1.service",
            None,
            Some("app-foot@1.service"),
        ),
        ("/system.slice/postgresql@16-main.service/workers", None, Some("postgresql@16-main.service")),
        ("/system.slice/containerd.service", None, Some("containerd.service")),
        // Docker.
        ("/docker/A", Some((A, Some("docker"))), None),
        ("/docker/A/init", Some((A, Some("docker"))), None),
        ("/docker/A/system.slice/cron.service", Some((A, Some("docker"))), Some("cron.service")),
        ("/system.slice/docker-A.scope", Some((A, Some("docker"))), Some("docker-A.scope")),
        (
            "/system.slice/docker-A.scope/system.slice/ssh.service",
            Some((A, Some("docker"))),
            Some("ssh.service"),
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-A.scope",
            Some((A, Some("docker"))),
            Some("docker-A.scope"),
        ),
        ("/docker/buildkit/x6v1k0c9k9m9d1u2x3r4t5y6z", None, None),
        ("/system.slice/docker-4c01db0b339c.scope", None, Some("docker-4c01db0b339c.scope")),
        // containerd and the CRI.
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0a1b_2c.slice/cri-containerd-A.scope",
            Some((A, Some("containerd"))),
            Some("cri-containerd-A.scope"),
        ),
        ("/kubepods/burstable/pod8c2f1f2e-3d4c-4b5a-9687-1c2d3e4f5a6b/A", Some((A, None)), None),
        ("/kubepods/besteffort/pod8c2f1f2e/A/nested", Some((A, None)), None),
        (
            "/system.slice/containerd.service/kubepods-besteffort-pod8c2f.slice:cri-containerd:A",
            Some((A, Some("containerd"))),
            Some("containerd.service"),
        ),
        ("/default/A", Some((A, None)), None),
        ("/system.slice/nerdctl-A.scope", Some((A, Some("containerd"))), Some("nerdctl-A.scope")),
        // kind: a pod inside a docker container.
        (
            "/docker/A/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod1.slice/cri-containerd-B.scope",
            Some((B, Some("containerd"))),
            Some("cri-containerd-B.scope"),
        ),
        // CRI-O.
        (
            "/kubepods.slice/kubepods-pod8c2f.slice/crio-A.scope",
            Some((A, Some("cri-o"))),
            Some("crio-A.scope"),
        ),
        (
            "/kubepods.slice/kubepods-pod8c2f.slice/crio-A.scope/container",
            Some((A, Some("cri-o"))),
            Some("crio-A.scope"),
        ),
        ("/kubepods.slice/kubepods-pod8c2f.slice/crio-conmon-A.scope", None, Some("crio-conmon-A.scope")),
        ("/kubepods-pod8c2f.slice:crio:A", Some((A, Some("cri-o"))), None),
        // podman.
        ("/machine.slice/libpod-A.scope", Some((A, Some("podman"))), Some("libpod-A.scope")),
        ("/machine.slice/libpod-A.scope/container", Some((A, Some("podman"))), Some("libpod-A.scope")),
        ("/machine.slice/libpod-conmon-A.scope", None, Some("libpod-conmon-A.scope")),
        ("/libpod_parent/libpod-A", Some((A, Some("podman"))), None),
        ("/libpod_parent/conmon", None, None),
        ("/libpod-A/container", Some((A, Some("podman"))), None),
        (
            "/machine.slice/machine-libpod_pod_A.slice/libpod-B.scope",
            Some((B, Some("podman"))),
            Some("libpod-B.scope"),
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/web.service/libpod-payload-A",
            Some((A, Some("podman"))),
            Some("web.service"),
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/web.service/runtime",
            None,
            Some("web.service"),
        ),
        // Somebody else's ids.
        ("/ecs/0f1e2d3c4b5a69788796a5b4c3d2e1f0/A", Some((A, None)), None),
        ("/system.slice/foo-A.scope", None, Some("foo-A.scope")),
    ];

    #[test]
    fn containers_and_units_of_real_shapes() {
        // Single capitals stand only for the ids in these paths.
        let fill = |text: &str| text.replace('A', A).replace('B', B);
        for &(path, container, unit) in CASES {
            let cgroup = describe(0, 5, &fill(path));
            let found = cgroup.container.as_ref().map(|found| (&*found.id, found.runtime));
            assert_eq!(found, container, "container of {path}");
            assert_eq!(cgroup.unit.as_deref(), unit.map(fill).as_deref(), "unit of {path}");
        }
    }

    #[test]
    fn ids_are_exactly_64_lower_case_digits() {
        assert!(is_id(A));
        assert!(!is_id(&A.to_uppercase()));
        assert!(!is_id(&A[1..]));
        assert!(!is_id(&format!("{A}0")));
    }
}
