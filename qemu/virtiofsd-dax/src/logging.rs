//! The log: lines on standard error.

use log::LevelFilter;

/// Starts to log what is at least as grave as `level`; `RUST_LOG` says more exactly what.
pub fn start(level: LevelFilter) {
    let mut builder = env_logger::Builder::new();
    builder.filter_level(level).format_target(false);
    if let Ok(filters) = std::env::var("RUST_LOG") {
        builder.parse_filters(&filters);
    }
    // Only a second logger is refused, and then the first one does.
    let _ = builder.try_init();
}
