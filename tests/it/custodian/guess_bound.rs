//! No order of asking, restarts or clock changes beats the bound on guesses.

use proptest::prelude::*;

use super::world::*;

/// What an adaptive member may try to get more evaluations than its budget.
#[derive(Clone, Debug)]
enum Op {
    Ask { custodian: usize, points: usize },
    Restart { custodian: usize },
    SetBack { hours: i64 },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..3usize, 1..6usize).prop_map(|(custodian, points)| Op::Ask { custodian, points }),
        1 => (0..3usize).prop_map(|custodian| Op::Restart { custodian }),
        1 => (1..72i64).prop_map(|hours| Op::SetBack { hours }),
    ]
}

const QUOTA: u64 = 9;

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever subset is asked in whatever order, a day gives at most
    /// n·q / t whole evaluations: each needs answers of `t` custodians.
    #[test]
    fn no_order_of_asking_restarts_or_clock_changes_beats_the_bound(
        ops in proptest::collection::vec(op(), 1..40)
    ) {
        let mut world = world(QUOTA);
        let clock = world.clock.clone();
        let mut answered = [0u64; 3];
        for op in ops {
            match op {
                Op::Ask { custodian, points } => {
                    let mut request = world.request(points);
                    request.recipient = NAMES[custodian].into();
                    let seat = world.seats[custodian].custodian();
                    let handled = seat.evaluate(&member("hefei"), &world.rules, &request);
                    if let Ok(response) = handled.reply {
                        answered[custodian] += (response.points.len() / 32) as u64;
                    }
                }
                Op::Restart { custodian } => world.seats[custodian].restart(&clock),
                Op::SetBack { hours } => clock.advance(-3600 * hours),
            }
        }
        prop_assert!(answered.iter().all(|points| *points <= QUOTA), "{answered:?}");
        prop_assert!(answered.iter().sum::<u64>() / 2 <= 3 * QUOTA / 2);
    }
}
