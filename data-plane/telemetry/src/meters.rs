//! Values on their way to a reader. What something else counts already, such as the ledger, is read when it is asked for, and so
//! counted once; distributions are recorded as they come, by handles that are made once for each set of attributes.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use opentelemetry::{
    KeyValue,
    metrics::{BoundHistogram, Histogram, Meter, MeterProvider as _},
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    metrics::{
        Aggregation, Instrument as SdkInstrument, InstrumentKind, ManualReader, Pipeline, SdkMeterProvider, Stream,
        Temporality, data::ResourceMetrics, reader::MetricReader,
    },
};

use crate::instruments::{ALL, Instrument, Kind};

/// Name of the scope of all that Sluice tells.
pub const SCOPE: &str = "sluice";

/// Explicit buckets, in seconds: from a quick rendering to a delivery in its last round.
const BUCKETS: [f64; 22] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0, 300.0, 1_800.0, 7_200.0, 18_000.0,
];

/// Buckets of an exponential histogram.
const MAX_BUCKETS: u32 = 160;

type Attributes = Vec<(&'static str, Arc<str>)>;

/// What counters and gauges stand at.
#[derive(Debug, Default)]
pub struct Readings(BTreeMap<&'static str, BTreeMap<Attributes, f64>>);

impl Readings {
    /// Adds to the value with these attributes.
    pub fn add(&mut self, instrument: &Instrument, attributes: &[(&'static str, &str)], value: f64) {
        *self.value(instrument, attributes) += value;
    }

    /// Adds a count; exact up to 2⁵³.
    pub fn count(&mut self, instrument: &Instrument, attributes: &[(&'static str, &str)], count: u64) {
        #[allow(clippy::cast_precision_loss)]
        self.add(instrument, attributes, count as f64);
    }

    /// The same with a count that is never negative.
    pub fn tally(&mut self, instrument: &Instrument, attributes: &[(&'static str, &str)], count: i64) {
        self.count(instrument, attributes, u64::try_from(count).unwrap_or_default());
    }

    /// Keeps the highest of the values with these attributes.
    pub fn highest(&mut self, instrument: &Instrument, attributes: &[(&'static str, &str)], value: f64) {
        let known = self.value(instrument, attributes);
        *known = known.max(value);
    }

    fn value(&mut self, instrument: &Instrument, attributes: &[(&'static str, &str)]) -> &mut f64 {
        debug_assert!(attributes.iter().all(|(name, _)| instrument.attributes.contains(name)), "{}", instrument.name);
        let key = attributes.iter().map(|(name, value)| (*name, Arc::from(*value))).collect();
        self.0.entry(instrument.name).or_default().entry(key).or_default()
    }
}

/// A distribution with its attributes. Recording allocates nothing and looks nothing up; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Option<BoundHistogram<f64>>);

impl Recorder {
    /// Records how long something took.
    pub fn record(&self, took: Duration) {
        if let Some(histogram) = &self.0 {
            histogram.record(took.as_secs_f64());
        }
    }

    /// Whether anybody reads it.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }
}

/// The instruments of a process.
pub(crate) struct Meters {
    provider: SdkMeterProvider,
    readings: Arc<Mutex<Readings>>,
    histograms: HashMap<&'static str, Histogram<f64>>,
}

impl Meters {
    pub(crate) fn new(resource: Resource, readers: &[Reader], explicit: bool, labels: usize) -> Self {
        let view = move |instrument: &SdkInstrument| stream(instrument, explicit, labels);
        let mut builder = SdkMeterProvider::builder().with_resource(resource).with_view(view);
        for reader in readers {
            builder = builder.with_reader(reader.clone());
        }
        let provider = builder.build();
        let meter = provider.meter(SCOPE);
        let readings: Arc<Mutex<Readings>> = Arc::default();
        let mut histograms = HashMap::new();
        for instrument in ALL {
            match instrument.kind {
                Kind::Histogram => drop(histograms.insert(instrument.name, histogram(&meter, instrument))),
                Kind::Counter | Kind::Gauge => observe(&meter, instrument, readings.clone()),
            }
        }
        Self { provider, readings, histograms }
    }

    pub(crate) fn recorder(&self, instrument: &Instrument, attributes: &[KeyValue]) -> Recorder {
        Recorder(self.histograms.get(instrument.name).map(|histogram| histogram.bind(attributes)))
    }

    pub(crate) fn record(&self, instrument: &Instrument, attributes: &[KeyValue], took: Duration) {
        if let Some(histogram) = self.histograms.get(instrument.name) {
            histogram.record(took.as_secs_f64(), attributes);
        }
    }

    /// What the next reader finds.
    pub(crate) fn set(&self, readings: Readings) {
        *self.readings.lock().unwrap_or_else(PoisonError::into_inner) = readings;
    }
}

impl Drop for Meters {
    fn drop(&mut self) {
        // Its readers are read by hand: there is nothing left to fail.
        let _ = self.provider.shutdown();
    }
}

fn histogram(meter: &Meter, instrument: &Instrument) -> Histogram<f64> {
    meter
        .f64_histogram(instrument.name)
        .with_unit(instrument.unit)
        .with_description(instrument.description)
        .with_boundaries(BUCKETS.to_vec())
        .build()
}

/// Gives what was read of it whenever somebody collects.
fn observe(meter: &Meter, instrument: &'static Instrument, readings: Arc<Mutex<Readings>>) {
    let each = move |tell: &mut dyn FnMut(f64, &[KeyValue])| {
        let readings = readings.lock().unwrap_or_else(PoisonError::into_inner);
        for (attributes, value) in readings.0.get(instrument.name).into_iter().flatten() {
            let attributes: Vec<_> =
                attributes.iter().map(|(name, value)| KeyValue::new(*name, value.clone())).collect();
            tell(*value, &attributes);
        }
    };
    if instrument.kind == Kind::Counter {
        let builder = meter.u64_observable_counter(instrument.name).with_unit(instrument.unit);
        let callback = move |observer: &dyn opentelemetry::metrics::AsyncInstrument<u64>| {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            each(&mut |value, attributes| observer.observe(value as u64, attributes));
        };
        let _ = builder.with_description(instrument.description).with_callback(callback).build();
    } else {
        let builder = meter.f64_observable_gauge(instrument.name).with_unit(instrument.unit);
        let callback = move |observer: &dyn opentelemetry::metrics::AsyncInstrument<f64>| {
            each(&mut |value, attributes| observer.observe(value, attributes));
        };
        let _ = builder.with_description(instrument.description).with_callback(callback).build();
    }
}

fn stream(instrument: &SdkInstrument, explicit: bool, labels: usize) -> Option<Stream> {
    // How many there are is bounded by the labels; what the SDK would do beyond loses which is which.
    let builder = Stream::builder().with_cardinality_limit(labels.saturating_mul(32).saturating_add(4_096));
    let builder = match instrument.kind() {
        InstrumentKind::Histogram if explicit => builder.with_aggregation(Aggregation::ExplicitBucketHistogram {
            boundaries: BUCKETS.to_vec(),
            record_min_max: true,
        }),
        InstrumentKind::Histogram => builder.with_aggregation(Aggregation::Base2ExponentialHistogram {
            max_size: MAX_BUCKETS,
            max_scale: 20,
            record_min_max: true,
        }),
        _ => builder,
    };
    builder.build().ok()
}

/// Reads the metrics when asked; clones read the same.
#[derive(Clone, Debug)]
pub(crate) struct Reader(Arc<ManualReader>);

impl Reader {
    pub(crate) fn new(temporality: Temporality) -> Self {
        Self(Arc::new(ManualReader::builder().with_temporality(temporality).build()))
    }
}

impl MetricReader for Reader {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}

impl fmt::Debug for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meters")
    }
}
