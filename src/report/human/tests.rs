use std::sync::Arc;

use super::*;
use crate::model::finding::ClientError;
use crate::model::{Check, FindingState, Subject};
use crate::report::fixture;

const PLAIN: Style = Style { color: false, width: 100, verbose: false };

#[test]
fn a_healthy_estate_is_a_line_a_domain() {
    let expected = "\
All 3 domains are well.

✔ east.example    kms-e1.east.example 75 % up, kms-e2.east.example 25 % up
✔ parked.example  no KMS records, as it should be
✔ west.example    kms-w1.west.example 100 % up

3 domains, 3 hosts, 3 endpoints: 0 critical, 0 warnings, 0 info; 0.41 s
";
    assert_eq!(human(&fixture::healthy(), &PLAIN), expected);
}

#[test]
fn profiles_are_a_matrix_of_who_finds_what() {
    let expected = "\
All 3 domains are well. 1 of 3 profiles fails: shop with 0x8007007B.

✔ east.example    kms-e1.east.example 75 % up, kms-e2.east.example 25 % up
✔ parked.example  no KMS records, as it should be
✔ west.example    kms-w1.west.example 100 % up

  profile  finds hosts in              clients show
✔ lab      east.example                nothing
    kms-e1.east.example 75 % up, kms-e2.east.example 25 % up
✘ shop     none; Office: a fixed host  0x8007007B
    kms-w1.west.example Office down
? van      east.example?               unknown

3 domains, 3 hosts, 3 endpoints: 0 critical, 0 warnings, 0 info; 0.41 s
";
    let narrow = Style { width: 85, ..PLAIN };
    assert_eq!(human(&fixture::with_profiles(), &narrow), expected);
    let narrowest = human(&fixture::with_profiles(), &Style { width: 59, ..PLAIN });
    let broken = "    kms-e1.east.example 75 % up,\n    kms-e2.east.example 25 % up\n";
    assert!(narrowest.contains(broken), "{narrowest}");
    let wide = human(&fixture::with_profiles(), &Style { width: 200, ..PLAIN });
    let shop = "✘ shop     none; Office: a fixed host  0x8007007B    -                    -                    Office down\n";
    assert!(wide.contains(shop), "{wide}");
    let mut bare = fixture::with_profiles();
    bare.domains.clear();
    assert!(human(&bare, &narrow).starts_with("1 of 3 profiles fails: shop with 0x8007007B.\n"));
}

#[test]
fn the_first_sentence_does_not_contradict_the_profiles_or_the_infos() {
    let first = |snapshot: &Snapshot| human(snapshot, &Style { width: 200, ..PLAIN });
    let mut troubled = fixture::troubled();
    let no_code = |finding: &mut Arc<crate::model::Finding>| {
        Arc::make_mut(finding).client_error = None;
    };
    troubled.findings.iter_mut().for_each(no_code);
    let begins = |snapshot: &Snapshot, with: &str| {
        let text = first(snapshot);
        assert!(text.starts_with(with), "{text}");
    };
    begins(&troubled, "3 of 5 domains have trouble; no client is predicted to fail yet.\n");
    troubled.profiles = fixture::with_profiles().profiles;
    begins(
        &troubled,
        "3 of 5 domains have trouble. 1 of 3 profiles fails: shop with 0x8007007B.\n",
    );
    let info = Arc::make_mut(&mut troubled.findings[4]);
    (info.client_error, info.severity) = (Some(ClientError(0xC004_F038)), Severity::Info);
    begins(&troubled, "3 of 5 domains have trouble. 1 of 3");
}

#[test]
fn trouble_comes_first_with_hop_error_and_remedy() {
    let expected = r"3 of 5 domains have trouble: clients in berlin.example would fail with 0x8007232B, in south.example
with 0xC004F074.

✘ berlin.example  no KMS records
  ✘ critical srv-missing: Every server of resolver hq that answered says that
    _vlmcs._tcp.berlin.example does not exist.
    10.0.0.53       hq  nxdomain  0.9 ms
    10.0.0.54:5353  hq  nxdomain  0.9 ms
    Windows shows 0x8007232B.
    What to do:
      Publish it again.
      See:
        nslookup -type=SRV _vlmcs._tcp.berlin.example 10.0.0.53

✘ north.example   kms-n1.north.example 50 % up, kms-n2.north.example 50 % down
  ✘ critical host-down: kms-n2.north.example:1688 refuses connections at its only address; a
    firewall \u{1b}[31msays so.
    10.3.0.2:1688  refused  ICMP \u{7}code
    Hits 2 domains: north.example and south.example.
    Windows shows 0xC004F074.
    Explains 2 more: all-hosts-down (south.example) and redundancy-lost (north.example).
    What to do:
      See it with:
        Test-NetConnection kms-n2.north.example -Port 1688
      Start the service on the host:
        net start sppsvc

✘ south.example   kms-n2.north.example 100 % down  (see host-down above)

i lab.example     kms-e1.east.example 100 % up  (info redundancy-none)
✔ east.example    kms-e1.east.example 75 % up, kms-e2.east.example 25 % up

5 domains, 4 hosts, 4 endpoints: 2 critical, 0 warnings, 1 info, 2 explained; 0.41 s
";
    assert_eq!(human(&fixture::troubled(), &PLAIN), expected);
}

#[test]
fn color_differs_only_in_escapes() {
    for verbose in [false, true] {
        let plain = Style { verbose, ..PLAIN };
        let colored = human(&fixture::troubled(), &Style { color: true, ..plain });
        assert!(colored.contains("\u{1b}[1;31m✘\u{1b}[0m"));
        assert_eq!(without_escapes(&colored), human(&fixture::troubled(), &plain));
    }
}

#[test]
fn sentences_are_wrapped_and_commands_are_not() {
    let narrow = human(&fixture::troubled(), &Style { width: 1, ..PLAIN });
    assert!(narrow.contains("\n        Test-NetConnection kms-n2.north.example -Port 1688\n"));
    let message = narrow.lines().skip_while(|line| !line.contains("critical host-down"));
    let sentence: Vec<&str> = message.take_while(|line| !line.contains("10.3.0.2")).collect();
    assert!(sentence.len() > 2 && sentence.iter().all(|line| width_of(line) <= MIN_WIDTH));
}

#[test]
fn verbose_tells_infos_in_full() {
    let verbose = human(&fixture::troubled(), &Style { verbose: true, ..PLAIN });
    assert!(verbose.contains("\n  i info redundancy-none: Only one host is published.\n"));
}

#[test]
fn long_lists_are_bounded() {
    let mut snapshot = fixture::troubled();
    let many: Vec<String> = (0..50).map(|at| format!("d{at:02}.example")).collect();
    let finding = Arc::make_mut(&mut snapshot.findings[1]);
    finding.domains = many.iter().map(|name| fixture::name(name)).collect();
    finding.domains[0] = fixture::name("north.example");
    let text = human(&snapshot, &PLAIN);
    let hits = "Hits 50 domains: north.example, d01.example, d02.example and 47 more.";
    assert!(text.contains(hits), "{text}");
    let records: Vec<_> =
        (0..9).map(|at| fixture::record(&format!("kms{at}.wide.example"), 0, 0)).collect();
    let wide =
        fixture::entry(&fixture::hq(), "wide.example", KmsMode::Required, Status::Ok, &records);
    let snapshot = fixture::snapshot(vec![wide], Vec::new(), Vec::new());
    let shown = "✔ wide.example  kms0.wide.example 11 % up, kms1.wide.example 11 % up and 7 more\n";
    assert!(human(&snapshot, &PLAIN).contains(shown));
}

#[test]
fn a_finding_that_hits_no_domain_is_told() {
    let mut snapshot = fixture::healthy();
    let server = fixture::hq().upstreams[0].clone();
    let finding = fixture::finding(
        Check::ServerFailure,
        Severity::Warning,
        Subject::Server(server),
        &[],
        "10.0.0.53 answers nothing.",
    );
    snapshot.findings = vec![Arc::new(finding)];
    let text = human(&snapshot, &PLAIN);
    assert!(text.starts_with("No domain is hit, but 1 finding needs a look.\n"));
    assert!(text.contains("\n  ! warning server-failure: 10.0.0.53 answers nothing.\n"));
}

#[test]
fn findings_that_explain_each_other_in_a_circle_do_not_hang() {
    let mut snapshot = fixture::troubled();
    let ids = [snapshot.findings[1].id.clone(), snapshot.findings[2].id.clone()];
    for (at, by) in [(1, &ids[1]), (2, &ids[0])] {
        let finding = Arc::make_mut(&mut snapshot.findings[at]);
        finding.state = FindingState::Suppressed;
        finding.suppressed_by = Some(by.clone());
    }
    assert!(!human(&snapshot, &PLAIN).contains("Explains"));
}

#[test]
fn what_people_know_of_is_no_trouble_and_told_apart() {
    let mut snapshot = fixture::troubled();
    let words = [
        (FindingState::Acknowledged, "acknowledged", "moved\u{1b}[2J"),
        (FindingState::Maintenance, "maintenance", "host moves"),
    ];
    let mut findings = snapshot.findings.clone();
    findings.retain(|finding| finding.is_active());
    for (at, finding) in findings.iter_mut().enumerate() {
        let finding = Arc::make_mut(finding);
        let (state, word, because) = words[at % 2];
        finding.state = state;
        finding.evidence.insert(format!("{word}_until"), "2026-12-01T00:00:00Z".into());
        finding.evidence.insert(format!("{word}_because"), because.into());
    }
    let count = findings.len();
    snapshot = snapshot.with_findings(findings);
    let text = human(&snapshot, &PLAIN);
    let first =
        format!("No trouble that is not known: {count} findings acknowledged or in maintenance.\n");
    assert!(text.starts_with(&first), "{text}");
    assert!(text.contains(" (acknowledged)") && text.contains(" (maintenance)"), "{text}");
    let closing = text.lines().last().expect("a line");
    assert!(closing.contains(" acknowledged, ") && closing.contains(" in maintenance; "), "{text}");
    assert!(!text.contains("What to do"), "{text}");
    let all = human(&snapshot, &Style { verbose: true, ..PLAIN });
    let all = all.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(all.contains("Acknowledged until 2026-12-01T00:00:00Z: moved"), "{all}");
    assert!(all.contains("In maintenance until 2026-12-01T00:00:00Z: host moves."), "{all}");
    assert!(!all.contains('\u{1b}'));
}

fn without_escapes(text: &str) -> String {
    let mut plain = String::new();
    for (at, part) in text.split('\u{1b}').enumerate() {
        plain.push_str(if at == 0 { part } else { part.split_once('m').expect("an escape").1 });
    }
    plain
}
