//! Random numbers that are the same on every machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// Dice of one service: its throws depend on the seed, its name and how often it threw, and on nobody else, so that a service
/// more or less on a host changes nothing for the others.
#[derive(Clone, Debug)]
pub(super) struct Dice {
    seed: u64,
    stream: u64,
    thrown: u64,
}

impl Dice {
    pub(super) fn new(seed: u64, name: &str) -> Self {
        Self { seed, stream: hash(name.as_bytes()), thrown: 0 }
    }

    /// How often it threw.
    pub(super) const fn thrown(&self) -> u64 {
        self.thrown
    }

    /// Goes on after so many throws.
    pub(super) const fn go_on(&mut self, thrown: u64) {
        self.thrown = thrown;
    }

    /// Where in its period a check of an instance begins: from 0 to below 1, the same each time, and no throw.
    pub(super) fn phase(&self, check: &str, instance: Option<u32>) -> f64 {
        let what = instance.map_or_else(|| check.to_owned(), |number| format!("{check}/{number}"));
        // Another stream than that of any service's throws: a name holds no slash.
        let stream = self.stream ^ hash(what.as_bytes()).rotate_left(1);
        Self { stream, thrown: 0, ..self.clone() }.share()
    }

    /// From 0 to below 1.
    pub(super) fn share(&mut self) -> f64 {
        // One block of the cipher for each throw: they are rare, and its state (300 bytes) need not be kept for each service.
        let mut generator = ChaCha8Rng::seed_from_u64(self.seed);
        generator.set_stream(self.stream);
        generator.set_word_pos(u128::from(self.thrown) * 2);
        self.thrown += 1;
        // The 53 bits that a float between 1/2 and 1 has.
        (generator.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// FNV-1a, 64 bits: where something begins that should not all begin at once.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throws_are_the_same_everywhere() {
        let mut dice = Dice::new(1, "web");
        let thrown: Vec<_> = (0..3).map(|_| (dice.share() * 1e6) as u64).collect();
        assert_eq!(thrown, EXPECTED);
        let mut other = Dice::new(1, "db");
        assert_ne!((other.share() * 1e6) as u64, EXPECTED[0]);
    }

    #[test]
    fn throws_are_spread_evenly() {
        let mut dice = Dice::new(3, "web");
        let mut tenths = [0; 10];
        for _ in 0..10_000 {
            tenths[(dice.share() * 10.0) as usize] += 1;
        }
        assert!(tenths.iter().all(|count| (850..1_150).contains(count)), "{tenths:?}");
    }

    #[test]
    fn phases_are_spread_and_throw_nothing() {
        let dice = Dice::new(3, "web");
        let phase = |check: &str, instance| dice.phase(check, instance);
        assert_eq!(phase("api", Some(1)).to_bits(), phase("api", Some(1)).to_bits());
        let mut tenths = [0; 10];
        for instance in 0..1_000 {
            tenths[(phase("api", Some(instance)) * 10.0) as usize] += 1;
        }
        assert!(tenths.iter().all(|count| (60..150).contains(count)), "{tenths:?}");
        let differ = |other: f64| assert!((other - phase("api", Some(1))).abs() > 1e-9);
        differ(phase("db", Some(1)));
        differ(phase("api", None));
        differ(Dice::new(4, "web").phase("api", Some(1)));
        differ(Dice::new(3, "db").phase("api", Some(1)));
    }

    const EXPECTED: [u64; 3] = [37_565, 97_416, 489_328];
}
