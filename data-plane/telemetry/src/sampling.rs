//! Which traces are kept: what the parent says, else a share of them by their id, so that all who see a trace decide alike.

use opentelemetry::trace::{SpanContext, TraceId};

/// Decides. The default is OpenTelemetry's: the parent decides, and traces that begin here are all kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Whether the parent's decision counts, if there is a parent.
    pub by_parent: bool,
    /// Share of the others that is kept, 0 to 1.
    pub ratio: f64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { by_parent: true, ratio: 1.0 }
    }
}

impl Sampling {
    /// What `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG` say; `None` if they make no sense.
    #[must_use]
    pub fn named(name: &str, argument: &str) -> Option<Self> {
        let (by_parent, kind) = match name.strip_prefix("parentbased_") {
            Some(kind) => (true, kind),
            None => (false, name),
        };
        let ratio = match kind {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" if argument.is_empty() => 1.0,
            "traceidratio" => argument.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio))?,
            _ => return None,
        };
        Some(Self { by_parent, ratio })
    }

    /// Whether the trace is kept.
    #[must_use]
    pub fn keeps(&self, parent: Option<&SpanContext>, trace_id: TraceId) -> bool {
        if let Some(parent) = parent.filter(|_| self.by_parent) {
            return parent.is_sampled();
        }
        if self.ratio >= 1.0 {
            return true;
        }
        // As OpenTelemetry's SDKs do: the lower 63 bits of the id, against the same share of all that there are.
        let bytes = trace_id.to_bytes();
        let low = bytes[8..].iter().fold(0_u64, |low, byte| low << 8 | u64::from(*byte)) >> 1;
        #[allow(clippy::cast_precision_loss)]
        let share = low as f64 / (1_u64 << 63) as f64;
        share < self.ratio
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::parse;

    #[test]
    fn the_parent_decides_where_it_may() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0";
        let (kept, left) = (parse(&format!("{text}1"), "").unwrap(), parse(&format!("{text}0"), "").unwrap());
        let never = Sampling::named("parentbased_always_off", "").unwrap();
        assert!(never.keeps(Some(&kept), kept.trace_id()) && !never.keeps(None, kept.trace_id()));
        assert!(!Sampling::default().keeps(Some(&left), left.trace_id()));
        assert!(Sampling::named("always_on", "").unwrap().keeps(Some(&left), left.trace_id()));
    }

    #[test]
    fn a_share_is_kept_by_the_id() {
        let tenth = Sampling::named("traceidratio", "0.1").unwrap();
        let kept = (0..10_000_u128)
            .filter(|n| {
                tenth.keeps(
                    None,
                    TraceId::from_bytes(n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes()),
                )
            })
            .count();
        assert!((900..=1_100).contains(&kept), "{kept}");
        for (name, argument) in [("traceidratio", "2"), ("traceidratio", "x"), ("sometimes", ""), ("", "")] {
            assert!(Sampling::named(name, argument).is_none(), "{name} {argument}");
        }
    }
}
