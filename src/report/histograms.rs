//! The files of the HdrHistogram family: `.hlog`, an interval log with tags, and `.hgrm`, a
//! percentile distribution as text. Readable by the usual tools.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::bench::durations::Durations;
use crate::bench::recorder::INTERVAL_NS;
use crate::bench::results::RunIntervals;

/// Nanoseconds in a millisecond: what both formats show values in.
const NS_PER_MS: f64 = 1e6;
/// Lines for each halving of the distance to 100 %.
const TICKS_PER_HALF: u32 = 5;

/// An interval log in nanoseconds. `run` gives the intervals, whose histograms of committed
/// transfers are tagged `committed`; `whole` gives histograms over the whole run with tags of
/// their own, which must hold no comma and no white space.
#[must_use]
pub fn hlog(run: &RunIntervals, whole: &[(String, &Durations)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let began = Duration::from_micros(u64::try_from(run.began_us).unwrap_or(0));
    let began_at = SystemTime::UNIX_EPOCH + began;
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment(&format!("[run {}, {}, values in nanoseconds]", run.run_id, run.strategy))
        .with_start_time(began_at)
        .with_base_time(began_at)
        .with_max_value_divisor(NS_PER_MS)
        .begin_log_with(&mut bytes, &mut serializer)
        .expect("writing to memory does not fail");
    let mut write = |histogram: &Histogram<u64>, start: Duration, length: Duration, tag: &str| {
        log.write_histogram(histogram, start, length, Tag::new(tag))
            .expect("writing to memory does not fail");
    };
    let mut end = Duration::ZERO;
    for interval in &run.intervals {
        let start = Duration::from_nanos(interval.start_ns);
        write(&interval.committed(), start, Duration::from_nanos(INTERVAL_NS), "committed");
        end = start + Duration::from_nanos(INTERVAL_NS);
    }
    for (tag, durations) in whole {
        write(durations.histogram(), Duration::ZERO, end, tag);
    }
    bytes
}

/// A percentile distribution, in milliseconds.
#[must_use]
pub fn hgrm(durations: &Durations) -> Vec<u8> {
    let histogram = durations.histogram();
    let mut text = String::new();
    let mut line = |columns: std::fmt::Arguments<'_>| {
        text.write_fmt(columns).expect("writing to memory does not fail");
    };
    line(format_args!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    ));
    let mut count = 0;
    for step in histogram.iter_quantiles(TICKS_PER_HALF) {
        count += step.count_since_last_iteration();
        let value = step.value_iterated_to() as f64 / NS_PER_MS;
        let quantile = step.quantile_iterated_to();
        if quantile < 1.0 {
            let beyond = 1.0 / (1.0 - quantile);
            line(format_args!("{value:>12.6} {quantile:>14.12} {count:>10} {beyond:>14.2}\n"));
        } else {
            line(format_args!("{value:>12.6} {quantile:>14.12} {count:>10}\n"));
        }
    }
    let ms = |ns: f64| ns / NS_PER_MS;
    line(format_args!(
        "#[Mean    = {:>12.6}, StdDeviation   = {:>12.6}]\n",
        ms(durations.mean_ns().unwrap_or(0.0)),
        ms(if histogram.is_empty() { 0.0 } else { histogram.stdev() })
    ));
    line(format_args!(
        "#[Max     = {:>12.6}, Total count    = {:>12}]\n",
        ms(durations.max_ns().unwrap_or(0) as f64),
        histogram.len()
    ));
    line(format_args!("#[Buckets = {:>12}, SubBuckets     = {:>12}]\n", histogram.buckets(), 2048));
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::bench::recorder::Recorder;
    use crate::bench::sample::Ending;
    use crate::bench::sample::tests::sample;

    #[test]
    fn an_interval_log_is_read_back_with_its_tags() {
        let mut recorder = Recorder::default();
        recorder.record(&sample(Ending::Committed, 0, 500));
        recorder.record(&sample(Ending::Committed, 0, 1_500_000));
        let whole = recorder.lock_hold.clone();
        let run = RunIntervals {
            run_id: "r".to_owned(),
            began_us: 1_700_000_000_000_000,
            strategy: "2pc".to_owned(),
            run: 1,
            load_ns: None,
            intervals: recorder.into_intervals(),
        };
        let bytes = hlog(&run, &[("lock_hold".to_owned(), &whole)]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let mut tags = Vec::new();
        let mut samples = 0;
        for entry in IntervalLogIterator::new(&bytes) {
            if let LogEntry::Interval(interval) = entry.expect(&text) {
                tags.push(interval.tag().expect("tagged").as_str().to_owned());
                let encoded = interval.encoded_histogram();
                assert!(encoded.starts_with("HISTF"), "{encoded}");
                samples += 1;
            }
        }
        assert_eq!(tags, ["committed", "committed", "lock_hold"]);
        assert_eq!(samples, 3);
        // The packed form itself is the standard one.
        let mut packed = Vec::new();
        use hdrhistogram::serialization::Serializer as _;
        V2DeflateSerializer::new().serialize(whole.histogram(), &mut packed).expect("packs");
        let unpacked: Histogram<u64> =
            Deserializer::new().deserialize(&mut packed.as_slice()).expect("unpacks");
        assert_eq!(unpacked.len(), 0);
    }

    #[test]
    fn a_distribution_rises_and_ends_at_the_whole() {
        let mut durations = Durations::default();
        (1..=1000).for_each(|i| durations.record(i * 1_000_000));
        let text = String::from_utf8(hgrm(&durations)).expect("text");
        let rows: Vec<Vec<f64>> = text
            .lines()
            .skip(2)
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().map(|cell| cell.parse().expect(line)).collect())
            .collect();
        assert!(rows.windows(2).all(|pair| pair[0][0] <= pair[1][0] && pair[0][1] <= pair[1][1]));
        assert_eq!(rows.last().expect("rows")[2], 1000.0);
        assert!(text.contains("Total count    =         1000"), "{text}");
    }
}
