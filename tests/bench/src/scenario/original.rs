//! Events of 700 bytes go out as they came.

use sluice_tests::events::sync_to;

use super::{
    Context,
    deliver::{self, Case},
};

pub(super) async fn run(context: &mut Context) {
    deliver::measure(context, Case::plain("original"), |stage| vec![sync_to(&stage.sink.url(0, "/ok"))]).await;
}
