//! The shape of a line, as far as it is read back. Keys that are not named here are ignored: they
//! are derived from others, or belong to a later version.

use serde::Deserialize;

use super::resources::ResourcesPart;

#[derive(Debug, Deserialize)]
pub(super) struct Line {
    #[serde(rename = "@timestamp")]
    pub(super) timestamp: String,
    pub(super) event: EventPart,
    pub(super) process: Option<ProcessPart>,
    pub(super) container: Option<ContainerPart>,
    pub(super) server: Option<ServerPart>,
    pub(super) host: HostPart,
    pub(super) processguard: Extras,
}

#[derive(Debug, Deserialize)]
pub(super) struct EventPart {
    pub(super) action: String,
    #[serde(default)]
    pub(super) sequence: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct HostPart {
    pub(super) boot: BootPart,
}

#[derive(Debug, Deserialize)]
pub(super) struct BootPart {
    pub(super) id: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct ServerPart {
    pub(super) ip: std::net::IpAddr,
    pub(super) port: u16,
}

#[derive(Debug, Deserialize)]
pub(super) struct ProcessPart {
    pub(super) pid: u32,
    pub(super) entity_id: Option<String>,
    pub(super) exit_code: Option<u8>,
    #[serde(default)]
    pub(super) name: String,
    pub(super) executable: Option<String>,
    #[serde(default)]
    pub(super) args: Vec<String>,
    #[serde(default)]
    pub(super) args_count: u32,
    #[serde(default)]
    pub(super) working_directory: String,
    pub(super) parent: Option<ParentPart>,
    pub(super) user: IdPart,
    pub(super) group: IdPart,
    pub(super) real_user: IdPart,
    pub(super) real_group: IdPart,
    pub(super) vpid: u32,
}

#[derive(Debug, Deserialize)]
pub(super) struct ParentPart {
    pub(super) pid: u32,
    pub(super) entity_id: Option<String>,
    #[serde(default)]
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct IdPart {
    pub(super) id: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct ContainerPart {
    pub(super) id: Box<str>,
    pub(super) runtime: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Extras {
    pub(super) boottime_ns: u64,
    #[serde(default)]
    pub(super) cpu: u32,
    #[serde(default)]
    pub(super) pid_namespace: u32,
    #[serde(default)]
    pub(super) exec_count: u64,
    #[serde(default)]
    pub(super) kernel_thread: bool,
    pub(super) capabilities: Option<CapabilitiesPart>,
    pub(super) cgroup: Option<CgroupPart>,
    pub(super) unit: Option<Box<str>>,
    #[serde(default)]
    pub(super) executable: ExecutablePart,
    #[serde(default)]
    pub(super) working_directory: DirectoryPart,
    #[serde(default)]
    pub(super) args: ArgsPart,
    pub(super) exec: Option<ExecPart>,
    pub(super) exit: Option<ExitPart>,
    pub(super) signal: Option<SignalPart>,
    pub(super) cause: Option<CausePart>,
    #[serde(default)]
    pub(super) lifetime_ns: u64,
    pub(super) fork_to_exec_ns: Option<u64>,
    pub(super) exec_to_listen_ns: Option<u64>,
    pub(super) usage: Option<UsagePart>,
    pub(super) oom: Option<OomPart>,
    pub(super) stall: Option<StallPart>,
    pub(super) latency: Option<LatencyPart>,
    pub(super) resources: Option<ResourcesPart>,
    #[serde(default)]
    pub(super) lost: Vec<LostPart>,
    pub(super) resync: Option<ResyncPart>,
    pub(super) summary: Option<SummaryPart>,
}

#[derive(Debug, Deserialize)]
pub(super) struct CapabilitiesPart {
    pub(super) effective: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct CgroupPart {
    pub(super) id: u64,
    pub(super) hierarchy: u32,
    pub(super) path: Option<Box<str>>,
    /// Where the group is not the process's own, its unit and container stand inside.
    pub(super) unit: Option<Box<str>>,
    pub(super) container: Option<ContainerPart>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ExecutablePart {
    pub(super) inode: u64,
    pub(super) device: String,
    pub(super) deleted: bool,
    pub(super) truncated: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DirectoryPart {
    pub(super) deleted: bool,
    pub(super) truncated: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ArgsPart {
    pub(super) truncated: bool,
    pub(super) last_cut: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct ExecPart {
    pub(super) calling_thread: u32,
    #[serde(default)]
    pub(super) secure: bool,
    pub(super) since_fork_ns: Option<u64>,
    pub(super) capabilities_gained: Option<GainedPart>,
}

#[derive(Debug, Deserialize)]
pub(super) struct GainedPart {
    pub(super) mask: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct ExitPart {
    pub(super) status: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct SignalPart {
    pub(super) number: u32,
    #[serde(default)]
    pub(super) core: bool,
    #[serde(default)]
    pub(super) code: i32,
    pub(super) result: Option<String>,
    pub(super) origin: Option<String>,
    pub(super) thread: Option<u32>,
    #[serde(default)]
    pub(super) value: u64,
    pub(super) sender: Option<SenderPart>,
}

#[derive(Debug, Deserialize)]
pub(super) struct SenderPart {
    pub(super) pid: u32,
    pub(super) entity_id: Option<String>,
    #[serde(default)]
    pub(super) name: String,
    pub(super) user: IdPart,
}

#[derive(Debug, Deserialize)]
pub(super) struct CausePart {
    pub(super) kind: String,
    pub(super) sender: Option<SenderPart>,
    pub(super) memory_cgroup: Option<CgroupPart>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct UsagePart {
    pub(super) user_ns: u64,
    pub(super) system_ns: u64,
    pub(super) peak_rss_bytes: u64,
    pub(super) minor_faults: u64,
    pub(super) major_faults: u64,
    pub(super) voluntary_switches: u64,
    pub(super) involuntary_switches: u64,
    pub(super) read_bytes: Option<u64>,
    pub(super) write_bytes: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct OomPart {
    pub(super) memory_cgroup: Option<CgroupPart>,
}

#[derive(Debug, Deserialize)]
pub(super) struct StallPart {
    pub(super) kind: String,
    pub(super) thread: u32,
    pub(super) cpu: u32,
    pub(super) waited_ns: u64,
    #[serde(default)]
    pub(super) ongoing: bool,
    pub(super) instead: Option<InsteadPart>,
}

#[derive(Debug, Deserialize)]
pub(super) struct InsteadPart {
    pub(super) pid: u32,
    pub(super) entity_id: Option<String>,
    pub(super) thread: u32,
    #[serde(default)]
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct LatencyPart {
    pub(super) group: u16,
    pub(super) interval_ns: u64,
    #[serde(default)]
    pub(super) run_queue: HistogramPart,
    #[serde(default)]
    pub(super) voluntary: HistogramPart,
    #[serde(default)]
    pub(super) involuntary: HistogramPart,
    #[serde(default)]
    pub(super) uninterruptible: HistogramPart,
    #[serde(default)]
    pub(super) negative: u64,
    #[serde(default)]
    pub(super) missed: u64,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct HistogramPart {
    pub(super) buckets_log2_us: Vec<u64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct LostPart {
    pub(super) kind: String,
    pub(super) cause: String,
    pub(super) cpu: Option<u32>,
    pub(super) count: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct ResyncPart {
    pub(super) reason: String,
    #[serde(default)]
    pub(super) duration_ns: u64,
    #[serde(default)]
    pub(super) found: u64,
    #[serde(flatten)]
    pub(super) drift: DriftPart,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DriftPart {
    pub(super) inserted: u64,
    pub(super) ended: u64,
    pub(super) programs: u64,
    pub(super) parents: u64,
    pub(super) users: u64,
    pub(super) capabilities: u64,
    pub(super) names: u64,
    pub(super) cgroups: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct SummaryPart {
    pub(super) kinds: Vec<KindPart>,
    #[serde(default)]
    pub(super) undecodable: u64,
    #[serde(default)]
    pub(super) resyncs: ResyncsPart,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ResyncsPart {
    pub(super) count: u64,
    #[serde(flatten)]
    pub(super) drift: DriftPart,
}

#[derive(Debug, Deserialize)]
pub(super) struct KindPart {
    pub(super) kind: String,
    #[serde(default)]
    pub(super) seen: u64,
    #[serde(default)]
    pub(super) shown: u64,
    pub(super) lost: LostByCause,
}

#[derive(Debug, Deserialize)]
pub(super) struct LostByCause {
    pub(super) ring_full: u64,
    pub(super) recursion: Option<u64>,
    #[serde(default)]
    pub(super) slow_reader: u64,
    #[serde(default)]
    pub(super) unreadable: u64,
}
