//! The spool, on the disk below target/: one commit accepts a batch of events, settles the batch before as delivered with two reports
//! each, and acks the reports of the one before that. `examples/store_cost.rs` compares its processor time with that of a plain file.

#![allow(missing_docs, reason = "criterion's macros make functions without")]
#![allow(clippy::unwrap_used, reason = "a benchmark that fails must stop")]

mod steps;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sluice_node::{
    report::Reporter,
    spool::{SpoolLimits, SqliteFactory, store::StoreFactory as _},
};

use steps::Steps;

fn spool(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("spool");
    for batch in [1, 16, 64, 256] {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let factory = SqliteFactory::new(folder.path(), Reporter::new("nodes/n1", "i1"), SpoolLimits::default());
        let mut steps = Steps::new(factory.writer().unwrap());
        group.throughput(Throughput::Elements(batch));
        group.bench_function(format!("commit/{batch}"), |b| b.iter(|| steps.step(batch)));
    }
}

criterion_group!(benches, spool);
criterion_main!(benches);
