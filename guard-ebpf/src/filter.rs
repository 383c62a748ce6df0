//! Which processes are recorded.

use guard_common::config::{FILTER_CGROUP, FILTER_UID, FILTER_WATCHED};
use guard_common::layout::ABSENT;

use crate::config::{config, offset};
use crate::read::{Kernel, Untyped};
use crate::{task, watch};

/// Whether a process passes all filters. Reads no more of it than the filters need.
#[inline(always)]
pub(crate) fn passes<K: Kernel>(task: K) -> bool {
    let filter = config!(filter);
    if filter == 0 {
        return true;
    }
    if filter & FILTER_WATCHED != 0 && watch::group(task::tgid(task)) == 0 {
        return false;
    }
    if filter & FILTER_UID != 0
        && task.follow(offset!(task_cred)).read::<u32>(offset!(cred_uid)) != config!(uid)
    {
        return false;
    }
    filter & FILTER_CGROUP == 0 || is_placed(Untyped::at(task.address()))
}

/// Whether a task is in or below the wanted control group, in whichever hierarchy that is.
#[inline(always)]
fn is_placed(task: Untyped) -> bool {
    let set = task.follow(offset!(task_cgroups));
    let (pids, memory) = (offset!(subsys_pids), offset!(subsys_memory));
    in_cgroup(set.follow(offset!(css_set_dfl_cgrp)))
        || pids != ABSENT && in_cgroup(task::controller_cgroup(set, pids))
        || memory != ABSENT && in_cgroup(task::controller_cgroup(set, memory))
}

/// Whether a control group is the wanted one or below it.
#[inline(always)]
fn in_cgroup(cgroup: Untyped) -> bool {
    let level = config!(cgroup_level);
    let hierarchy: u32 = cgroup.follow(offset!(cgroup_root)).read(offset!(cgroup_root_hierarchy_id));
    let depth: u32 = cgroup.read(offset!(cgroup_level));
    if hierarchy != config!(cgroup_hierarchy) || depth < level {
        return false;
    }
    let id = if offset!(cgroup_ancestors) != ABSENT {
        task::cgroup_id(cgroup.follow(offset!(cgroup_ancestors) + level * 8))
    } else {
        cgroup.read::<u64>(offset!(cgroup_ancestor_ids) + level * 8)
    };
    id == config!(cgroup_id)
}
