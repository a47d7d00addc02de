//! What the demo tells its user, and what happens while they watch.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::sleep;

use super::lab::{DEAD, EAST, KMS_E1, KMS_W1, Lab, LabError, MISSING, ROGUE, WEST, WRONG};

/// Between the two acts: two intervals of the demo's config, so that each is seen alone.
pub(super) const BETWEEN_ACTS: Duration = Duration::from_secs(10);

/// Lets one host leave DNS after `act_after`, then another die, and says what happens and where to
/// see it. Ends after the second act; the lab stays as it is then.
///
/// # Errors
/// [`LabError`] when the second act fails.
pub async fn script(
    lab: &Lab,
    mut say: impl FnMut(&str),
    act_after: Duration,
) -> Result<(), LabError> {
    sleep(act_after).await;
    lab.leave_dns();
    say(&format!(
        "{KMS_W1} has left DNS: its record in {WEST} is gone from both servers.\n  \
         Within 5 s: record-missing (critical) for {WEST}, its kmswatch_srv_record_info ends, and the\n  \
         other near host takes all new clients: kmswatch_host_share 0.25 becomes 1.\n"
    ));
    sleep(BETWEEN_ACTS).await;
    lab.kill_host().await?;
    say(&format!(
        "{KMS_E1} has died: its records are still there, its port refuses connections.\n  \
         Within 5 s: host-down (warning) for {EAST} and {WEST}, kmswatch_host_up becomes 0. In {EAST} its\n  \
         kmswatch_host_live_share falls from 0.75 to 0 and its neighbour's rises from 0.25 to 1; the plain\n  \
         share stays: new clients still try it first.\n"
    ));
    Ok(())
}

/// Where to look, and what each domain of the lab shows; `listen` is where the daemon really listens.
pub fn intro(listen: SocketAddr, act_after: Duration) -> String {
    let url = format!("http://{listen}");
    let first_act = act_after.as_secs();
    format!(
        "A small estate on 127.0.0.1: two DNS servers, seven hosts that answer RPC binds, no KMS. Look at it:\n\
         \n  \
           curl -s {url}/metrics | grep ^kmswatch_host_\n  \
           curl -s {url}/api/v1/findings\n  \
           curl -s {url}/api/v1/report\n\
         \n\
         What each domain shows:\n  \
           {EAST}     well: 75 % / 25 % on its own two hosts, two more in {WEST} to fall back on\n  \
           {WEST}     well: the mirror image\n  \
           {MISSING}  srv-missing: no KMS record; clients show 0x8007232B\n  \
           {DEAD}     all-hosts-down: the only host's port is closed; clients show 0xC004F074\n  \
           {ROGUE}    record-unexpected, host-accepts-any: half of the clients go to a host nobody listed\n  \
           {WRONG}    all-hosts-down, by host-not-kms: its port answers RPC, but is not KMS\n\
         \n\
         In {first_act} s one host leaves DNS, {between} s later another dies. Ctrl-C ends it.\n",
        between = BETWEEN_ACTS.as_secs(),
    )
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hickory_proto::rr::RecordType;
    use tokio::net::TcpStream;
    use tokio::time::Instant;

    use super::*;
    use crate::demo::zones::name;

    #[tokio::test(start_paused = true)]
    async fn first_a_record_leaves_then_a_host_dies() {
        let lab = Lab::start().await.expect("a lab");
        let began = Instant::now();
        let west = name(&format!("_vlmcs._tcp.{WEST}"));
        let mut acts = Vec::new();
        let say = |text: &str| {
            let records = lab.zones().find(&west, RecordType::SRV).records.len();
            let host = text.split_whitespace().next().map(str::to_owned);
            acts.push((began.elapsed().as_secs(), records, host));
        };
        script(&lab, say, Duration::from_mins(1)).await.expect("both acts");
        assert_eq!(acts, [(60, 3, Some(KMS_W1.to_owned())), (70, 3, Some(KMS_E1.to_owned()))]);
        let dead = lab.host(KMS_E1).expect("a host").address();
        assert!(TcpStream::connect(dead).await.is_err());
    }

    #[test]
    fn the_intro_tells_where_to_look_and_names_every_check_rightly() {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 4711));
        let text = intro(listen, Duration::from_mins(1));
        for expected in
            ["http://127.0.0.1:4711/metrics", "http://127.0.0.1:4711/api/v1/report", "In 60 s"]
        {
            assert!(text.contains(expected), "{expected} is not in:\n{text}");
        }
        let checks = text.split(|c: char| !(c.is_ascii_lowercase() || c == '-')).filter(|word| {
            ["srv-", "host-", "record-", "all-"].iter().any(|p| word.starts_with(p))
        });
        let unknown: Vec<&str> =
            checks.filter(|id| crate::model::Check::parse(id).is_none()).collect();
        assert_eq!(unknown, [""; 0]);
        assert!(text.lines().all(|line| line.chars().count() <= 110));
    }
}
