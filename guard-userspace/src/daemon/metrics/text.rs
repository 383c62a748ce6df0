//! The two forms: OpenMetrics 1.0, and the older Prometheus text 0.0.4.

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    OpenMetrics,
    Plain,
}

impl Form {
    /// What a scraper likes best of what it accepts; the older form, if it says nothing that we know.
    pub(super) fn accepted<'a>(headers: impl Iterator<Item = &'a str>) -> Self {
        let (mut open, mut plain) = (0.0_f64, 0.0_f64);
        for range in headers.flat_map(|header| header.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
            let of = |name: &str| parameters.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
            let weight = of("q").and_then(|(_, weight)| weight.parse().ok()).unwrap_or(1.0);
            let version = of("version").map(|(_, version)| version.trim_matches('"'));
            match media.to_ascii_lowercase().as_str() {
                "application/openmetrics-text" if version.is_none_or(|version| version == "1.0.0") => {
                    open = open.max(weight);
                }
                "text/plain" if version.is_none_or(|version| version == "0.0.4") => plain = plain.max(weight),
                _ => {}
            }
        }
        if open > 0.0 && open >= plain { Self::OpenMetrics } else { Self::Plain }
    }

    /// As the header says it.
    pub(super) const fn media(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The older form of what we wrote as OpenMetrics: a counter's name has its `_total` in the comments too, there are no units,
/// no counters without it, and no end.
pub(super) fn plain(open: &str) -> String {
    // The name of the metric whose comments were written last comes before its type: both must have the same suffix.
    let counters: Vec<&str> =
        open.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut text = String::with_capacity(open.len());
    for line in open.lines() {
        if line.starts_with("# UNIT ") || line == "# EOF" {
            continue;
        }
        let comment = ["# HELP ", "# TYPE "].into_iter().find(|comment| line.starts_with(comment));
        let named = comment
            .and_then(|comment| line.strip_prefix(comment)?.split_once(' ').map(|rest| (comment, rest)));
        match named {
            Some((comment, (name, rest))) if counters.contains(&name) => {
                text.push_str(&format!("{comment}{name}_total {rest}\n"));
            }
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrapers_get_what_they_like() {
        let cases = [
            ("", Form::Plain),
            ("*/*", Form::Plain),
            ("text/plain", Form::Plain),
            ("application/openmetrics-text", Form::OpenMetrics),
            ("application/openmetrics-text; version=1.0.0; charset=utf-8", Form::OpenMetrics),
            ("application/openmetrics-text; version=0.0.1", Form::Plain),
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                Form::OpenMetrics,
            ),
            ("application/openmetrics-text;q=0.2, text/plain;q=0.9", Form::Plain),
            ("application/openmetrics-text;q=0", Form::Plain),
        ];
        for (header, form) in cases {
            assert_eq!(Form::accepted([header].into_iter()), form, "{header}");
        }
    }

    #[test]
    fn the_older_form() {
        let open = "# HELP a_seconds How long.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\na_seconds_total 1.5\n\
                    # HELP b How many.\n# TYPE b gauge\nb{c=\"# EOF\"} 2.0\n# EOF\n";
        let expected = "# HELP a_seconds_total How long.\n# TYPE a_seconds_total counter\na_seconds_total 1.5\n\
                        # HELP b How many.\n# TYPE b gauge\nb{c=\"# EOF\"} 2.0\n";
        assert_eq!(plain(open), expected);
    }
}
