//! What `[[exception]]` accepts counts no more, as in every other report.

use crate::model::preflight::{Step, StepId, StepState};
use crate::model::{Check, Finding, Severity, Snapshot, Status};

use super::Scene;

/// The step as it counts. What is wrong stays so in the verdict, which says what clients will see.
pub(super) fn applied(scene: &Scene, mut step: Step) -> Step {
    let Some(left) = left(scene, &step).filter(|left| *left < step.state.status()) else {
        return step;
    };
    step.accepted = Some(left);
    step.message.push_str(" (accepted)");
    if step.id != StepId::Verdict {
        step.state = match left {
            Status::Warning => StepState::Warning,
            _ => StepState::Info,
        };
    }
    step
}

/// The worst that is left of the findings behind a step; `None` where no exception touches what made it
/// what it is.
fn left(scene: &Scene, step: &Step) -> Option<Status> {
    let bare = behind(scene, step, scene.bare?);
    let kept = behind(scene, step, scene.snapshot);
    let is_accepted = |finding: &&Finding| {
        let now = kept.iter().find(|kept| kept.id == finding.id).map(|kept| kept.severity);
        now.is_none_or(|now| now < finding.severity)
    };
    let worst = bare.iter().copied().filter(is_accepted).map(status).max()?;
    let left = kept.into_iter().map(status).max().unwrap_or(Status::Ok);
    (worst >= step.state.status()).then_some(left)
}

fn status(finding: &Finding) -> Status {
    finding.severity.max(Severity::Info).into()
}

/// The findings that a step tells; where clients search and fail, also that they do.
fn behind<'a>(scene: &Scene, step: &Step, snapshot: &'a Snapshot) -> Vec<&'a Finding> {
    let Some(view) = scene.view() else { return Vec::new() };
    let is_search =
        matches!(step.id, StepId::Suffixes | StepId::Hosts | StepId::Connect | StepId::Verdict);
    let findings = snapshot.findings.iter().map(|finding| &**finding);
    let is_behind =
        |check: &Check| step.tells.contains(check) || is_search && WHOLE.contains(check);
    let behind =
        findings.filter(|finding| is_behind(&finding.check) && view.comes_to(&finding.subject));
    behind.collect()
}

/// That a search leads nowhere: whoever accepts it accepts every step of it.
const WHOLE: [Check; 4] =
    [Check::ProfileNoSuffix, Check::ProfileNoKms, Check::ProfileShadowed, Check::ProfilePinned];
