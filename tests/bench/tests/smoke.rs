//! The bench itself works: everything runs once with small counts, and tells what it should. No figure is judged.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{path::Path, process::Command};

use sluice_bench::report::Report;

/// Runs the bench with data below `folder`; gives what it prints.
fn bench(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice-bench"));
    // The binaries are those that cargo has built for this test.
    command.args(arguments).arg("--dir").arg(folder).env_remove("CARGO");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let list = bench(folder, &["list"]);
    list.lines().map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

#[test]
fn every_scenario_runs_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let table = bench(folder.path(), &["all", "--quick"]);
    let file = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let file = file.into_iter().find(|path| path.extension().is_some_and(|kind| kind == "json")).expect("a report");
    let report: Report = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert!(report.quick && !report.machine.processor.is_empty());
    for name in names(folder.path()) {
        let cases: Vec<_> = report.measured.iter().filter(|measured| measured.scenario == name).collect();
        assert!(!cases.is_empty() && table.contains(&name), "{name} is not measured");
        for case in cases {
            assert!(case.count > 0 && case.seconds > 0.0, "{case:?}");
            assert!(!case.ratios.is_empty() || !case.facts.is_empty() || !case.processes.is_empty(), "{case:?}");
        }
    }
    assert!(report.measured.iter().any(|measured| measured.scenario == "yardstick"));
    let svg = std::fs::read_dir(file.with_extension("")).unwrap().map(|entry| entry.unwrap().path());
    let svg: Vec<_> = svg.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    assert!(svg.len() >= 5 && svg.iter().all(|svg| svg.contains("<polyline")), "{} plots", svg.len());
    let page = bench(folder.path(), &["report", file.to_str().unwrap()]);
    assert!(page.contains("| original |") && page.contains("smoke test"), "{page}");
}
