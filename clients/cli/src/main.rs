//! `sluice`, the command line: manages syncs, sends events, follows deliveries, and runs a whole Sluice on one machine.

mod cli;
mod commands;
mod context;
mod demo;
mod diff;
mod duration;
mod exit;
mod fields;
mod lines;
mod local;
mod manifest;
mod output;
mod proto_json;
mod receiver;
mod rollout;
mod sending;
mod substitute;
mod suggest;
mod top;
mod unreachable;
mod violation;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    cli::{Cli, Command},
    context::Context,
    exit::Failure,
};

/// Much is made on one thread and given back on another: what is made for that costs less than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::failed(format!("the runtime did not start: {error}")).report(),
    };
    let done = runtime.block_on(run(cli));
    // A read of standard input that nobody waits for any more must not hold up the end.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let context = Context::new(cli.global);
    match cli.command {
        Command::Dev(args) => commands::dev::run(args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Sync(command) => commands::sync::run(&context, command).await,
        Command::Events(command) => commands::events::run(&context, command).await,
        Command::Attempts(command) => commands::attempts::run(&context, command).await,
        Command::DeadLetters(command) => commands::dead_letters::run(&context, command).await,
        Command::Metrics(args) => commands::metrics::run(&context, args).await,
        Command::Top(args) => commands::top::run(&context, args).await,
        Command::Nodes(command) => commands::nodes::run(&context, command).await,
        Command::Ledger(args) => commands::ledger::run(&context, args).await,
        Command::Alerts(command) => commands::alerts::run(&context, command).await,
        Command::Audit(command) => commands::audit::run(&context, command).await,
        Command::Keys(command) => commands::keys::run(&context, command).await,
        Command::Projects(command) => commands::projects::run(&context, command).await,
        Command::Secrets(command) => commands::secrets::run(command).await,
        Command::Store(command) => commands::store::run(command).await,
        Command::Spool(command) => commands::spool::run(&context, command).await,
    }
}
