//! The time of the HTTP library: how long connections are kept, and whether HTTP/2 peers are still there.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};
use sluice_host::clock::Clock;

/// The node's clock as the library wants it: instants are those of the clock, counted from when this was made.
#[derive(Clone, Debug)]
pub(super) struct ClockTimer {
    clock: Clock,
    made: Instant,
    made_elapsed: Duration,
}

impl ClockTimer {
    pub(super) fn new(clock: Clock) -> Self {
        Self { made: Instant::now(), made_elapsed: clock.elapsed(), clock }
    }
}

impl Timer for ClockTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        let clock = self.clock.clone();
        Box::pin(ClockSleep(Some(Box::pin(async move { clock.sleep(duration, "connection upkeep").await }))))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(deadline.saturating_duration_since(self.now()))
    }

    fn now(&self) -> Instant {
        self.made + self.clock.elapsed().saturating_sub(self.made_elapsed)
    }
}

/// None when it is over: the library asks again then.
struct ClockSleep(Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>);

impl Future for ClockSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(sleep) = &mut self.0 {
            std::task::ready!(sleep.as_mut().poll(cx));
            self.0 = None;
        }
        Poll::Ready(())
    }
}

impl Sleep for ClockSleep {}
