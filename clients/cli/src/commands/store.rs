//! `sluice store`: copies of the control plane's store.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use sluice_control_plane::{Contents, CopyError, backup, key_of, restore, verify};
use sluice_host::sealing::SecretsKey;

use crate::{
    exit::{Exit, Failure},
    output::{count, say},
};

/// What to do with the store.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Copy the store of a control plane, which may run meanwhile, and verify the copy
    #[command(after_help = "\
Example:
  sluice store backup --data-dir /var/lib/sluice/control-plane --to sluice-2026-11-24.sqlite

Secrets stay sealed in the copy, and the key is not in it: keep secrets.key, or the key that you gave, elsewhere.")]
    Backup(BackupArgs),
    /// Read all of a copy and check that it fits together
    #[command(after_help = "\
Example:
  sluice store verify sluice-2026-11-24.sqlite --secrets-key-file secrets.key   # opens every secret, too")]
    Verify(VerifyArgs),
    /// Put a copy into an empty data folder
    #[command(after_help = "\
Example:
  sluice store restore sluice-2026-11-24.sqlite --data-dir /var/lib/sluice/control-plane

The copy begins a new life of the store: nodes that have seen later changes take what it holds. Start the control plane with the key
that it was sealed with.")]
    Restore(RestoreArgs),
}

/// What to copy where.
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// Data folder of the control plane
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The new file
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

/// What to verify.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The copy
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// File with the key that its secrets are sealed with; else the variable SLUICE_SECRETS_KEY, else they are not opened
    #[arg(long, value_name = "FILE")]
    secrets_key_file: Option<PathBuf>,
}

/// What to restore where.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The copy
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The data folder, empty or new; a key in it stays
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// File with the key that the copy's secrets are sealed with; else the variable SLUICE_SECRETS_KEY, else secrets.key in the
    /// data folder, else they are not opened
    #[arg(long, value_name = "FILE")]
    secrets_key_file: Option<PathBuf>,
}

pub(crate) async fn run(command: StoreCommand) -> Result<(), Failure> {
    match command {
        StoreCommand::Backup(args) => {
            let contents = backup(&args.data_dir, &args.to).await.map_err(|error| failure(&error))?;
            say(format!("{} holds {}", args.to.display(), shown(&contents)))
        }
        StoreCommand::Verify(args) => {
            let key = given(args.secrets_key_file)?;
            let contents = verify(&args.file, key.as_ref()).await.map_err(|error| failure(&error))?;
            let secrets = if key.is_some() { "every secret opens" } else { "secrets were not opened" };
            say(format!("{} fits together: {}; {secrets}", args.file.display(), shown(&contents)))
        }
        StoreCommand::Restore(args) => {
            let key = key_of(&args.data_dir, given(args.secrets_key_file)?);
            let key = key.map_err(|error| failure(&CopyError::Key(error)))?;
            let contents = restore(&args.file, &args.data_dir, key.as_ref()).await.map_err(|error| failure(&error))?;
            say(format!("{} holds {}; start the control plane", args.data_dir.display(), shown(&contents)))
        }
    }
}

fn given(file: Option<PathBuf>) -> Result<Option<SecretsKey>, Failure> {
    SecretsKey::given(file.as_deref()).map_err(|error| failure(&CopyError::Key(error)))
}

fn shown(contents: &Contents) -> String {
    let number = |number: i64| u64::try_from(number).unwrap_or(0);
    format!(
        "{} at revision {} and {}",
        count(number(contents.sync_count), "sync"),
        contents.revision,
        count(number(contents.attempt_count), "attempt")
    )
}

fn failure(error: &CopyError) -> Failure {
    let exit = match error {
        CopyError::DataFolder(_) | CopyError::Key(_) => Exit::CannotStart,
        CopyError::Exists { .. } => Exit::Conflict,
        CopyError::Damaged { .. } | CopyError::Store(_) => Exit::Invalid,
        CopyError::File { .. } => Exit::Failed,
    };
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    Failure::new(exit, format!("{error}{cause}"))
}
