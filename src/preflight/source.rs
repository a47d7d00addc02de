//! The source address is on this machine, and within the subnet.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::Path;
use crate::model::preflight::{Seat, Step, StepId, StepState};

use super::Scene;

pub(super) fn step(scene: &Scene) -> Step {
    let (state, message) = judge(scene.profile.subnet, scene.profile.path(), scene.seat);
    Step::new(StepId::Source, state, message)
}

fn judge(subnet: Option<IpNet>, path: &Path, seat: &Seat) -> (StepState, String) {
    if let Some(obstacle) = &seat.obstacle {
        return (StepState::Failed, obstacle.to_string());
    }
    let Some(source) = seat.source else {
        return (StepState::Warning, "this machine has no route to the DNS servers".to_owned());
    };
    let on = seat.interface.as_ref().map_or(String::new(), |interface| format!(" ({interface})"));
    let is = match path.source {
        Some(_) => format!("{source}{on} is on this machine"),
        None => format!("this machine asks from {source}{on}"),
    };
    // The kernel then takes an address of another one, to which answers may not come back.
    let bare = path.interface.as_ref().filter(|_| path.source.is_none());
    if let Some(bare) =
        bare.filter(|name| seat.interface.as_deref().is_some_and(|on| on != &***name))
    {
        return (
            StepState::Warning,
            format!("{is}, as the interface {bare} has no address of its own"),
        );
    }
    match subnet {
        None => (StepState::Passed, is),
        Some(subnet) if subnet.contains(&source) => {
            (StepState::Passed, format!("{is}, within {subnet}"))
        }
        Some(subnet) => (StepState::Warning, format!("{is}, {}", outside(subnet, seat.within))),
    }
}

/// What it means, and what can be done about it.
fn outside(subnet: IpNet, within: Option<IpAddr>) -> String {
    let means = format!(
        "outside {subnet}: views of DNS servers and firewall rules for that subnet are not seen from here"
    );
    match within {
        Some(within) => format!("{means}; {within} is on this machine and would be within"),
        None => format!("{means}, as this machine has no address there"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(source: &str, within: Option<&str>) -> Seat {
        Seat {
            obstacle: None,
            source: source.parse().ok(),
            interface: Some("eth0".to_owned()),
            within: within.and_then(|within| within.parse().ok()),
        }
    }

    #[test]
    fn where_questions_leave_from_is_compared_with_the_subnet() {
        let subnet: Option<IpNet> = "10.40.7.0/24".parse().ok();
        let inside = seat("10.40.7.250", None);
        let given = &Path { source: inside.source, ..Path::default() };
        let none = &Path::default();
        assert_eq!(
            judge(subnet, given, &inside),
            (
                StepState::Passed,
                "10.40.7.250 (eth0) is on this machine, within 10.40.7.0/24".to_owned()
            )
        );
        let (state, said) = judge(subnet, none, &seat("10.0.0.9", None));
        assert_eq!(state, StepState::Warning);
        assert!(said.starts_with("this machine asks from 10.0.0.9 (eth0), outside 10.40.7.0/24: "));
        assert!(said.ends_with("as this machine has no address there"), "{said}");
        let (_, said) = judge(subnet, none, &seat("10.0.0.9", Some("10.40.7.3")));
        assert!(said.ends_with("; 10.40.7.3 is on this machine and would be within"), "{said}");
        assert_eq!(judge(None, none, &inside).0, StepState::Passed);
        let by = |name: &str| Path { interface: Some(name.into()), ..Path::default() };
        assert_eq!(judge(None, &by("eth0"), &inside).0, StepState::Passed);
        let (state, said) = judge(None, &by("vv0"), &inside);
        assert_eq!(state, StepState::Warning);
        assert!(said.ends_with(", as the interface vv0 has no address of its own"), "{said}");
        let gone = Seat { obstacle: Some("no".into()), ..inside };
        assert_eq!(judge(subnet, given, &gone), (StepState::Failed, "no".to_owned()));
    }
}
