//! `sluice secrets`: the keys that secrets are sealed with on disk.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use sluice_control_plane::{StartError, StoreError, rotate_secrets_key};
use sluice_host::sealing::SecretsKey;

use crate::{
    exit::{Exit, Failure},
    output::say,
};

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum SecretsCommand {
    /// Seal the secrets of a stopped control plane anew, with another key
    #[command(after_help = "\
Example:
  openssl rand -hex 32 > new.key
  sluice secrets rotate-key --data-dir data/control-plane --secrets-key-file old.key --new-secrets-key-file new.key

Every secret is sealed with a new data key, and that with the new key, so that neither old key opens anything any longer. The control
plane must not run; start it with the new key afterwards. Old copies of the data folder still open with the old key.
Exit codes: 4 the old key is not the one, 6 the folder is in use, not a control plane's, or a key file cannot be used.")]
    RotateKey(RotateKeyArgs),
}

/// Which keys.
#[derive(Debug, Args)]
pub(crate) struct RotateKeyArgs {
    /// Data folder of the control plane
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// File with the key that it was started with; else the variable SLUICE_SECRETS_KEY, else the key in the folder itself, which is
    /// deleted then
    #[arg(long, value_name = "FILE")]
    secrets_key_file: Option<PathBuf>,
    /// File with the new key, 64 hexadecimal digits
    #[arg(long, value_name = "FILE")]
    new_secrets_key_file: PathBuf,
}

pub(crate) async fn run(command: SecretsCommand) -> Result<(), Failure> {
    let SecretsCommand::RotateKey(args) = command;
    let cannot = |error: &dyn std::error::Error| Failure::new(Exit::CannotStart, with_causes(error));
    let old = SecretsKey::given(args.secrets_key_file.as_deref()).map_err(|error| cannot(&error))?;
    let new = SecretsKey::read(&args.new_secrets_key_file).map_err(|error| cannot(&error))?;
    if !args.data_dir.is_dir() {
        return Err(Failure::new(Exit::CannotStart, format!("there is no folder {}", args.data_dir.display())));
    }
    rotate_secrets_key(&args.data_dir, old, &new).await.map_err(|error| match &error {
        StartError::Store(StoreError::OtherKey) => {
            Failure::new(Exit::Conflict, "the old key is not the one that the secrets are sealed with")
        }
        StartError::DataFolder(_) | StartError::SecretsKey(_) => cannot(&error),
        _ => Failure::failed(with_causes(&error)),
    })?;
    say(format!(
        "sealed with the new key; start the control plane with --secrets-key-file {}",
        args.new_secrets_key_file.display()
    ))
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
