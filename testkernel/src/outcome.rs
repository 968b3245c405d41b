//! How scenarios and commands end.

use alloc::string::String;

/// How a scenario or command ended.
pub(crate) type Outcome = Result<(), Stop>;

/// Why one did not run to its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It does not apply here.
    Skip(String),
    /// Something is not as it should be.
    Fail(String),
}

/// Ends a scenario as failed unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::outcome::Stop::Fail(alloc::format!($($message)+)));
        }
    };
}
pub(crate) use ensure;

impl<E: core::error::Error> From<E> for Stop {
    fn from(error: E) -> Self {
        use core::fmt::Write;
        let mut message = alloc::format!("{error}");
        let mut cause = error.source();
        while let Some(inner) = cause {
            // Writing to a string cannot fail.
            let _ = write!(message, ": {inner}");
            cause = inner.source();
        }
        Self::Fail(message)
    }
}
