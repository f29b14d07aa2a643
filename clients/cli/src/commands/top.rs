//! `sluice top`: syncs and nodes, live.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use clap::Args;

use crate::{
    cli::Format,
    commands::metrics::Window,
    context::Context,
    duration,
    exit::Failure,
    output::print,
    top::{
        app::{App, View},
        board::Board,
        once,
        read::Reader,
        screen,
    },
};

/// How much of it is shown, and how often.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sluice top
  sluice top --nodes --sort lag
  sluice top --filter failing --interval 5s
  sluice top --once --sort pending            # one look, as plain text
  sluice top --once -o json | jq '.syncs[] | select(.oldest_wait_seconds > 600)'

Keys: Tab syncs or nodes; arrows, PgUp, PgDn to select; Enter the details of a sync; / filter; < > order by another
column, r the other way round; p pause; q quit.

DELIVERED/S and ACCEPTED/S are differences of the nodes' ledgers between two looks. RATE, FAILED (expired and discarded)
and the latencies are those of the window. Of syncs that are not in view these figures are read in turn.")]
pub(crate) struct TopArgs {
    /// Time between two looks
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = interval)]
    interval: Duration,
    /// Look once and print it; so it is, too, where standard output is no terminal, and with -o json or yaml
    #[arg(long)]
    once: bool,
    /// Begin with the nodes
    #[arg(long)]
    nodes: bool,
    /// Column to order by, the largest first, such as `p99`, `pending` or `lag`
    #[arg(long, value_name = "COLUMN")]
    sort: Option<String>,
    /// Show what has this text in its name, state or reason
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
    /// Window of the figures: 10m, 1h, 4h, 1d, 1w or 2w
    #[arg(long, value_enum, default_value = "10m", hide_possible_values = true)]
    window: Window,
    /// Rows that are printed of each table when it is looked at once
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    rows: usize,
}

pub(crate) async fn run(context: &Context, args: TopArgs) -> Result<(), Failure> {
    let of = format!("{}, {}", context.control_plane, context.project()?);
    let mut app = App::new(of, args.interval, args.window.to_string());
    app.filter.clone_from(&args.filter);
    sort(&mut app, &args)?;
    let mut reader = Reader::new(context, args.window.on_the_wire()).await?;
    let mut board = Board::default();
    // Before the terminal is taken, so that what fails is told as elsewhere.
    board.take(reader.read(&app.want(&board, 0)).await?);
    if !args.once && context.format == Format::Table && io::stdout().is_terminal() {
        return screen::run(reader, app, board).await;
    }
    // Rates need a second look.
    tokio::time::sleep(args.interval).await;
    app.view = View::Syncs;
    board.take(reader.read(&app.want(&board, args.rows)).await?);
    let frame = once::frame(&mut app, &board, args.rows);
    print(context.format, &frame, || Ok(once::text(&frame, &board)))
}

/// A column of either table; the view is the one that was asked for.
fn sort(app: &mut App, args: &TopArgs) -> Result<(), Failure> {
    let mut found = args.sort.is_none();
    let mut titles = Vec::new();
    for view in [View::Syncs, View::Nodes] {
        app.view = view;
        found |= args.sort.as_ref().is_some_and(|title| app.sort_by(title));
        titles.extend(app.titles());
    }
    app.view = if args.nodes { View::Nodes } else { View::Syncs };
    if found {
        return Ok(());
    }
    titles.dedup();
    Err(Failure::usage(format!("--sort: there is no such column; there are {}", titles.join(", ").to_lowercase())))
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration::parse(text)?;
    if interval < Duration::from_millis(100) || interval > Duration::from_secs(3_600) {
        return Err("from 100ms to 1h are taken".to_owned());
    }
    Ok(interval)
}
