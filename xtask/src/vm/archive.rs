//! Debian's archive, asked through an apt of our own: other suites than the system's, nothing installed, the
//! system's lists and configuration untouched. Mirror, proxies and credentials are the system's.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::sh;

/// Debian's own keys: a suite of another release is signed with that release's key.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Where suites come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Archive,
    Security,
}

impl Place {
    /// How Release files call it.
    fn label(self) -> &'static str {
        match self {
            Self::Archive => "Debian",
            Self::Security => "Debian-Security",
        }
    }
}

/// A suite and where it comes from.
pub(super) type Suite = (Place, &'static str);

/// An apt with a state of its own.
pub(super) struct Archive {
    state: PathBuf,
}

impl Archive {
    /// Reads the lists of these suites.
    pub(super) fn open(state: PathBuf, suites: &[Suite]) -> Result<Self> {
        if !Path::new(KEYRING).is_file() {
            bail!("{KEYRING} is missing; remedy: sudo apt-get install debian-archive-keyring");
        }
        for directory in ["lists/partial", "archives/partial"] {
            let directory = state.join(directory);
            fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
        }
        let archive = Self { state };
        fs::write(archive.state.join("status"), "").context("write an empty package status")?;
        let configured = archive.configured()?;
        let mut sources = String::new();
        for (place, suite) in suites {
            let uri = find(&configured, *place)?;
            sources.push_str(&format!(
                "deb [arch=amd64 lang=none target=Packages signed-by={KEYRING}] {uri} {suite} main\n"
            ));
        }
        fs::write(archive.state.join("sources.list"), sources).context("write sources.list")?;
        // An error for each list that cannot be had, where apt would be content with the old one.
        let mut update = archive.command("apt-get", true);
        update.args(["-q", "-o", "APT::Update::Error-Mode=any", "update"]);
        if let Err(error) = sh::quietly(&mut update) {
            let text = error.to_string();
            if text.contains("NO_PUBKEY") || text.contains("is not signed") {
                bail!(
                    "a suite is signed with a key that {KEYRING} lacks; remedy: \
                     sudo apt-get install --only-upgrade debian-archive-keyring\n{text}"
                );
            }
            return Err(error);
        }
        Ok(archive)
    }

    /// The newest package whose name has one of these beginnings (an earlier one is preferred) and this end.
    pub(super) fn newest(&self, beginnings: &[String], end: &str) -> Result<Package> {
        for beginning in beginnings {
            let names = sh::output(self.command("apt-cache", true).arg("pkgnames").arg(beginning))?;
            let names: Vec<_> =
                names.lines().filter(|name| name.ends_with(end) && !name.contains("unsigned")).collect();
            if names.is_empty() {
                continue;
            }
            let table = sh::output(self.command("apt-cache", true).arg("madison").args(names))?;
            let packages = table.lines().filter_map(|line| {
                let mut cells = line.split('|').map(str::trim);
                Some(Package { name: cells.next()?.to_owned(), version: cells.next()?.to_owned() })
            });
            let newest = packages.reduce(|best, other| if other.is_newer(&best) { other } else { best });
            if let Some(newest) = newest {
                return Ok(newest);
            }
        }
        bail!("no package {}*{end} in the lists", beginnings.join("*, "))
    }

    /// Fetches a package, whose checksum apt knows from the signed lists, into a directory; gives the file.
    pub(super) fn fetch(&self, package: &Package, directory: &Path) -> Result<PathBuf> {
        let mut download = self.command("apt-get", true);
        download.args(["-q", "download"]).arg(format!("{}={}", package.name, package.version));
        sh::quietly(download.current_dir(directory))?;
        let entries = fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))?;
        let mut files = entries.flatten().map(|entry| entry.path());
        files
            .find(|file| file.extension().is_some_and(|extension| extension == "deb"))
            .with_context(|| format!("apt-get brought no {}", package.name))
    }

    /// What the system's apt is set up for.
    fn configured(&self) -> Result<Vec<Configured>> {
        let mut known = indextargets(&mut Command::new("apt-get"))?;
        if known.is_empty() {
            // Without lists apt does not know what is Debian's. Ours may be read: the same sources, our state.
            // Somebody else's source may fail; what matters is whether Debian's are there afterwards.
            let _ = sh::quietly(self.command("apt-get", false).args(["-q", "update"]));
            known = indextargets(&mut self.command("apt-get", false))?;
        }
        Ok(known)
    }

    /// An apt program on our own state, with our own sources or the system's.
    fn command(&self, program: &str, own_sources: bool) -> Command {
        let state = self.state.display();
        let mut options = vec![
            format!("Dir::State={state}"),
            format!("Dir::State::lists={state}/lists"),
            format!("Dir::State::status={state}/status"),
            format!("Dir::Cache={state}"),
            format!("Dir::Cache::archives={state}/archives"),
            // The checkout may lie where apt's own user cannot go.
            "APT::Sandbox::User=root".to_owned(),
            "APT::Architecture=amd64".to_owned(),
        ];
        if own_sources {
            options.push(format!("Dir::Etc::sourcelist={state}/sources.list"));
            options.push("Dir::Etc::sourceparts=/dev/null".to_owned());
            options.push("Dir::Etc::preferences=/dev/null".to_owned());
            options.push("Dir::Etc::preferencesparts=/dev/null".to_owned());
        }
        let mut command = Command::new(program);
        command.env("LC_ALL", "C");
        for option in options {
            command.arg("-o").arg(option);
        }
        command
    }
}

/// The mirror of Debian's own archive that the system's apt is set up for.
pub(crate) fn mirror() -> Result<String> {
    find(&indextargets(&mut Command::new("apt-get"))?, Place::Archive).map(ToOwned::to_owned)
}

/// A version of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
}

impl Package {
    fn is_newer(&self, other: &Self) -> bool {
        let mut compare = Command::new("dpkg");
        compare.args(["--compare-versions", &self.version, "gt", &other.version]);
        compare.status().is_ok_and(|status| status.success())
    }
}

/// One source of Debian's: label and address.
type Configured = (String, String);

fn indextargets(apt: &mut Command) -> Result<Vec<Configured>> {
    let format = "$(ORIGIN)|$(LABEL)|$(CREATED_BY)|$(REPO_URI)";
    let text = sh::output(apt.env("LC_ALL", "C").args(["indextargets", "--format", format]))?;
    Ok(debians(&text))
}

fn debians(text: &str) -> Vec<Configured> {
    let of_debian = |line: &str| {
        let mut cells = line.split('|');
        let (origin, label, kind) = (cells.next()?, cells.next()?, cells.next()?);
        let uri = cells.next()?;
        (origin == "Debian" && kind == "Packages").then(|| (label.to_owned(), uri.to_owned()))
    };
    text.lines().filter_map(of_debian).collect()
}

fn find(configured: &[Configured], place: Place) -> Result<&str> {
    let uri = configured.iter().find(|(label, _)| label == place.label()).map(|(_, uri)| uri.as_str());
    uri.with_context(|| {
        format!(
            "apt is not set up for a mirror of {}: kernels and root file systems come from there; remedy: a line for it in \
             /etc/apt/sources.list, and apt-get update",
            place.label()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::{Place, debians, find};

    #[test]
    fn the_mirror_is_the_one_that_apt_uses() {
        let text = "Debian|Debian-Security|Packages|http://mirror.test/security/\n\
                    Debian Backports|Debian Backports|Packages|http://mirror.test/debian/\n\
                    Debian|Debian|DEP-11|http://mirror.test/wrong/\n\
                    Debian|Debian|Packages|http://mirror.test/debian/\n\
                    Docker|Docker CE|Packages|http://other.test/\n";
        let configured = debians(text);
        assert_eq!(find(&configured, Place::Archive).unwrap(), "http://mirror.test/debian/");
        assert_eq!(find(&configured, Place::Security).unwrap(), "http://mirror.test/security/");
        assert!(find(&[], Place::Archive).unwrap_err().to_string().contains("not set up"));
    }
}
