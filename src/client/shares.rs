//! Which host a client picks first (RFC 2782 "Usage rules"; Windows 7 and Server 2008 R2 or later).

use crate::model::{Host, Record};

/// One host as an answer offers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Lower is tried first.
    pub priority: u16,
    /// Relative share among equal priorities.
    pub weight: u32,
    /// Whether it takes part: all do in the share, only what is up in the live share.
    pub counts: bool,
}

/// The part of new clients that pick each offer first, 0..=1, in the order of the offers: its weight
/// over the sum of weights within the lowest priority that counts. Where all weights there are 0,
/// each gets the same; a weight of 0 beside others gets nothing (RFC 2782 gives it "a very small
/// chance").
pub fn shares(offers: &[Offer]) -> Vec<f64> {
    let Some(lowest) = offers.iter().filter(|offer| offer.counts).map(|offer| offer.priority).min()
    else {
        return vec![0.0; offers.len()];
    };
    let takes_part = |offer: &Offer| offer.counts && offer.priority == lowest;
    let tier = offers.iter().filter(|offer| takes_part(offer));
    let (count, total) = tier
        .fold((0_u32, 0.0), |(count, total), offer| (count + 1, total + f64::from(offer.weight)));
    let share = |offer: &Offer| match takes_part(offer) {
        false => 0.0,
        true if total == 0.0 => 1.0 / f64::from(count),
        true => f64::from(offer.weight) / total,
    };
    offers.iter().map(share).collect()
}

/// The hosts that these records offer, each once, with priority and weight: the least priority
/// counts, and the weights of duplicates add there. Sorted by priority, weight (greatest first),
/// name. A target of "." is no host.
pub fn offers(records: &[Record]) -> Vec<(Host, u16, u32)> {
    let mut hosts: Vec<(Host, u16, u32)> = Vec::with_capacity(records.len());
    for record in records.iter().filter(|record| !record.target.is_root()) {
        let same = |(host, ..): &&mut (Host, u16, u32)| {
            host.port == record.port && host.target == record.target
        };
        let weight = u32::from(record.weight);
        match hosts.iter_mut().find(same) {
            Some((_, priority, sum)) if *priority == record.priority => *sum += weight,
            Some((_, priority, sum)) if *priority > record.priority => {
                (*priority, *sum) = (record.priority, weight);
            }
            Some(_) => {}
            None => hosts.push((record.host(), record.priority, weight)),
        }
    }
    hosts.sort_by(|one, other| (one.1, other.2, &one.0).cmp(&(other.1, one.2, &other.0)));
    hosts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn offer(priority: u16, weight: u32, counts: bool) -> Offer {
        Offer { priority, weight, counts }
    }

    fn assert_shares(offers: &[Offer], expected: &[f64]) {
        let shares = shares(offers);
        let near = |(share, expected): (&f64, &f64)| (share - expected).abs() < 1e-12;
        assert_eq!(shares.len(), expected.len());
        assert!(shares.iter().zip(expected).all(near), "{shares:?} is not {expected:?}");
    }

    #[test]
    fn the_near_pair_shares_three_to_one_and_the_far_pair_takes_over() {
        let with_near =
            |up| [offer(10, 75, up), offer(10, 25, up), offer(90, 75, true), offer(90, 25, true)];
        assert_shares(&with_near(true), &[0.75, 0.25, 0.0, 0.0]);
        assert_shares(&with_near(false), &[0.0, 0.0, 0.75, 0.25]);
    }

    #[test]
    fn a_host_that_is_left_alone_in_its_tier_takes_all() {
        assert_shares(&[offer(10, 75, false), offer(10, 25, true)], &[0.0, 1.0]);
    }

    #[test]
    fn weight_zero_shares_equally_alone_and_starves_beside_others() {
        let zero = [offer(0, 0, true), offer(0, 0, true), offer(0, 0, true), offer(0, 0, true)];
        assert_shares(&zero, &[0.25; 4]);
        assert_shares(&[offer(0, 0, true), offer(0, 5, true)], &[0.0, 1.0]);
    }

    #[test]
    fn of_a_host_at_two_priorities_the_least_counts_in_whatever_order() {
        let record = |priority, weight| Record {
            priority,
            weight,
            port: 1688,
            target: crate::model::Name::parse("kms.test").expect("a name"),
            ttl: 60,
        };
        let mut records = [record(20, 5), record(10, 7), record(10, 1), record(30, 2)];
        for _ in 0..records.len() {
            records.rotate_left(1);
            let offered: Vec<(u16, u32)> = offers(&records)
                .into_iter()
                .map(|(_, priority, weight)| (priority, weight))
                .collect();
            assert_eq!(offered, [(10, 8)], "{records:?}");
        }
    }

    #[test]
    fn nobody_to_pick_is_no_share() {
        assert_shares(&[], &[]);
        assert_shares(&[offer(0, 5, false)], &[0.0]);
    }

    proptest! {
        #[test]
        fn shares_are_parts_of_one_whole(
            offers in proptest::collection::vec((0_u16..4, 0_u32..200_000, any::<bool>()), 0..20)
        ) {
            let offers: Vec<Offer> = offers.into_iter().map(|(p, w, c)| offer(p, w, c)).collect();
            let shares = shares(&offers);
            prop_assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)));
            let sum: f64 = shares.iter().sum();
            let expected = if offers.iter().any(|offer| offer.counts) { 1.0 } else { 0.0 };
            prop_assert!((sum - expected).abs() < 1e-9);
        }
    }
}
