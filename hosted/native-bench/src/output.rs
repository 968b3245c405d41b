//! What is printed: a value a line.

/// Prints one value of a benchmark.
pub(crate) fn value(name: &str, who: &str, value: f64, unit: &str) {
    println!("{}", serde_json::json!({ "name": name, "who": who, "value": value, "unit": unit }));
}

/// The middle one, or the mean of the two in the middle; of nothing, NaN.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values {
        [] => f64::NAN,
        _ if values.len().is_multiple_of(2) => f64::midpoint(values[half - 1], values[half]),
        _ => values[half],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&mut [3.0]), 3.0);
        assert_eq!(median(&mut [9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [9.0, 1.0, 2.0, 4.0]), 3.0);
        assert!(median(&mut []).is_nan());
    }
}
