//! When to try again what has failed.
//!
//! A [`BackoffState`] counts the deaths in a row of one thing that is kept alive: the
//! worker of a slot, or a monitor. A first death may be bad luck and is repaired
//! at once; each further one doubles the wait, for a program that dies as soon
//! as it starts would otherwise keep the machine busy with nothing but starting
//! it. Ten seconds of health end the streak.
//!
//! Pure: no clock and no random numbers. The jitter, which keeps slots that
//! failed together from trying again together, is a hash of the seed and of the
//! number of deaths, so equal histories give equal waits.

use crate::persist::persisted;
use crate::types::{Backoff, Millis, Tick};

/// The health that makes the next death a first one again.
const HEALTHY_AFTER: Millis = Millis(10_000);

/// The deaths in a row of one thing that is kept alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BackoffState {
    seed: u32,
    deaths: u32,
}

persisted! { struct BackoffState { seed, deaths } }

impl BackoffState {
    /// No deaths yet. Streaks with different seeds wait differently long.
    pub const fn new(seed: u32) -> Self {
        Self { seed, deaths: 0 }
    }

    /// Counts a death at `now` and says when the repair is due.
    ///
    /// `healthy_since` is when the deceased became ready; `None` when it never
    /// was. The first death is repaired at once, the n-th in a row (n from 2,
    /// with less than 10 s of health between) after `delay` times 2^(n-2), at
    /// most `max_delay`, give or take a quarter. A `delay` of 0 never waits.
    pub fn died(&mut self, now: Tick, healthy_since: Option<Tick>, rules: Backoff) -> Tick {
        if let Some(ready) = healthy_since {
            self.rest(now, ready);
        }
        self.deaths = self.deaths.saturating_add(1);
        now.after(self.wait(rules))
    }

    /// Says when the repair is due of what was healthy since `ready` and has ended
    /// itself in good order at `now`: at once, or after `delay` or `max_delay`,
    /// whichever is shorter, where the one before did so too and this one was healthy
    /// for less than ten seconds. That is no death, so it counts in no row; but ten
    /// seconds of health end one.
    pub fn recycled(&mut self, now: Tick, ready: Tick, again: bool, rules: Backoff) -> Tick {
        self.rest(now, ready);
        let waits = again && now.since(ready) < HEALTHY_AFTER;
        now.after(if waits { rules.delay.min(rules.max_delay) } else { Millis(0) })
    }

    /// The deaths in a row so far; stops at the largest number.
    #[cfg(test)]
    const fn deaths(&self) -> u32 {
        self.deaths
    }

    /// Forgets the deaths: the next one is the first again.
    pub const fn reset(&mut self) {
        self.deaths = 0;
    }

    /// Tells no more deaths apart than `most`: the walks need an end.
    #[cfg(test)]
    pub(super) fn forget_beyond(&mut self, most: u32) {
        self.deaths = self.deaths.min(most);
    }

    /// Forgets the deaths if it was healthy for long enough since `ready`.
    pub fn rest(&mut self, now: Tick, ready: Tick) {
        if now.since(ready) >= HEALTHY_AFTER {
            self.reset();
        }
    }

    /// `span`, and up to a tenth of it more: what is to happen to many after so
    /// long should not happen to all at once.
    pub fn spread(&self, span: Millis) -> Millis {
        let more = u64::from(hash(self.seed, self.deaths)) % (span.0 / 10).saturating_add(1);
        Millis(span.0.saturating_add(more))
    }

    /// How long the repair of the last death waits.
    fn wait(&self, rules: Backoff) -> Millis {
        let Some(doublings) = self.deaths.checked_sub(2) else { return Millis(0) };
        let factor = 1_u64.checked_shl(doublings).unwrap_or(u64::MAX);
        let wait = rules.delay.0.saturating_mul(factor).min(rules.max_delay.0);
        // The jitter comes after the cap: slots that have reached the longest
        // wait are those that most need to be kept apart.
        let quarter = wait / 4;
        let jitter = u64::from(hash(self.seed, self.deaths)) % (2 * quarter + 1);
        Millis((wait - quarter).saturating_add(jitter))
    }
}

/// A number that differs in about half of its bits for any other arguments.
const fn hash(seed: u32, deaths: u32) -> u32 {
    // The finaliser of MurmurHash3.
    let bits = seed ^ deaths.wrapping_mul(0x9E37_79B9);
    let bits = (bits ^ (bits >> 16)).wrapping_mul(0x85EB_CA6B);
    let bits = (bits ^ (bits >> 13)).wrapping_mul(0xC2B2_AE35);
    bits ^ (bits >> 16)
}

#[cfg(test)]
mod tests {
    use super::BackoffState;
    use crate::types::{Backoff, Millis, Tick};
    use alloc::vec::Vec;

    const RULES: Backoff = Backoff { delay: Millis(100), max_delay: Millis(30_000) };
    const NOW: Tick = Tick(1_000_000);

    /// The delays after so many deaths, none of a healthy process.
    fn waits(seed: u32, deaths: usize, rules: Backoff) -> Vec<u64> {
        let mut streak = BackoffState::new(seed);
        (0..deaths).map(|_| streak.died(NOW, None, rules).since(NOW).0).collect()
    }

    #[test]
    fn spread_adds_up_to_a_tenth() {
        let spread = |seed| BackoffState::new(seed).spread(Millis(1_000)).0;
        let spans: Vec<_> = (0..1_000).map(spread).collect();
        assert!(spans.iter().all(|span| (1_000..=1_100).contains(span)), "{spans:?}");
        assert!(spans.iter().any(|span| *span < 1_020), "{spans:?}");
        assert!(spans.iter().any(|span| *span > 1_080), "{spans:?}");
    }

    #[test]
    fn first_death_has_no_back_off() {
        assert_eq!(BackoffState::new(7).died(NOW, None, RULES), NOW);
    }

    #[test]
    fn back_off_doubles_up_to_its_maximum() {
        let expected = [0, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000];
        for seed in 0..1_000 {
            for (wait, middle) in waits(seed, 11, RULES).into_iter().zip(expected) {
                let allowed = middle - middle / 4..=middle + middle / 4;
                assert!(allowed.contains(&wait), "seed {seed}: {wait} is not in {allowed:?}");
            }
        }
    }

    #[test]
    fn jitter_uses_its_whole_range() {
        let thirds: Vec<u64> = (0..1_000).map(|seed| waits(seed, 3, RULES)[2]).collect();
        assert!(thirds.iter().any(|&wait| wait < 155), "never far below the middle");
        assert!(thirds.iter().any(|&wait| wait > 245), "never far above the middle");
    }

    #[test]
    fn back_off_depends_on_history_and_seed_only() {
        assert_eq!(waits(1, 12, RULES), waits(1, 12, RULES));
        assert_ne!(waits(1, 12, RULES), waits(2, 12, RULES));
    }

    #[test]
    fn backoff_resets_after_10s_ready() {
        let mut streak = BackoffState::new(7);
        streak.died(NOW, None, RULES);
        streak.died(NOW, None, RULES);
        assert_eq!(streak.deaths(), 2);

        let later = NOW.after(Millis(10_000));
        assert_eq!(streak.died(later, Some(NOW), RULES), later);
        assert_eq!(streak.deaths(), 1);
    }

    #[test]
    fn exit_0_waits_at_most_the_delay_and_is_no_death() {
        let mut streak = BackoffState::new(7);
        assert_eq!(streak.recycled(NOW, NOW, false, RULES), NOW);
        for _ in 0..9 {
            assert_eq!(streak.recycled(NOW, NOW, true, RULES), NOW.after(RULES.delay));
        }
        assert_eq!(streak.died(NOW, None, RULES), NOW);
        let later = NOW.after(Millis(10_000));
        assert_eq!(streak.recycled(later, NOW, true, RULES), later);
        assert_eq!(streak.deaths(), 0);
    }

    #[test]
    fn backoff_does_not_reset_before_10s_ready() {
        let mut streak = BackoffState::new(7);
        streak.died(NOW, None, RULES);
        let later = NOW.after(Millis(9_999));
        assert!(streak.died(later, Some(NOW), RULES) > later);
        assert_eq!(streak.deaths(), 2);
    }

    #[test]
    fn delay_0_never_waits() {
        let rules = Backoff { delay: Millis(0), ..RULES };
        assert_eq!(waits(7, 100, rules), [0; 100]);
    }

    #[test]
    fn max_delay_below_delay_is_the_delay() {
        let rules = Backoff { delay: Millis(100), max_delay: Millis(40) };
        assert!(waits(7, 5, rules)[1..].iter().all(|wait| (30..=50).contains(wait)));
    }

    #[test]
    fn largest_numbers_do_not_overflow() {
        let most = Millis(u64::MAX);
        let mut streak = BackoffState { seed: 7, deaths: u32::MAX - 1 };
        let rules = Backoff { delay: most, max_delay: most };
        for _ in 0..3 {
            assert!(streak.died(Tick(u64::MAX), None, rules) == Tick(u64::MAX));
        }
        assert_eq!(streak.deaths(), u32::MAX);
    }

    #[test]
    fn backoff_begins_again_after_a_reset() {
        let mut streak = BackoffState::new(7);
        streak.died(NOW, None, RULES);
        streak.reset();
        assert_eq!(streak.died(NOW, None, RULES), NOW);
    }
}
