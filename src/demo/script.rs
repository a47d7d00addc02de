//! What the demo tells its user, and what happens while they watch.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::sleep;

use super::estate::{DOMAINS, KMS_E1, KMS_W1, PROFILES, WEST};
use super::lab::{Act, Lab, LabError};

/// Lets one thing happen every so often, for ever, and says so. Ends where it cannot go on; the lab
/// stays as it is then.
pub async fn script(lab: &Lab, mut say: impl FnMut(&str), every: Duration) -> LabError {
    loop {
        for act in Act::ROUND {
            sleep(every).await;
            match lab.play(act).await {
                Ok(()) => say(&act.told()),
                Err(error) => return error,
            }
        }
    }
}

impl Act {
    /// What has happened, and what comes of it.
    fn told(self) -> String {
        match self {
            Self::LeaveDns => format!("{KMS_W1} has left DNS: record-vanished in {WEST}"),
            Self::ReturnToDns => format!("{KMS_W1} is back in DNS"),
            Self::Die => format!("{KMS_E1} has died: host-down, which hits east and west"),
            Self::Revive => format!("{KMS_E1} is back"),
        }
    }
}

/// Where to look, what each domain shows, and what will happen; `listen` is where the daemon really
/// listens.
pub fn intro(lab: &Lab, listen: SocketAddr, every: Duration) -> String {
    let [server, _] = lab.servers();
    let mut text = format!(
        "An estate on loopback, and the daemon that watches it, once a second. Hosts answer RPC binds; none is KMS.\n\n\
         \x20 the pages     http://{listen}/\n\
         \x20 a DNS server  {server}\n\n\
         Each domain shows one thing:\n"
    );
    for domain in &DOMAINS {
        let _ = writeln!(text, "  {:24} {}", domain.name, domain.shows);
    }
    text.push_str("\nEach profile of clients, too:\n");
    for profile in &PROFILES {
        let _ = writeln!(text, "  {:24} {}", profile.name, profile.shows);
    }
    let mut happens = String::new();
    for (turn, act) in (1..).zip(Act::ROUND) {
        let _ = writeln!(happens, "  after {} s  {}", (every * turn).as_secs(), act.told());
    }
    let _ = write!(
        text,
        "\nWhat happens, round and round:\n{happens}\n\
         Try:\n\
         \x20 curl -s http://{listen}/metrics | grep west\n\
         \x20 curl -s http://{listen}/api/v1/findings\n\
         \x20 kmswatch check --server {server} missing.contoso.test dead.contoso.test\n\
         \x20 kmswatch explain record-unexpected\n\
         Ctrl-C ends it.\n\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::demo::{EVERY, LISTEN};
    use crate::model::Check;

    #[tokio::test(start_paused = true)]
    async fn something_happens_every_so_often_round_and_round() {
        let lab = Lab::start().await.expect("a lab");
        let (began, mut told) = (Instant::now(), Vec::new());
        let say = |text: &str| told.push((began.elapsed().as_secs(), text.to_owned()));
        let played = tokio::time::timeout(EVERY * 8 + EVERY / 2, script(&lab, say, EVERY));
        assert!(played.await.is_err(), "it ended");
        let acts = Act::ROUND.into_iter().cycle();
        let expected: Vec<(u64, String)> =
            (1..=8).map(|turn| turn * EVERY.as_secs()).zip(acts.map(Act::told)).collect();
        assert_eq!(told, expected);
    }

    #[tokio::test]
    async fn the_intro_tells_where_to_look_and_names_checks_that_there_are() {
        let lab = Lab::start().await.expect("a lab");
        let text = intro(&lab, LISTEN, EVERY);
        let server = lab.servers()[0];
        for expected in
            ["http://127.0.0.1:9688/metrics", &format!("--server {server} "), "after 40 s  kms-e1"]
        {
            assert!(text.contains(expected), "{expected} is not in:\n{text}");
        }
        let shown = DOMAINS.iter().map(|domain| domain.shows);
        for shows in shown.chain(PROFILES.iter().map(|profile| profile.shows)) {
            let (ids, _) = shows.split_once(": ").expect("ids, a colon, and why");
            let known = |id: &str| id == "well" || Check::parse(id).is_some_and(Check::is_built);
            assert!(ids.split(", ").all(known), "{ids}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 110), "{text}");
    }
}
