//! Figures for a person: three significant digits, with a unit that fits.

/// What stands where there is no figure.
pub const NOT_AVAILABLE: &str = "n/a";

/// A figure to three significant digits, without an exponent.
pub fn three_digits(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let magnitude = value.abs().log10().floor();
    if magnitude >= 2.0 {
        return thousands(value);
    }
    let decimals = (2.0 - magnitude).clamp(0.0, 9.0) as usize;
    format!("{value:.decimals$}")
}

/// A whole figure with its thousands set apart.
fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}

/// A figure, or `n/a`.
pub fn figure(value: Option<f64>) -> String {
    value.map_or_else(|| NOT_AVAILABLE.to_owned(), three_digits)
}

/// A time with its unit, or `n/a`.
pub fn time(us: Option<f64>) -> String {
    match us {
        None => NOT_AVAILABLE.to_owned(),
        Some(us) if us >= 1e6 => format!("{} s", three_digits(us / 1e6)),
        Some(us) if us >= 1e3 => format!("{} ms", three_digits(us / 1e3)),
        Some(us) => format!("{} µs", three_digits(us)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_no_exponent() {
        for (value, text) in [
            (0.0, "0"),
            (0.001_234_5, "0.00123"),
            (1.0, "1.00"),
            (12.345, "12.3"),
            (123.4, "123"),
            (1_234_567.8, "1,234,568"),
            (-1234.0, "-1,234"),
        ] {
            assert_eq!(three_digits(value), text);
        }
    }

    #[test]
    fn times_find_their_unit_down_to_less_than_a_microsecond() {
        assert_eq!(time(Some(0.75)), "0.750 µs");
        assert_eq!(time(Some(1234.0)), "1.23 ms");
        assert_eq!(time(Some(2_500_000.0)), "2.50 s");
        assert_eq!(time(None), "n/a");
    }
}
