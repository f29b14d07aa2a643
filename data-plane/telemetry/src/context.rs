//! W3C trace context (<https://www.w3.org/TR/trace-context/>) as texts and back.

use std::str::FromStr as _;

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// The header, and the field of an event, that names the span above.
pub const TRACEPARENT: &str = "traceparent";

/// The header that travels along with it.
pub const TRACESTATE: &str = "tracestate";

/// What the texts say; `None` if `traceparent` is not one. A `tracestate` that cannot be read is left out.
#[must_use]
pub fn parse(traceparent: &str, tracestate: &str) -> Option<SpanContext> {
    let mut parts = traceparent.trim().split('-');
    let version = hex(parts.next()?, 2)?;
    let (trace_id, span_id, flags) = (parts.next()?, parts.next()?, parts.next()?);
    // Later versions may append to the first four parts; `ff` is none.
    if version == 0xff || (version == 0 && parts.next().is_some()) {
        return None;
    }
    let trace_id = TraceId::from_bytes(hex(trace_id, 32)?.to_be_bytes());
    let span_id = SpanId::from_bytes(u64::try_from(hex(span_id, 16)?).ok()?.to_be_bytes());
    let sampled = hex(flags, 2)? & 1 == 1;
    let flags = if sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let state = TraceState::from_str(tracestate).unwrap_or_default();
    let context = SpanContext::new(trace_id, span_id, flags, true, state);
    context.is_valid().then_some(context)
}

/// The `traceparent` of a span.
#[must_use]
pub fn traceparent(context: &SpanContext) -> String {
    format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), u8::from(context.is_sampled()))
}

/// Its `tracestate`; empty if there is none.
#[must_use]
pub fn tracestate(context: &SpanContext) -> String {
    context.trace_state().header()
}

/// `digits` lower-case hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (text.len() == digits && text.bytes().all(is_hex)).then(|| u128::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_was_read_is_written_again() {
        let context = parse(GOOD, "a=1,b=2").unwrap();
        assert!(context.is_sampled() && context.is_remote());
        assert_eq!((traceparent(&context), tracestate(&context)), (GOOD.to_owned(), "a=1,b=2".to_owned()));
        let unsampled = GOOD.replace("-01", "-00");
        assert_eq!(traceparent(&parse(&unsampled, "").unwrap()), unsampled);
        assert!(parse(&GOOD.replace("00-4", "cc-4").replace("-01", "-03-more"), "").unwrap().is_sampled());
        assert_eq!(tracestate(&parse(GOOD, "no state").unwrap()), "");
    }

    #[test]
    fn what_is_no_trace_context_is_not_taken_for_one() {
        for text in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
        ] {
            assert!(parse(text, "").is_none(), "{text}");
        }
    }
}
