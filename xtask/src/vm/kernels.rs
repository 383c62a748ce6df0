//! The kernels of the matrix, and their cache below `target/vm/kernels`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use super::archive::{Archive, Package, Place, Suite};
use crate::sh;

const BULLSEYE: &[Suite] = &[(Place::Archive, "bullseye"), (Place::Security, "bullseye-security")];
const BOOKWORM: &[Suite] = &[(Place::Archive, "bookworm"), (Place::Security, "bookworm-security")];
const TRIXIE: &[Suite] = &[(Place::Archive, "trixie-backports")];

/// A column of the matrix.
#[derive(Debug)]
pub(super) struct Kernel {
    /// As Debian's package names begin, and as `--kernel` takes it.
    pub(super) version: &'static str,
    suites: &'static [Suite],
}

/// The oldest that has ring buffers through the newest that Debian ships.
pub(super) const TABLE: &[Kernel] = &[
    Kernel { version: "5.10", suites: BULLSEYE },
    Kernel { version: "6.1", suites: BOOKWORM },
    Kernel { version: "6.12", suites: BOOKWORM },
    Kernel { version: "6.18", suites: TRIXIE },
    Kernel { version: "7.2", suites: TRIXIE },
];

/// A kernel that can be booted.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) version: &'static str,
    pub(super) path: PathBuf,
    /// The package's name and version.
    pub(super) package: String,
}

/// The images, from the cache; what is not there is fetched, for each release in one go.
pub(super) fn images(wanted: &[&'static Kernel], cache: &Path) -> Result<Vec<Image>> {
    let mut archives: Vec<(&'static [Suite], Archive)> = Vec::new();
    let mut images = Vec::new();
    for kernel in wanted {
        if let Some(image) = cached(kernel, cache) {
            images.push(image);
            continue;
        }
        let index = match archives.iter().position(|(suites, _)| *suites == kernel.suites) {
            Some(index) => index,
            None => {
                let name = kernel.suites.iter().map(|(_, suite)| *suite).collect::<Vec<_>>().join("+");
                println!("… lists of {name}");
                let archive = Archive::open(cache.join("apt").join(&name), kernel.suites);
                archives.push((kernel.suites, archive.with_context(|| format!("lists of {name}"))?));
                archives.len() - 1
            }
        };
        let (_, archive) = archives.get(index).context("no such archive")?;
        images.push(fetch(kernel, archive, cache).with_context(|| format!("Linux {}", kernel.version))?);
    }
    Ok(images)
}

fn place(kernel: &Kernel, cache: &Path) -> PathBuf {
    cache.join("kernels").join(kernel.version)
}

fn cached(kernel: &Kernel, cache: &Path) -> Option<Image> {
    let directory = place(kernel, cache);
    let package = fs::read_to_string(directory.join("package")).ok()?;
    let path = directory.join("vmlinuz");
    path.is_file().then(|| Image { version: kernel.version, path, package: package.trim().to_owned() })
}

fn fetch(kernel: &Kernel, archive: &Archive, cache: &Path) -> Result<Image> {
    // From 7.x on (and in late 6.x) the image itself is in linux-binary-*, and linux-image-* only depends on it.
    let names = ["linux-binary", "linux-image"].map(|name| format!("{name}-{}.", kernel.version));
    let package = archive.newest(&names, "-cloud-amd64")?;
    println!("… {} {}", package.name, package.version);
    let scratch = cache.join(format!("scratch-{}-{}", kernel.version, std::process::id()));
    let result = unpack(&package, archive, &scratch).and_then(|()| {
        let directory = place(kernel, cache);
        if directory.exists() {
            fs::remove_dir_all(&directory).context("remove half of a kernel")?;
        }
        fs::create_dir_all(cache.join("kernels")).context("create the cache")?;
        // Whole or not at all: a fetch that is interrupted leaves nothing that looks like a kernel.
        fs::rename(scratch.join("done"), &directory).context("move the kernel into the cache")
    });
    let _ = fs::remove_dir_all(&scratch);
    result?;
    cached(kernel, cache).context("the kernel is not in the cache")
}

/// Leaves `done/vmlinuz` and `done/package` in a scratch directory.
fn unpack(package: &Package, archive: &Archive, scratch: &Path) -> Result<()> {
    let done = scratch.join("done");
    fs::create_dir_all(&done).with_context(|| format!("create {}", done.display()))?;
    let file = archive.fetch(package, scratch)?;
    let mut dpkg = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(&file)
        .stdout(Stdio::piped())
        .spawn()
        .context("dpkg-deb")?;
    let content = dpkg.stdout.take().context("dpkg-deb's output")?;
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--wildcards", "--no-same-owner", "--file=-", "*/vmlinuz*"]);
    // Flat: /boot/vmlinuz-RELEASE or /usr/lib/modules/RELEASE/vmlinuz.
    tar.args(["--transform", "s|.*/|done/|"]).current_dir(scratch).stdin(content);
    let extracted = sh::quietly(&mut tar);
    let unpacked = dpkg.wait().context("wait for dpkg-deb")?;
    extracted?;
    if !unpacked.success() {
        bail!("dpkg-deb --fsys-tarfile {} failed ({unpacked})", file.display());
    }
    let entries = fs::read_dir(&done).context("read what was unpacked")?;
    let image = entries.flatten().map(|entry| entry.path()).next();
    let image = image.with_context(|| format!("{} has no vmlinuz", package.name))?;
    fs::rename(image, done.join("vmlinuz")).context("name the image")?;
    fs::write(done.join("package"), format!("{} {}\n", package.name, package.version))
        .context("write package")
}
