//! A sensor that outlives its reader: attached once, pinned, taken up by whoever holds the lock.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use aya::maps::{HashMap, Map, MapData};
use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_RINGBUF;
use guard_common::control::{Control, CpuCounters, MAGIC, Tombstone};
use guard_common::wire::{self, Kind, ProcKey, Snapshot};
use guard_core::event::{Lost, Program};
use guard_core::ids::ProcId;

use super::attach::{self, Attached};
use super::losses::{Losses, Watched};
use super::pins::{self, PinError, Pins};
use super::ring::Ring;
use super::shared::SharedArray;
use super::watch_set::WatchSet;
use super::{Error, Options, bpf, cgroups, processes, watch_set};

/// Places in the map `CONTROL`.
const AT_MAGIC: usize = std::mem::offset_of!(Control, magic) / 8;
const AT_WIRE: usize = std::mem::offset_of!(Control, wire) / 8;
const AT_INSTANCE: usize = std::mem::offset_of!(Control, instance) / 8;
const AT_SUPERSEDED: usize = std::mem::offset_of!(Control, superseded) / 8;
const AT_HOLDER: usize = std::mem::offset_of!(Control, holder) / 8;

/// A pinned sensor, opened. Dropping it leaves it attached.
pub struct Pinned {
    path: PathBuf,
    instance: u64,
    ring: Ring,
    ring_bytes: u32,
    losses: Losses,
    /// Gone with the other links once another version has begun to take over.
    iterator: Option<OwnedFd>,
    watch: WatchSet,
    tombstones: HashMap<MapData, ProcKey, Tombstone>,
}

/// What can be said of a sensor without holding it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Where it is pinned.
    pub path: PathBuf,
    /// When it was attached, in nanoseconds since boot.
    pub attached_ns: u64,
    /// Version of its records' layout.
    pub wire: u64,
    /// Process that reads its ring, or read it last; 0: none yet.
    pub holder: u32,
    /// Size of its ring.
    pub ring_bytes: u32,
    /// Bytes in the ring that nobody has put down yet.
    pub waiting_bytes: u64,
    /// Names of its attached programs.
    pub programs: Vec<String>,
    /// Records attempted, and lost for lack of room, since it was attached, by kind.
    pub counts: Vec<(Kind, u64, u64)>,
}

impl Pinned {
    /// Takes up the sensor of this version, or attaches one.
    ///
    /// # Errors
    /// If it cannot be attached or pinned, or what is pinned is not a sensor.
    pub fn open_or_create(pins: &Pins, options: &Options) -> Result<Self, Error> {
        pins.clear()?;
        let path = pins.version(attach::OBJECT);
        if !path.exists() {
            create(pins, &path, options)?;
        }
        let sensor = Self::open(&path)?;
        if let Some(holder) = sensor.control()?.word(0, AT_HOLDER) {
            holder.store(u64::from(std::process::id()), Ordering::Relaxed);
        }
        Ok(sensor)
    }

    /// Opens a pinned sensor.
    ///
    /// # Errors
    /// If it is not one of ours.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let control = open_control(path)?;
        let (ring, ring_bytes) = open_ring(path)?;
        let counters = open_map(path, "COUNTERS")?;
        let cpus = entries(path, counters.as_fd())?;
        let counters = SharedArray::<CpuCounters>::map(counters, cpus)
            .map_err(|error| Error::system("map COUNTERS", error))?;
        let tombstones = MapData::from_pin(path.join("map_TOMBSTONES_BY_PROCESS"))
            .and_then(|map| HashMap::try_from(Map::LruHashMap(map)))
            .map_err(|error| PinError::foreign(path, error))?;
        let instance = control.read(0, AT_INSTANCE);
        let ring = Ring::open(ring, ring_bytes as usize, control)
            .map_err(|error| Error::system("map the ring", error))?;
        Ok(Self {
            path: path.to_owned(),
            instance,
            ring,
            ring_bytes,
            losses: Losses::new(counters, programs(path)?),
            iterator: open_pin(path, "link_snapshot").ok(),
            watch: WatchSet::map(open_map(path, "GROUPS_BY_PID")?)?,
            tombstones,
        })
    }

    /// Version of its records' layout.
    ///
    /// # Errors
    /// If it is not one of ours.
    pub fn wire(&self) -> Result<u64, Error> {
        Ok(self.control()?.read(0, AT_WIRE))
    }

    /// Marks the moment from which on another sensor tells what happens, which must be attached already. Gives that
    /// moment, in nanoseconds since boot; it is marked only once.
    ///
    /// # Errors
    /// If it is not one of ours.
    pub fn supersede(&self) -> Result<u64, Error> {
        let control = self.control()?;
        let now_ns = super::boot_ns();
        let marked = control
            .word(0, AT_SUPERSEDED)
            .map_or(Ok(0), |word| word.compare_exchange(0, now_ns, Ordering::SeqCst, Ordering::SeqCst));
        Ok(marked.map_or_else(|earlier_ns| earlier_ns, |_| now_ns))
    }

    /// Takes over who is watched, and how the watched ended, from another sensor.
    pub fn inherit(&mut self, from: &Self, found: &[Snapshot]) {
        for snapshot in found {
            let pid = snapshot.task.key.tgid;
            let group = from.watch.group(pid);
            if group != 0 {
                self.watch.join(pid, group);
            }
        }
        for (key, tombstone) in from.tombstones() {
            // Without room it stays unknown, as for the kernel programs.
            let _ = self.tombstones.insert(key, tombstone, 0);
        }
    }

    /// Where it is pinned.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its identity within this boot: when it was attached, in nanoseconds since boot.
    #[must_use]
    pub const fn instance(&self) -> u64 {
        self.instance
    }

    /// Size of its ring.
    #[must_use]
    pub const fn ring_bytes(&self) -> u32 {
        self.ring_bytes
    }

    /// Bytes in the ring that nobody has put down yet.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.ring.waiting()
    }

    /// The watch set.
    #[must_use]
    pub const fn watch(&self) -> &WatchSet {
        &self.watch
    }

    /// Goes on behind this position: what lies before it is known already. A position that the ring cannot
    /// have is ignored.
    pub fn skip_to(&mut self, position: u64) {
        self.ring.skip_to(position);
    }

    /// The next record, in ring order, handed over with the position of its end.
    pub fn next<T>(&mut self, use_record: impl FnOnce(u64, &[u8]) -> T) -> Option<T> {
        self.ring.next(use_record)
    }

    /// The records that [`Pinned::next`] will give, as far as they are complete.
    pub fn ahead(&self) -> impl Iterator<Item = &[u8]> {
        self.ring.ahead()
    }

    /// Up to where records were read.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.ring.position()
    }

    /// All records read so far are put down: their room is given back.
    pub fn release(&self) {
        self.ring.release();
    }

    /// Waits for a record, or, while a crowd of them gathers, for a deadly signal to a watched process. All that were read must have
    /// been released.
    ///
    /// # Errors
    /// If the ring cannot be polled.
    pub async fn readable(&mut self, gathers: bool) -> Result<(), Error> {
        self.ring.readable(gathers).await.map_err(|error| Error::system("wait for the ring", error))
    }

    /// All losses since it was attached.
    #[must_use]
    pub fn losses(&self) -> Vec<Lost> {
        self.losses.all()
    }

    /// Whether more was lost for lack of room since the last call.
    pub fn lost_more(&mut self) -> bool {
        !self.losses.new_ring_full().is_empty()
    }

    /// Up to where producers have taken room: what lies before was begun by now.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.ring.taken()
    }

    /// Gives the control groups that exist, with hierarchy, id and path.
    ///
    /// # Errors
    /// If it cannot be read where they are.
    pub fn cgroups(&self, each: &mut dyn FnMut(u32, u64, &str)) -> Result<(), Error> {
        let hierarchies = cgroups::hierarchies()
            .map_err(|error| Error::system("read the mounted control group hierarchies", error))?;
        for hierarchy in &hierarchies {
            cgroups::walk(hierarchy, &mut |id, path| each(hierarchy.id, id, path));
        }
        Ok(())
    }

    /// What a process of the list runs, if it is still there and has a program.
    #[must_use]
    pub fn program(&self, snapshot: &Snapshot) -> Option<Program> {
        processes::program(snapshot)
    }

    /// What a process runs, if it is still there.
    #[must_use]
    pub fn program_of(&self, id: ProcId) -> Option<Program> {
        processes::program_of(id)
    }

    /// Whether anybody is watched, or how a watched process ended is remembered.
    #[must_use]
    pub fn watches(&self, found: &[Snapshot]) -> bool {
        found.iter().any(|snapshot| self.watch.group(snapshot.task.key.tgid) != 0)
            || self.tombstones.keys().next().is_some()
    }

    /// Puts processes and all their descendants into watch group 1.
    ///
    /// # Errors
    /// If one of them does not exist.
    pub fn follow(&self, pids: &[u32], found: &[Snapshot]) -> Result<(), Error> {
        watch_set::check(pids, found)?;
        for pid in pids {
            self.watch.join(*pid, 1);
        }
        watch_set::insert_descendants_in(&self.watch, pids, found);
        Ok(())
    }

    /// All processes that exist: a pass of the task iterator.
    ///
    /// # Errors
    /// If that fails.
    pub fn processes(&self) -> Result<Vec<Snapshot>, Error> {
        let missing = || PinError::foreign(&self.path, "link_snapshot is missing");
        processes::read(self.iterator.as_ref().ok_or_else(missing)?)
    }

    /// How watched processes ended whose ends are not forgotten yet.
    #[must_use]
    pub fn tombstones(&self) -> Vec<(ProcKey, Tombstone)> {
        self.tombstones.iter().filter_map(Result::ok).collect()
    }

    /// How a watched process ended, if it did and that is not forgotten yet.
    #[must_use]
    pub fn tombstone(&self, id: ProcId) -> Option<Tombstone> {
        self.tombstones.get(&ProcKey { start_ns: id.start_ns, tgid: id.pid, tid: 0 }, 0).ok()
    }

    /// Forgets how a process ended: that is put down.
    pub fn forget(&mut self, key: ProcKey) {
        // Never watched, or forgotten by the kernel: as good.
        let _ = self.tombstones.remove(&ProcKey { tid: 0, ..key });
    }

    fn control(&self) -> Result<SharedArray<Control>, Error> {
        open_control(&self.path)
    }
}

/// What can be said of the sensor at a path.
///
/// # Errors
/// If it is not one of ours.
pub fn about(path: &Path) -> Result<About, Error> {
    let sensor = Pinned::open(path)?;
    let control = sensor.control()?;
    let counts = Kind::ALL
        .into_iter()
        .map(|kind| (kind, sensor.losses.attempted(kind), sensor.losses.ring_full(kind)));
    let names = pins::sensors(path)?;
    let names = names.iter().filter_map(|pin| pin.file_name()?.to_str()?.strip_prefix("link_"));
    Ok(About {
        path: path.to_owned(),
        attached_ns: sensor.instance,
        wire: control.read(0, AT_WIRE),
        holder: u32::try_from(control.read(0, AT_HOLDER)).unwrap_or(0),
        ring_bytes: sensor.ring_bytes,
        waiting_bytes: sensor.ring.waiting(),
        programs: names.map(ToOwned::to_owned).collect(),
        counts: counts.collect(),
    })
}

/// Process that reads one of the sensors below a directory, or read it last.
#[must_use]
pub fn holder(base: &Path) -> Option<u32> {
    let paths = pins::sensors(base).ok()?;
    let mut holders =
        paths.iter().filter_map(|path| open_control(path).ok()?.read(0, AT_HOLDER).try_into().ok());
    holders.rfind(|holder| *holder != 0)
}

fn create(pins: &Pins, path: &Path, options: &Options) -> Result<(), Error> {
    let attached = attach::prepare(options)?.0;
    let new = pins.begin()?;
    let pinned = pin_all(&attached, &new).and_then(|()| Ok(pins.commit(&new, path)?));
    if pinned.is_err() {
        // What went wrong is said; that this goes wrong too would not help.
        let _ = pins.clear();
    }
    pinned
}

fn pin_all(attached: &Attached, new: &Path) -> Result<(), Error> {
    let control = super::share::<Control>(attached, "CONTROL", 1)?;
    for (place, value) in
        [(AT_MAGIC, MAGIC), (AT_WIRE, u64::from(wire::VERSION)), (AT_INSTANCE, super::boot_ns())]
    {
        if let Some(word) = control.word(0, place) {
            word.store(value, Ordering::Relaxed);
        }
    }
    for (name, object) in objects(attached)? {
        let pin = new.join(name);
        bpf::pin(object, &pin).map_err(|source| PinError::System { action: "pin", path: pin, source })?;
    }
    Ok(())
}

/// Everything that has to stay, with the names of its pins.
fn objects(attached: &Attached) -> Result<BTreeMap<String, BorrowedFd<'_>>, Error> {
    let mut objects = BTreeMap::new();
    for link in &attached.links {
        objects.insert(format!("link_{}", link.program), link.fd.as_fd());
    }
    objects.insert("link_snapshot".to_owned(), attached.iterator.as_fd());
    for Watched { program, name, .. } in &attached.watched {
        objects.insert(format!("prog_{name}"), program.as_fd());
    }
    for name in ["RING", "CONTROL", "COUNTERS", "GROUPS_BY_PID", "TOMBSTONES_BY_PROCESS"] {
        let map = match attached.ebpf.map(name).ok_or(Error::NoObject)? {
            Map::Array(map) | Map::RingBuf(map) | Map::LruHashMap(map) => map,
            _ => return Err(Error::NoObject),
        };
        objects.insert(format!("map_{name}"), map.fd().as_fd());
    }
    Ok(objects)
}

fn open_control(path: &Path) -> Result<SharedArray<Control>, Error> {
    let control = open_map(path, "CONTROL")?;
    if entries(path, control.as_fd())? != 1 {
        return Err(PinError::foreign(path, "map_CONTROL has another shape").into());
    }
    let control =
        SharedArray::<Control>::map(control, 1).map_err(|error| Error::system("map CONTROL", error))?;
    if control.read(0, AT_MAGIC) != MAGIC {
        return Err(PinError::foreign(path, "map_CONTROL does not carry our mark").into());
    }
    Ok(control)
}

fn open_ring(path: &Path) -> Result<(OwnedFd, u32), Error> {
    let ring = open_map(path, "RING")?;
    let info = bpf::map_info(ring.as_fd()).map_err(|error| PinError::foreign(path, error))?;
    if info.type_ != BPF_MAP_TYPE_RINGBUF as u32 {
        return Err(PinError::foreign(path, "map_RING is no ring").into());
    }
    Ok((ring, info.max_entries))
}

fn open_map(path: &Path, name: &str) -> Result<OwnedFd, Error> {
    open_pin(path, &format!("map_{name}"))
}

fn open_pin(path: &Path, name: &str) -> Result<OwnedFd, Error> {
    bpf::open_pin(&path.join(name))
        .map_err(|error| PinError::foreign(path, format!("{name}: {error}")).into())
}

fn entries(path: &Path, map: BorrowedFd<'_>) -> Result<usize, Error> {
    let info = bpf::map_info(map).map_err(|error| PinError::foreign(path, error))?;
    Ok(info.max_entries as usize)
}

/// The programs whose skipped runs count as losses.
fn programs(path: &Path) -> Result<Vec<Watched>, Error> {
    let mut programs = Vec::new();
    for pin in pins::sensors(path)? {
        let name = pin.file_name().and_then(|name| name.to_str()?.strip_prefix("prog_"));
        if let Some((name, kind)) = name.and_then(attach::known_program) {
            let program = open_pin(path, &format!("prog_{name}"))?;
            programs.push(Watched { kind, name, program });
        }
    }
    Ok(programs)
}
