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
    let state_of = |one: &(Server, &Answer, &Answer)| match Trouble::of(one) {
        None => StepState::Passed,
        Some(Trouble::NoTcp | Trouble::NoUdp) => StepState::Warning,
        Some(Trouble::NoWay) => StepState::Unknown,
        Some(Trouble::Silent) => StepState::Failed,
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
    let parts: Vec<String> = Trouble::ALL
        .into_iter()
        .filter_map(|trouble| {
            let has_it = seen.iter().filter(|one| Trouble::of(one) == Some(trouble));
            let servers: Vec<String> = has_it.map(|(server, ..)| server.to_string()).collect();
            (!servers.is_empty()).then(|| trouble.told(&servers))
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

/// What is wrong with a server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    NoWay,
    Silent,
    NoTcp,
    NoUdp,
}

impl Trouble {
    const ALL: [Self; 4] = [Self::NoWay, Self::Silent, Self::NoTcp, Self::NoUdp];

    fn of((_, udp, tcp): &(Server, &Answer, &Answer)) -> Option<Self> {
        match (answers(udp), answers(tcp)) {
            (true, true) => None,
            (true, false) => Some(Self::NoTcp),
            // Clients live elsewhere.
            (false, _) if udp.lacks_path() => Some(Self::NoWay),
            (false, true) => Some(Self::NoUdp),
            (false, false) => Some(Self::Silent),
        }
    }

    fn told(self, servers: &[String]) -> String {
        let listed = listed(servers, MOST);
        let (one, many) = match self {
            Self::NoWay => {
                let says = "which says nothing of what clients there can reach";
                return format!("this machine has no way to {listed}, {says}");
            }
            Self::Silent => ("does not answer", "do not answer"),
            Self::NoTcp => (
                "answers over UDP only, so that long answers are lost",
                "answer over UDP only, so that long answers are lost",
            ),
            Self::NoUdp => (
                "answers over TCP only, and clients ask over UDP first",
                "answer over TCP only, and clients ask over UDP first",
            ),
        };
        format!("{listed} {}", if servers.len() == 1 { one } else { many })
    }
}
