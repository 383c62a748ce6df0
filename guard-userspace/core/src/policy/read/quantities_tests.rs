use proptest::prelude::*;

use super::*;
use crate::policy::model::units;

fn span(text: &str) -> Option<u64> {
    Duration::regex()?.is_match(text).then(|| duration(text)).flatten()
}

#[test]
fn what_they_mean() {
    assert_eq!(span("1h30m"), Some(5_400_000_000_000));
    assert_eq!(span("500ms"), Some(500_000_000));
    assert_eq!(span("2d3us"), Some(172_800_000_003_000));
    for wrong in ["30", "1.5h", "m30", "30m1h", "5 m", "-5s", "5min", "1s1s"] {
        assert_eq!(span(wrong), None, "{wrong}");
    }
    assert_eq!(span("9999999d"), None, "too large");
    assert_eq!(size("1.5GiB"), Some(1_610_612_736));
    assert_eq!(size("10MB"), Some(10_000_000));
    assert_eq!(size("64KiB"), Some(65_536));
    assert_eq!(size("99999999TiB"), None);
    assert_eq!(rate("60MiB/m"), Some(1_048_576.0));
    assert_eq!(rate("-1B/s"), Some(-1.0));
    assert_eq!(rate("1B/0s"), None);
    assert_eq!(percent("12.5%"), Some(12.5));
    assert_eq!(budget("5/10m"), Some(Budget { count: 5, within: 600_000_000_000 }));
    assert_eq!(budget("2/h"), Some(Budget { count: 2, within: 3_600_000_000_000 }));
    assert_eq!(m_of_n("3 of 5"), Some((3, 5)));
}

#[test]
fn what_was_probably_meant_is_right() {
    let fits = |pattern: &Pattern, text: &str| pattern.compile().is_some_and(|regex| regex.is_match(text));
    for (said, meant) in
        [("30", "30s"), ("10min", "10m"), ("1.5h", "1h30m"), ("0.5m", "30s"), ("2 days", "2d"), ("1w", "7d")]
    {
        let hint = duration_hint(said).and_then(|hint| hint.replacement);
        assert_eq!(hint.as_deref(), Some(meant), "{said}");
        assert!(fits(&Duration::PATTERN, meant));
    }
    for (said, meant) in [
        ("512M", "512MiB"),
        ("64k", "64KiB"),
        ("1 GiB", "1GiB"),
        ("5mb", "5MB"),
        ("3mi", "3MiB"),
        ("9", "9MiB"),
    ] {
        let hint = size_hint(said).and_then(|hint| hint.replacement);
        assert_eq!(hint.as_deref(), Some(meant), "{said}");
        assert!(fits(&Size::PATTERN, meant));
    }
    for (said, meant) in
        [("10MiB", "10MiB/m"), ("10M/m", "10MiB/m"), ("10MiB/min", "10MiB/m"), ("5", "5MiB/m")]
    {
        let hint = rate_hint(said).and_then(|hint| hint.replacement);
        assert_eq!(hint.as_deref(), Some(meant), "{said}");
        assert!(fits(&Rate::PATTERN, meant));
    }
    for (said, meant) in [("25", "25%"), ("0.25", "25%"), ("25 %", "25%"), ("25 percent", "25%")] {
        assert_eq!(percent_hint(said).and_then(|hint| hint.replacement).as_deref(), Some(meant), "{said}");
    }
    for (said, meant) in [("5", "5/10m"), ("5 / 10m", "5/10m"), ("5/10min", "5/10m"), ("5/min", "5/1m")] {
        let hint = budget_hint(said).and_then(|hint| hint.replacement);
        assert_eq!(hint.as_deref(), Some(meant), "{said}");
        assert!(fits(&BudgetOf::PATTERN, meant));
    }
}

proptest! {
    /// What is shown of a quantity is read as the same.
    #[test]
    fn shown_is_read_again(ns in 0..=u64::MAX / 4, bytes in 0_u64..=1 << 60, count in 1_u32.., within in 1..=u64::MAX / 4) {
        prop_assert_eq!(span(&units::span(ns)), Some(ns));
        prop_assert_eq!(size(&units::bytes(bytes)), Some(bytes));
        let shown = Budget { count, within };
        prop_assert_eq!(budget(&shown.to_string()), Some(shown));
    }

    /// No text is read without fitting the pattern, and none that fits is too odd to be read or refused.
    #[test]
    fn any_text(text in "[-0-9a-zA-Z./% ]{0,12}|[0-9]{1,3}(ms|s|m|h|d|MiB|MB|%)(/[0-9]{0,2}(m|s))?") {
        let _ = (duration_hint(&text), size_hint(&text), rate_hint(&text), percent_hint(&text), budget_hint(&text));
        for (name, regex) in [("size", Size::regex()), ("rate", Rate::regex()), ("percent", Percent::regex())] {
            if regex.is_some_and(|regex| regex.is_match(&text)) {
                let read = match name {
                    "size" => size(&text).is_some(),
                    "rate" => rate(&text).is_some() || text.contains("/0"),
                    _ => percent(&text).is_some(),
                };
                prop_assert!(read || text.len() > 8, "{} {}", name, text);
            }
        }
    }
}
