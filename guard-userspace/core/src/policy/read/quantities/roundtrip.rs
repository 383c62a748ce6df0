//! What is written of a quantity is read as the same.

use proptest::prelude::*;

use super::{BudgetOf, Duration, Percent, Quantity, Rate, Size};
use crate::policy::model::{Budget, Unit, bytes, span};

fn read<Q: Quantity>(text: &str) -> Q {
    assert!(Q::regex().unwrap().is_match(text), "{text} does not fit its pattern");
    Q::of(text).unwrap_or_else(|| panic!("{text} is not read"))
}

/// Numbers as operators write them, and any others.
fn number(most: u64) -> impl Strategy<Value = u64> {
    let round = (1_u64..1_000, prop_oneof![Just(1_u64), Just(1_000), Just(60_000_000_000), Just(1 << 20)]);
    prop_oneof![round.prop_map(|(count, unit)| count * unit), 0..most]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn spans_and_budgets(within in number(1 << 60), count in 1_u32..) {
        prop_assert_eq!(read::<Duration>(&span(within)).0, within);
        prop_assert_eq!(read::<Duration>(&Unit::Time.exact(within as f64)).0 as f64, within as f64);
        // The smallest window of a budget's text is a second.
        let within = within.next_multiple_of(1_000_000_000);
        let budget = Budget { count, within };
        prop_assert_eq!(read::<BudgetOf>(&budget.to_string()).0, budget);
    }

    #[test]
    fn sizes(size in number(1 << 60)) {
        prop_assert_eq!(read::<Size>(&bytes(size)).0, size);
        let exact = size & ((1 << 53) - 1);
        prop_assert_eq!(read::<Size>(&Unit::Bytes.exact(exact as f64)).0, exact);
    }

    #[test]
    fn rates(size in number(1 << 40)) {
        let amount = bytes(size);
        for window in ["s", "m", "h", "d", "7s", "90s", "12h"] {
            let value = read::<Rate>(&format!("{amount}/{window}")).0;
            prop_assert_eq!(read::<Rate>(&Unit::BytesPerTime.exact(value)).0, value);
        }
    }

    #[test]
    fn shares(hundredths in 0_u32..1_000_000) {
        let value = f64::from(hundredths) / 100.0;
        prop_assert_eq!(read::<Percent>(&Unit::Percent.exact(value)).0, value);
    }
}
