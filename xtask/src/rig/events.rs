//! The kernel's events: one JSON object a line.

/// One event, as the host reads it.
pub(crate) type Event = testkernel_protocol::event::Event<String>;

/// Reads one line.
///
/// # Errors
/// What the line is, if it is no event.
pub(crate) fn parse(line: &str) -> Result<Event, String> {
    serde_json::from_str(line).map_err(|error| format!("the kernel sent a line that is no event: {line:?} ({error})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_and_unknown_ones_kept_apart() {
        assert_eq!(parse(r#"{"event":"hello","version":"0.1.0","memory_bytes":1}"#), Ok(Event::Hello {}));
        assert_eq!(parse(r#"{"event":"start","test":"a::b"}"#), Ok(Event::Start { test: "a::b".into() }));
        assert_eq!(
            parse(r#"{"event":"fail","message":"a\u0007\"b"}"#),
            Ok(Event::Fail { message: "a\u{7}\"b".into() })
        );
        assert_eq!(parse(r#"{"event":"pass"}"#), Ok(Event::Pass));
        assert_eq!(parse(r#"{"event":"dance","x":[1]}"#), Ok(Event::Other));
        assert!(matches!(
            parse(r#"{"event":"metric","name":"a","value":3,"unit":"ns"}"#),
            Ok(Event::Metric { value: 3, .. })
        ));
        assert!(parse(r#"{"event":"start"}"#).is_err());
        assert!(parse("pass").is_err());
    }
}
