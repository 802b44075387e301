//! How long a member needs to guess through a space of values.

/// The years that a member needs for `space` guesses at a token key of
/// `threshold` of `custodians`, when `colluding` custodians help without
/// counting and the others each allow `points_per_day`: a day gives at most
/// (n - c)·q / (t - c) evaluations (TRUST.md). No time at all
/// when a threshold of custodians colludes.
#[must_use]
pub fn guess_years(
    threshold: u16,
    custodians: u16,
    colluding: u16,
    points_per_day: u64,
    space: f64,
) -> f64 {
    const DAYS_PER_YEAR: f64 = 365.25;
    let needed = f64::from(threshold) - f64::from(colluding);
    if needed <= 0.0 {
        return 0.0;
    }
    let honest = f64::from(custodians.saturating_sub(colluding));
    #[allow(clippy::cast_precision_loss, reason = "an estimate in years")]
    let per_day = honest * points_per_day as f64 / needed;
    if per_day > 0.0 {
        space / per_day / DAYS_PER_YEAR
    } else {
        f64::INFINITY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All Chinese mobile numbers, at the default budget of enumerable kinds.
    const PHONES: f64 = 7e9;

    #[test]
    fn one_colluding_custodian_of_three_leaves_centuries() {
        let years = guess_years(2, 3, 1, 20_000, PHONES);
        assert!(years > 300.0, "{years}");
        assert!((479.0..480.0).contains(&years), "{years}");
    }

    #[test]
    fn a_colluding_threshold_leaves_nothing() {
        assert!(guess_years(2, 3, 2, 20_000, PHONES) <= 0.0);
        assert!(guess_years(2, 3, 3, 20_000, PHONES) <= 0.0);
        assert!(guess_years(3, 5, 2, 20_000, PHONES) > 300.0);
    }
}
