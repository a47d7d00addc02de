//! What somebody says of findings, on its way from the web server to the auditor.

use jiff::Timestamp;

use crate::audit::{AcknowledgeError, Auditor};
use crate::model::Snapshot;
use crate::model::journal::Acknowledgement;
use crate::web::{AckRefusal, AckRequest, Say};

/// Tells the auditor; until when the finding is known then.
pub(super) fn say(
    auditor: &mut Auditor,
    latest: Option<&Snapshot>,
    request: &AckRequest,
    now: Timestamp,
) -> Result<Option<Timestamp>, AckRefusal> {
    let latest = latest.ok_or(AckRefusal::TooSoon)?;
    let id = request.id.clone();
    match &request.say {
        Say::Known { until, reason } => {
            let (until, reason) = (until.until(now), reason.clone());
            let said = Acknowledgement { id, at: now, until, reason };
            auditor.acknowledge(said, latest).map(|()| Some(until))
        }
        Say::NotKnown => auditor.unacknowledge(&id, latest, now).map(|()| None),
    }
    .map_err(|error| refusal(&error))
}

fn refusal(error: &AcknowledgeError) -> AckRefusal {
    let words = error.to_string();
    match error {
        AcknowledgeError::NotFound(_) | AcknowledgeError::NotAcknowledged(_) => {
            AckRefusal::NotFound(words)
        }
        AcknowledgeError::Past(_) | AcknowledgeError::TooFar(_) => AckRefusal::Wrong(words),
    }
}
