//! Each DNS server answers from there, over UDP and over TCP.

use crate::model::preflight::{Cell, Row, Step, StepId, StepState};
use crate::model::{Answer, Check, LookupOutcome, Server};

use super::words::{MOST, counted, listed};
use super::{Scene, summed};

pub(super) fn step(scene: &Scene) -> Option<Step> {
    let mut seen = Vec::with_capacity(scene.reach.len());
    for (upstream, reach) in scene.reach {
        let (udp, tcp) = (reach.udp.as_deref()?, reach.tcp.as_deref()?);
        seen.push((upstream.server, udp, tcp));
    }
    let state_of = |(_, udp, tcp): &(Server, &Answer, &Answer)| match (answers(udp), answers(tcp)) {
        (true, true) => StepState::Passed,
        // What does not fit into a datagram is lost.
        (true, false) | (false, true) => StepState::Warning,
        // Clients live elsewhere.
        (false, false) if udp.lacks_path() => StepState::Unknown,
        (false, false) => StepState::Failed,
    };
    // Clients ask over UDP first: without it a server is of no use to them.
    let is_served = seen.iter().any(|(_, udp, _)| answers(udp));
    let state = match summed(seen.iter().map(state_of)) {
        StepState::Warning if !is_served => StepState::Failed,
        state => state,
    };
    let rows = seen.iter().map(|one| Row {
        state: state_of(one),
        cells: vec![Cell::Text(one.0.to_string()), shown(one.1), shown(one.2)],
    });
    Some(Step {
        rows: rows.collect(),
        tells: &[Check::ServerFailure],
        ..Step::new(StepId::Servers, state, message(&seen))
    })
}

/// Whatever it says, it is there. A truncated answer came, even if what followed it did not.
fn answers(answer: &Answer) -> bool {
    use LookupOutcome::{Malformed, Timeout, Unreachable};
    answer.flags.tc || !matches!(answer.outcome, Timeout | Unreachable | Malformed)
}

fn shown(answer: &Answer) -> Cell {
    let word = match answers(answer) {
        true => "answers".to_owned(),
        false => answer.outcome.to_string(),
    };
    Cell::Timed(word, answer.rtt)
}

fn message(seen: &[(Server, &Answer, &Answer)]) -> String {
    let silent = |which: &dyn Fn(bool, bool) -> bool| -> Vec<String> {
        let fits = |(_, udp, tcp): &&(Server, &Answer, &Answer)| which(answers(udp), answers(tcp));
        seen.iter().filter(fits).map(|(server, ..)| server.to_string()).collect()
    };
    let parts: Vec<String> = [
        (silent(&|udp, tcp| !udp && !tcp), "not at all"),
        (silent(&|udp, tcp| udp && !tcp), "over UDP only, so that long answers are lost"),
        (silent(&|udp, tcp| !udp && tcp), "over TCP only, and clients ask over UDP first"),
    ]
    .into_iter()
    .filter(|(servers, _)| !servers.is_empty())
    .map(|(servers, how)| {
        let verb = if servers.len() == 1 { "answers" } else { "answer" };
        format!("{} {verb} {how}", listed(&servers, MOST))
    })
    .collect();
    if !parts.is_empty() {
        return parts.join("; ");
    }
    match seen {
        [(server, ..)] => format!("{server} answers over UDP and TCP"),
        seen => format!("all {} answer over UDP and TCP", counted(seen.len(), "server")),
    }
}
