//! The figures of a run, as they are stored.

use serde::{Deserialize, Serialize};

use crate::{machine::Machine, sink::Latency, usage::Usage};

/// A run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// On what.
    pub machine: Machine,
    /// When it began, in seconds since 1970.
    pub began_seconds: u64,
    /// Whether the counts were those of a smoke test, whose figures say nothing.
    pub quick: bool,
    /// What was measured, in its order.
    pub measured: Vec<Measured>,
}

/// One case of a scenario, measured once.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Measured {
    /// The scenario; `yardstick` for what it is compared with.
    pub scenario: String,
    /// Which case of it.
    pub case: String,
    /// What is counted: `deliveries`, `events` and the like.
    pub unit: String,
    /// How many of them.
    pub count: u64,
    /// How long they took.
    pub seconds: f64,
    /// From when an event was to be sent to the first byte at the endpoint, or as the case says; none where nothing was timed.
    pub latency: Option<Latency>,
    /// What each process used.
    pub processes: Vec<Usage>,
    /// Compared with yardsticks of the same run.
    pub ratios: Vec<Ratio>,
    /// What else there is to tell.
    pub facts: Vec<Fact>,
    /// Where it lies in a scenario that lets something grow.
    pub axis: Option<Axis>,
    /// What was watched over time.
    pub series: Vec<Series>,
}

/// A figure divided by its yardstick.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ratio {
    /// What is divided by what.
    pub what: String,
    /// The quotient.
    pub value: f64,
    /// What it should be, if we have said.
    pub goal: Option<Goal>,
}

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Not more than this.
    AtMost(f64),
    /// Not less than this.
    AtLeast(f64),
}

/// A figure with a name of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fact {
    /// What.
    pub what: String,
    /// How much.
    pub value: f64,
    /// In what.
    pub unit: String,
    /// What it should be, if we have said.
    pub goal: Option<Goal>,
}

/// Something that grows from case to case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Axis {
    /// What.
    pub what: String,
    /// How much of it there is.
    pub value: f64,
}

/// Something that was watched over time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Series {
    /// What, and in what.
    pub what: String,
    /// The readings.
    pub points: Vec<Point>,
}

/// A reading.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Point {
    /// Seconds since the case began.
    pub seconds: f64,
    /// What was read.
    pub value: f64,
}

/// The same case in several runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The least.
    pub least: f64,
    /// Half are not more.
    pub median: f64,
    /// The most.
    pub most: f64,
    /// How many runs.
    pub runs: usize,
}

impl Report {
    /// Repeated cases together, in the order in which each came first.
    #[must_use]
    pub fn cases(&self) -> Vec<Vec<&Measured>> {
        let mut cases: Vec<Vec<&Measured>> = Vec::new();
        for measured in &self.measured {
            let same = |case: &&mut Vec<&Measured>| {
                case[0].scenario == measured.scenario && case[0].case == measured.case && case[0].unit == measured.unit
            };
            match cases.iter_mut().find(same) {
                Some(case) => case.push(measured),
                None => cases.push(vec![measured]),
            }
        }
        cases
    }
}

impl Measured {
    /// How many in a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.count as f64 / self.seconds
    }

    /// What a process used; the first of those whose name begins so.
    #[must_use]
    pub fn usage(&self, process: &str) -> Option<&Usage> {
        self.processes.iter().find(|usage| usage.process.starts_with(process))
    }

    /// Processor time of all processes whose name begins so, in milliseconds for 1,000.
    #[must_use]
    pub fn cpu(&self, process: &str) -> f64 {
        let those = self.processes.iter().filter(|usage| usage.process.starts_with(process));
        those.map(|usage| usage.cpu_per_thousand_ms).sum()
    }

    /// With a ratio more; none if too little was measured for one.
    #[must_use]
    pub fn ratio(mut self, what: &str, value: f64, goal: Option<Goal>) -> Self {
        if value.is_finite() {
            self.ratios.push(Ratio { what: what.to_owned(), value, goal });
        }
        self
    }

    /// With a fact more.
    #[must_use]
    pub fn fact(mut self, what: &str, value: f64, unit: &str, goal: Option<Goal>) -> Self {
        self.facts.push(Fact { what: what.to_owned(), value, unit: unit.to_owned(), goal });
        self
    }

    /// At this place of what grows.
    #[must_use]
    pub fn at(mut self, what: &str, value: f64) -> Self {
        self.axis = Some(Axis { what: what.to_owned(), value });
        self
    }
}

impl Goal {
    /// Whether a figure is as it should be.
    #[must_use]
    pub fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }

    /// In signs.
    #[must_use]
    pub fn text(self) -> String {
        match self {
            Self::AtMost(most) => format!("≤ {most}"),
            Self::AtLeast(least) => format!("≥ {least}"),
        }
    }
}

impl Spread {
    /// Over the runs of one case.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
        Some(Self { least, median, most, runs: values.len() })
    }

    /// The median, with the range if there is one.
    #[must_use]
    pub fn text(self, digits: usize) -> String {
        let number = |value: f64| grouped(value, digits);
        if self.runs == 1 {
            return number(self.median);
        }
        format!("{} ({} – {})", number(self.median), number(self.least), number(self.most))
    }
}

/// A number with its thousands apart.
fn grouped(value: f64, digits: usize) -> String {
    let text = format!("{:.digits$}", value.abs());
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut out = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    format!("{}{out}{rest}", if value < 0.0 { "-" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_tells_median_and_range() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([12_345.6]).unwrap().text(0), "12,346");
        assert_eq!(Spread::of([3.0, 1.0, 2.0]).unwrap().text(1), "2.0 (1.0 – 3.0)");
        assert_eq!(Spread::of([1.0, 2.0, 3.0, -1_000.0]).unwrap().text(1), "1.5 (-1,000.0 – 3.0)");
    }

    #[test]
    fn runs_of_one_case_are_put_together() {
        let case = |scenario: &str, case: &str| Measured {
            scenario: scenario.to_owned(),
            case: case.to_owned(),
            ..Measured::default()
        };
        let report = Report {
            machine: Machine::this(std::path::Path::new(".")),
            began_seconds: 0,
            quick: true,
            measured: vec![case("a", "x"), case("a", "y"), case("a", "x")],
        };
        assert_eq!(report.cases().iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
    }
}
