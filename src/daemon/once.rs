//! One pass: observe until no key is unmet, audit, end. The same code as the daemon's first pass.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::audit::{Auditor, Memory};
use crate::clock::Clock;
use crate::model::{Plan, Snapshot};
use crate::observe::observer::Observer;
use crate::observe::schedule::Progress;
use crate::observe::state::Changes;
use crate::stats::Stats;

use super::lines::Lines;

/// Everything that one pass over a plan saw.
#[derive(Debug)]
pub struct Once {
    observer: Observer,
    clock: Clock,
    started: Timestamp,
}

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(100);

impl Once {
    /// Observes everything once. It takes as long as `rate`, timeouts and attempts make it; every
    /// lookup and probe ends by itself.
    pub async fn observe(plan: &Plan, mut tell: impl FnMut(Progress)) -> Self {
        let (clock, stats) = (Clock::start(), Stats::new());
        let started = clock.now();
        let plan = endless(plan);
        let (lines, inbox) = Lines::new(&plan, clock, &stats);
        let mut observer = Observer::new(plan, inbox, clock, stats);
        while !observer.is_complete() {
            tell(observer.progress());
            // The one audit at the end looks at everything.
            observer.take_changes();
            let until = Instant::now() + TELL_EVERY;
            while !observer.is_complete() && Instant::now() < until {
                observer.step(&lines, until).await;
            }
        }
        Self { observer, clock, started }
    }

    /// What `plan` makes of what was seen: the same one, or one with other expectations.
    pub fn audit(&self, plan: &Plan) -> Snapshot {
        let mut auditor = Auditor::new(endless(plan), self.started, Memory::Once);
        auditor.audit(self.observer.state(), &Changes::default(), self.clock.now())
    }
}

/// However long one pass takes: no key's next slot comes before its end, and nothing grows old.
pub(super) fn endless(plan: &Plan) -> Arc<Plan> {
    Arc::new(Plan { interval: Duration::from_hours(365 * 24), ..plan.clone() })
}
