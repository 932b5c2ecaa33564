//! `run.json`: everything, for programs.

use serde::Serialize;

/// `run.json`. Figures that are not known are `null`.
#[must_use]
pub fn run(results: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(results).expect("results have a JSON spelling");
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::tests::results;

    #[test]
    fn the_file_says_its_version_what_made_it_and_what_was_in_effect() {
        let value: serde_json::Value = serde_json::from_slice(&run(&results())).expect("JSON");
        assert_eq!(value["schema_version"], 1);
        assert_eq!(value["config"]["clients"], 16);
        assert_eq!(value["summaries"].as_array().map(Vec::len), Some(10));
        assert_eq!(value["standings"][1]["strategy"], "2pc:log=file");
        assert!(value["tool"]["version"].is_string());
    }
}
