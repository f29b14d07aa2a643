//! The signal to stop, which every part of the node watches.

use tokio::sync::watch;

/// Waits until the node stops.
pub(crate) async fn asked(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone: so is the node.
    let _ = stop.wait_for(|stop| *stop).await;
}
