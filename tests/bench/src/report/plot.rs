//! A report as plots, in SVG.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use plotters::{
    coord::{Shift, ranged1d::ValueFormatter},
    prelude::*,
};

use super::figures::{Measured, Report, Spread};

const SIZE: (u32, u32) = (900, 500);
const COLORS: [RGBColor; 8] = [
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0xd6, 0x27, 0x28),
    RGBColor(0x2c, 0xa0, 0x2c),
    RGBColor(0xff, 0x7f, 0x0e),
    RGBColor(0x94, 0x67, 0xbd),
    RGBColor(0x8c, 0x56, 0x4b),
    RGBColor(0xe3, 0x77, 0xc2),
    RGBColor(0x17, 0xbe, 0xcf),
];

/// A line of a plot.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

/// A plot, not yet drawn.
struct Plot {
    file: String,
    title: String,
    x: String,
    y: String,
    /// Whether the axes go up by powers of ten.
    log_x: bool,
    log_y: bool,
    lines: Vec<Line>,
}

/// Draws what there is to see into a folder; gives the files.
///
/// # Errors
/// What keeps a file from being written.
pub fn draw(report: &Report, folder: &Path) -> Result<Vec<PathBuf>, Box<dyn std::error::Error>> {
    fs::create_dir_all(folder)?;
    let mut plots = growths(report);
    plots.extend(latencies(report));
    plots.extend(series(report));
    let mut files = Vec::new();
    for plot in plots {
        let file = folder.join(&plot.file);
        plot.draw(&file)?;
        files.push(file);
    }
    Ok(files)
}

/// What a delivery costs while something grows.
fn growths(report: &Report) -> Vec<Plot> {
    let mut axes: Vec<&str> = Vec::new();
    let placed: Vec<&Measured> = report.measured.iter().filter(|measured| measured.axis.is_some()).collect();
    for axis in placed.iter().filter_map(|measured| measured.axis.as_ref()) {
        if !axes.contains(&axis.what.as_str()) {
            axes.push(&axis.what);
        }
    }
    let plot = |what: &str| {
        let line = |process: &str| {
            let mut points: Vec<(f64, f64)> = Vec::new();
            for case in report.cases() {
                let Some(axis) = case[0].axis.as_ref().filter(|axis| axis.what == what) else { continue };
                let cpu = Spread::of(case.iter().map(|measured| measured.cpu(process)));
                points.extend(cpu.map(|cpu| (axis.value, cpu.median)));
            }
            Line { name: process.to_owned(), points }
        };
        Plot {
            file: format!("growth-{what}.svg"),
            title: format!("Processor time of a delivery by the number of {what}"),
            x: what.to_owned(),
            y: "ms for 1,000 deliveries".to_owned(),
            log_x: what != "nodes",
            log_y: false,
            lines: ["node", "control plane"].map(line).into(),
        }
    };
    axes.into_iter().map(plot).collect()
}

/// Latency by how many are quicker.
fn latencies(report: &Report) -> Option<Plot> {
    let line = |case: &Vec<&Measured>| {
        let latencies: Vec<_> = case.iter().filter_map(|measured| measured.latency).collect();
        let at = |which: fn(&crate::sink::Latency) -> f64| Spread::of(latencies.iter().map(which));
        let marks = [at(|l| l.p50)?, at(|l| l.p90)?, at(|l| l.p99)?, at(|l| l.p999)?];
        let quicker = [2.0, 10.0, 100.0, 1_000.0];
        let points = quicker.into_iter().zip(marks.map(|mark| mark.median.max(0.01))).collect();
        Some(Line { name: format!("{}: {}", case[0].scenario, case[0].case), points })
    };
    let lines: Vec<Line> = report.cases().iter().filter(|case| case[0].unit == "deliveries").filter_map(line).collect();
    let plot = Plot {
        file: "latency.svg".to_owned(),
        title: "From the event's time to the first byte at the endpoint".to_owned(),
        x: "one of so many is slower (2: p50, 10: p90, 100: p99, 1,000: p99.9)".to_owned(),
        y: "ms".to_owned(),
        log_x: true,
        log_y: true,
        lines,
    };
    (!plot.lines.is_empty()).then_some(plot)
}

/// What was watched over time, each in a plot of its own.
fn series(report: &Report) -> Vec<Plot> {
    let mut plots = Vec::new();
    for measured in &report.measured {
        for (number, series) in measured.series.iter().enumerate() {
            let points = series.points.iter().map(|point| (point.seconds, point.value)).collect();
            plots.push(Plot {
                file: format!("{}-{}.svg", measured.scenario, number + 1),
                title: format!("{}: {}", measured.scenario, series.what),
                x: "seconds".to_owned(),
                y: series.what.clone(),
                log_x: false,
                log_y: false,
                lines: vec![Line { name: series.what.clone(), points }],
            });
        }
    }
    plots
}

impl Plot {
    fn draw(&self, file: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let area = SVGBackend::new(file, SIZE).into_drawing_area();
        self.fill(&area).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(())
    }

    fn fill<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        area.fill(&WHITE)?;
        let (x, y) = (self.range(self.log_x, |point| point.0), self.range(self.log_y, |point| point.1));
        let mut builder = ChartBuilder::on(area);
        builder.caption(&self.title, ("sans-serif", 20)).margin(12).x_label_area_size(42).y_label_area_size(70);
        match (self.log_x, self.log_y) {
            (false, false) => self.lines(&mut builder.build_cartesian_2d(x, y)?)?,
            (true, false) => self.lines(&mut builder.build_cartesian_2d(x.log_scale(), y)?)?,
            (false, true) => self.lines(&mut builder.build_cartesian_2d(x, y.log_scale())?)?,
            (true, true) => self.lines(&mut builder.build_cartesian_2d(x.log_scale(), y.log_scale())?)?,
        }
        area.present()
    }

    fn lines<'a, B, X, Y>(
        &self,
        chart: &mut ChartContext<'a, B, Cartesian2d<X, Y>>,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>>
    where
        B: DrawingBackend + 'a,
        X: Ranged<ValueType = f64> + ValueFormatter<f64>,
        Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        chart.configure_mesh().x_desc(&self.x).y_desc(&self.y).light_line_style(WHITE).draw()?;
        for (number, line) in self.lines.iter().enumerate() {
            let color = COLORS[number % COLORS.len()];
            chart
                .draw_series(LineSeries::new(line.points.iter().copied(), color.stroke_width(2)).point_size(3))?
                .label(&line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()
    }

    /// From the least to the most of a coordinate, with room for what is drawn there.
    fn range(&self, log: bool, of: fn(&(f64, f64)) -> f64) -> Range<f64> {
        let values = || self.lines.iter().flat_map(|line| line.points.iter().map(of));
        let most = values().fold(f64::MIN_POSITIVE, f64::max);
        if log {
            let least = values().fold(most, f64::min);
            return least * 0.8..(most * 1.25).max(least * 2.0);
        }
        0.0..(most * 1.1).max(1.0)
    }
}
