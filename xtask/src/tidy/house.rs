//! The house rules that no lint knows.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::sh;

/// A longer file holds more than one idea; it is said, not refused.
const LONG_FILE: usize = 500;

/// Crates whose manifest is their promise, and all that it may list outside its tests.
const PROMISES: [(&str, &[&str]); 3] = [
    // Decides everything, and can touch nothing: see ARCHITECTURE.md before adding a name here.
    (
        "guard-core",
        &[
            "aho-corasick",
            "cel",
            "guard-common",
            "rand_chacha",
            "regex",
            "regex-automata",
            "regex-syntax",
            "rustc-hash",
            "saphyr-parser",
            "serde",
            "serde_json",
            "strsim",
            "thiserror",
        ],
    ),
    // Kernel and userspace share it.
    ("guard-common", &["aya"]),
    ("guard-ebpf", &["aya-ebpf", "aya-log-ebpf", "guard-common"]),
];

/// Attributes that hide a problem instead of solving it, and what to write instead.
const FORBIDDEN: [(&str, &str); 3] = [
    ("#[ignore", "a test that cannot run fails with the command that installs what it needs"),
    ("#[allow(", "write #[expect(lint, reason = \"...\")]"),
    ("#![allow(", "write #![expect(lint, reason = \"...\")]"),
];

pub(super) fn check() -> Result<()> {
    let mut problems = Vec::new();
    for package in packages()? {
        package.check(&mut problems)?;
    }
    for problem in &problems {
        println!("  {problem}");
    }
    if !problems.is_empty() {
        bail!("{} broken", problems.len());
    }
    Ok(())
}

/// One crate of the workspace.
struct Package {
    name: String,
    manifest: PathBuf,
    dependencies: Vec<String>,
}

/// The crates, as cargo sees them.
fn packages() -> Result<Vec<Package>> {
    let metadata = sh::output(sh::cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata")?;
    let packages =
        metadata.get("packages").and_then(Value::as_array).context("cargo metadata: no packages")?;
    packages.iter().map(|package| Package::read(package).context("cargo metadata: a package")).collect()
}

impl Package {
    fn read(package: &Value) -> Option<Self> {
        let text = |key: &str| package.get(key).and_then(Value::as_str).map(ToOwned::to_owned);
        let dependencies = package.get("dependencies")?.as_array()?;
        // `kind` is null for what the shipped code uses, "dev" and "build" otherwise.
        let shipped = dependencies.iter().filter(|one| one.get("kind").is_none_or(Value::is_null));
        let names = shipped.filter_map(|one| one.get("name")?.as_str().map(ToOwned::to_owned));
        Some(Self {
            name: text("name")?,
            manifest: PathBuf::from(text("manifest_path")?),
            dependencies: names.collect(),
        })
    }

    fn check(&self, problems: &mut Vec<String>) -> Result<()> {
        let manifest = fs::read_to_string(&self.manifest).with_context(|| shown(&self.manifest))?;
        if !manifest.contains("[lints]\nworkspace = true") {
            problems.push(format!("{}: does not inherit [workspace.lints]", shown(&self.manifest)));
        }
        for (name, allowed) in PROMISES.iter().filter(|(name, _)| *name == self.name) {
            let strangers = self.dependencies.iter().filter(|one| !allowed.contains(&one.as_str()));
            problems.extend(strangers.map(|stranger| {
                format!(
                    "{}: {name} promises to use only {}, not {stranger}",
                    shown(&self.manifest),
                    allowed.join(", ")
                )
            }));
        }
        let root = self.manifest.parent().context("a manifest without a directory")?;
        for file in rust_files(root)? {
            check_source(&file, problems)?;
        }
        Ok(())
    }
}

fn check_source(file: &Path, problems: &mut Vec<String>) -> Result<()> {
    let source = fs::read_to_string(file).with_context(|| shown(file))?;
    for (number, line) in source.lines().enumerate() {
        for (attribute, instead) in FORBIDDEN {
            if line.trim_start().starts_with(attribute) {
                problems.push(format!("{}:{}: {attribute}…: {instead}", shown(file), number + 1));
            }
        }
    }
    let lines = source.lines().count();
    if lines > LONG_FILE {
        println!("  {}: {lines} lines; a file over {LONG_FILE} reads badly", shown(file));
    }
    Ok(())
}

/// The Rust files of one crate: a directory with its own manifest belongs to another.
fn rust_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).with_context(|| shown(&dir))? {
            let path = entry.with_context(|| shown(&dir))?.path();
            if path.is_dir() && !path.ends_with("target") && !path.join("Cargo.toml").is_file() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn shown(path: &Path) -> String {
    path.strip_prefix(sh::workspace()).unwrap_or(path).display().to_string()
}
