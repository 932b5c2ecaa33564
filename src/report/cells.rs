//! The cells of CSV files.

use crate::bench::workload::Access;

/// Text that no spreadsheet takes for a formula.
pub(super) fn text(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\0']);
    if formula { format!("'{text}") } else { text.to_owned() }
}

/// A figure with at most three decimals; empty where it is not known.
pub(super) fn number(value: Option<f64>) -> String {
    rounded(value, 3)
}

/// A share, 0 to 1, with at most six decimals; empty where it is not known.
pub(super) fn ratio(value: Option<f64>) -> String {
    rounded(value, 6)
}

fn rounded(value: Option<f64>, decimals: usize) -> String {
    let Some(value) = value.filter(|value| value.is_finite()) else { return String::new() };
    let text = format!("{value:.decimals$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A number of something; empty where it is not known.
pub(super) fn count(value: Option<u64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// How accounts, or seats, were picked: the distribution's name, its theta, how many are hot, and
/// their share.
pub(super) fn access(access: Access) -> [String; 4] {
    let none = String::new;
    match access {
        Access::Uniform => ["uniform".to_owned(), none(), none(), none()],
        Access::Zipfian { theta } => ["zipfian".to_owned(), number(Some(theta)), none(), none()],
        Access::Hotspot { accounts, percent } => {
            ["hotspot".to_owned(), none(), accounts.to_string(), number(Some(percent))]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_that_looks_like_a_formula_is_quoted() {
        for start in ["=", "+", "-", "@", "\t", "\r", "\0"] {
            assert_eq!(text(&format!("{start}1")), format!("'{start}1"));
        }
        assert_eq!(text("plain - text"), "plain - text");
    }

    #[test]
    fn numbers_are_short_and_exact() {
        assert_eq!(number(Some(1500.0)), "1500");
        assert_eq!(number(Some(0.123_456)), "0.123");
        assert_eq!(
            (ratio(Some(0.001_25)), ratio(Some(0.0))),
            ("0.00125".to_owned(), "0".to_owned())
        );
        assert_eq!((number(Some(f64::NAN)), number(None)), (String::new(), String::new()));
    }
}
