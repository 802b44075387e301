//! Metrics in the Prometheus text format, through the official client.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// One metric as it stands now.
#[derive(Clone, Debug)]
pub struct Reading {
    name: &'static str,
    help: &'static str,
    value: u64,
    counts: bool,
}

impl Reading {
    /// A number that only grows. `name` ends in `_total`.
    #[must_use]
    pub fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self {
            name,
            help,
            value,
            counts: true,
        }
    }

    /// A number that goes up and down.
    #[must_use]
    pub fn gauge(name: &'static str, help: &'static str, value: u64) -> Self {
        Self {
            name,
            help,
            value,
            counts: false,
        }
    }
}

/// Renders readings in the OpenMetrics text format.
#[must_use]
pub fn render(readings: &[Reading]) -> String {
    let mut registry = Registry::default();
    for reading in readings {
        if reading.counts {
            let counter = Counter::<u64>::default();
            counter.inc_by(reading.value);
            let name = reading.name.strip_suffix("_total").unwrap_or(reading.name);
            registry.register(name, reading.help, counter);
        } else {
            let gauge = Gauge::<i64>::default();
            gauge.set(i64::try_from(reading.value).unwrap_or(i64::MAX));
            registry.register(reading.name, reading.help, gauge);
        }
    }
    let mut out = String::new();
    if encode(&mut out, &registry).is_err() {
        tracing::error!("the metrics could not be written");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_and_a_gauge_are_rendered_under_their_names() {
        let text = render(&[
            Reading::counter("casegate_a_total", "A", 3),
            Reading::gauge("casegate_b", "B", 4),
        ]);
        assert!(text.contains("casegate_a_total 3\n"), "{text}");
        assert!(text.contains("casegate_b 4\n"), "{text}");
    }
}
