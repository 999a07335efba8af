//! What the metrics have counted, as short lines.

use std::collections::BTreeMap;

use crate::support::PATIENCE;
use crate::support::gateway::{Running, get};

/// The families that are read, and how a sample of theirs is written: labels in braces.
const FAMILIES: &[(&str, &str)] = &[
    ("attache_requests_total", "{connector} {method} {code}"),
    ("attache_refused_total", "{connector} refused {reason}"),
    (
        "attache_token_requests_total",
        "{connector} token {outcome}",
    ),
    (
        "attache_upstream_retries_total",
        "{connector} retried {cause}",
    ),
    ("attache_token_failing", "{connector} failing {class}"),
    ("attache_dns_lookups_total", "names {outcome}"),
];

/// How often each line was counted since the gateway started.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Books(BTreeMap<String, usize>);

impl Books {
    /// Claims that exactly `lines` were counted, once each time they are named. What is not counted
    /// yet is waited for: an answer is counted when its last byte is gone.
    pub(super) async fn claim(gateway: &Running, lines: &[String]) {
        let mut expected = BTreeMap::new();
        for line in lines {
            *expected.entry(line.clone()).or_default() += 1;
        }
        let mut books = Self::of(gateway).await.beside(&expected);
        let counting = async {
            while books.0 != expected && books.are_behind(&expected) {
                books = Self::of(gateway).await.beside(&expected);
            }
        };
        // Whether it ran out shows in what is compared.
        let _ = tokio::time::timeout(PATIENCE, counting).await;
        assert_eq!(books.0, expected, "what was counted, and what should be");
    }

    async fn of(gateway: &Running) -> Self {
        let answered = get(gateway.admin(), "/metrics").await;
        Self::read(&answered.text())
    }

    /// The same without the unsent retries that `expected` does not name or names less often: a
    /// connection that just ended may be offered again before that is known.
    fn beside(mut self, expected: &BTreeMap<String, usize>) -> Self {
        self.0.retain(|line, count| {
            if line.ends_with("retried unsent") {
                *count = (*count).min(expected.get(line).copied().unwrap_or_default());
            }
            *count > 0
        });
        self
    }

    /// Whether waiting can still make `expected` of them: nothing stands there too often.
    fn are_behind(&self, expected: &BTreeMap<String, usize>) -> bool {
        let mut counts = self.0.iter();
        counts.all(|(line, count)| expected.get(line).is_some_and(|wanted| count <= wanted))
    }

    fn read(metrics: &str) -> Self {
        let mut books = BTreeMap::new();
        for line in metrics.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let Some((_, form)) = FAMILIES.iter().find(|(family, _)| *family == name) else {
                continue;
            };
            let mut written = (*form).to_owned();
            for label in labels.trim_end_matches('}').split(',') {
                let (key, value) = label.split_once('=').unwrap();
                written = written.replace(&format!("{{{key}}}"), value.trim_matches('"'));
            }
            let count = value.parse::<f64>().unwrap() as usize;
            // Good look-ups happen behind every row's back.
            if count > 0 && written != "names ok" {
                books.insert(written, count);
            }
        }
        Self(books)
    }
}

#[test]
fn books_are_read_from_metrics() {
    let metrics = "# TYPE attache_requests_total counter\n\
        attache_requests_total{code=\"502\",connector=\"hit\",method=\"GET\"} 2\n\
        attache_refused_total{connector=\"hit\",reason=\"origin-tls\"} 2\n\
        attache_token_requests_total{connector=\"hit\",outcome=\"ok\"} 0\n\
        attache_client_connections 7\n";

    let books = Books::read(metrics);

    let expected = [("hit GET 502", 2), ("hit refused origin-tls", 2)];
    let expected = expected.map(|(line, count)| (line.to_owned(), count));
    assert_eq!(books.0, expected.into());
}
