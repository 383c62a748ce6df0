//! What a process holds, over time, and whether it grows.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};

/// What may be grown in the second half before it counts, whatever the noise: an allocator's pages come and go, and so do
/// the descriptors of what is just being started.
const RSS_FLOOR: f64 = 1024.0 * 1024.0;
const FILES_FLOOR: f64 = 8.0;

/// Beyond so many standard deviations of what is left over, growth is not noise.
const DEVIATIONS: f64 = 3.0;

/// What one process held at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Seconds since the soak began.
    pub(super) at: f64,
    /// Resident memory, in bytes.
    pub(super) rss: f64,
    /// Open files.
    pub(super) files: f64,
}

impl Sample {
    pub(super) fn of(pid: u32, at: f64) -> Result<Self> {
        let process = Path::new("/proc").join(pid.to_string());
        let status =
            fs::read_to_string(process.join("status")).with_context(|| format!("process {pid} is gone"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS")?;
        let files = fs::read_dir(process.join("fd")).context("its open files")?.count();
        Ok(Self { at, rss: kib * 1024.0, files: files as f64 })
    }
}

/// A straight line through the second half of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Trend {
    pub(super) mean: f64,
    /// From the beginning of the half to its end, by the line.
    pub(super) growth: f64,
    /// The standard deviation of what the line does not explain.
    pub(super) noise: f64,
    floor: f64,
}

impl Trend {
    pub(super) fn of_rss(samples: &[Sample]) -> Result<Self> {
        Self::of(samples, |sample| sample.rss, RSS_FLOOR)
    }

    pub(super) fn of_files(samples: &[Sample]) -> Result<Self> {
        Self::of(samples, |sample| sample.files, FILES_FLOOR)
    }

    /// Least squares.
    fn of(samples: &[Sample], value: impl Fn(&Sample) -> f64, floor: f64) -> Result<Self> {
        let (_, half) = samples.split_at(samples.len() / 2);
        let (Some(first), Some(last)) = (half.first(), half.last()) else { bail!("no samples") };
        let count = half.len() as f64;
        let mean = half.iter().map(&value).sum::<f64>() / count;
        let middle = half.iter().map(|sample| sample.at).sum::<f64>() / count;
        let spread: f64 = half.iter().map(|sample| (sample.at - middle).powi(2)).sum();
        let joint: f64 = half.iter().map(|sample| (sample.at - middle) * (value(sample) - mean)).sum();
        let slope = if spread > 0.0 { joint / spread } else { 0.0 };
        let left = |sample: &Sample| value(sample) - mean - slope * (sample.at - middle);
        let noise = (half.iter().map(|sample| left(sample).powi(2)).sum::<f64>() / count).sqrt();
        Ok(Self { mean, growth: slope * (last.at - first.at), noise, floor })
    }

    pub(super) fn is_flat(&self) -> bool {
        self.growth <= self.floor.max(DEVIATIONS * self.noise)
    }
}

#[cfg(test)]
mod tests {
    use super::{Sample, Trend};

    fn series(rss: impl Fn(f64) -> f64) -> Vec<Sample> {
        (0..200).map(f64::from).map(|at| Sample { at, rss: rss(at), files: 30.0 }).collect()
    }

    #[test]
    fn a_leak_is_not_noise_and_noise_is_no_leak() {
        const MIB: f64 = 1024.0 * 1024.0;
        let leak = Trend::of_rss(&series(|at| 20.0 * MIB + at * 0.1 * MIB)).unwrap();
        assert!(!leak.is_flat() && (leak.growth / MIB - 9.9).abs() < 0.01, "{leak:?}");
        let noise = Trend::of_rss(&series(|at| 20.0 * MIB + (at * 7.0) % 5.0 * MIB)).unwrap();
        assert!(noise.is_flat(), "{noise:?}");
        // What grows while it starts, and then no more.
        let begins = Trend::of_rss(&series(|at| at.min(90.0) * MIB)).unwrap();
        assert!(begins.is_flat() && begins.growth.abs() < 1.0, "{begins:?}");
        assert!(Trend::of_files(&series(|_| 0.0)).unwrap().is_flat());
    }
}
