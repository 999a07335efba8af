//! Reads Prometheus' text format.

/// The value of the sample `name` whose labels include `labels`; sums over those that do. `None`
/// where no sample does.
pub(crate) fn sample(metrics: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let mut total = None;
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let (found, written) = series.split_once('{').unwrap_or((series, ""));
        let has = |(key, value): &(&str, &str)| written.contains(&format!("{key}=\"{value}\""));
        if found == name && labels.iter().all(has) {
            let value: f64 = value.parse().unwrap();
            *total.get_or_insert(0.0) += value;
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_found_by_name_and_labels() {
        let metrics = "# TYPE a counter\na{x=\"1\",y=\"2\"} 3\na{x=\"1\",y=\"3\"} 4\nb 5\n";

        assert_eq!(sample(metrics, "a", &[("x", "1")]), Some(7.0));
        assert_eq!(sample(metrics, "a", &[("y", "2")]), Some(3.0));
        assert_eq!(sample(metrics, "b", &[]), Some(5.0));
        assert_eq!(sample(metrics, "a", &[("x", "9")]), None);
    }
}
