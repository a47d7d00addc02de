//! `/profiles`: the way of each declared client, step by step.

use askama::Template;

use super::serve::{Look, Rendered};
use super::{Frame, View};
use crate::model::snapshot::ProfileEntry;
use crate::model::{Finding, Snapshot, Status, Subject};
use crate::preflight;
use crate::report::{self, Item, State};

#[derive(Template)]
#[template(path = "profiles.html")]
struct ProfilesPage<'a> {
    frame: Frame<'a>,
    sentence: String,
    profiles: Vec<ProfileSection<'a>>,
}

struct ProfileSection<'a> {
    name: &'a str,
    status: Status,
    state: State,
    verdict: String,
    played: String,
    steps: Vec<Item>,
    findings: Vec<&'a Finding>,
}

pub(super) fn render(look: &Look) -> Rendered {
    let snapshot = look.snapshot;
    let page = ProfilesPage {
        frame: look.frame(View::Profiles),
        sentence: report::profiles_verdict(snapshot).unwrap_or_default(),
        profiles: snapshot.profiles.iter().map(|entry| section(snapshot, entry)).collect(),
    };
    Ok(page.render()?)
}

fn section<'a>(snapshot: &'a Snapshot, entry: &'a ProfileEntry) -> ProfileSection<'a> {
    let profile = &entry.view.profile;
    let mut steps: Vec<Item> = preflight::way(snapshot, &entry.view)
        .iter()
        .map(|step| trimmed(report::step_item(step)))
        .collect();
    let verdict = steps.pop().map(|step| step.text).unwrap_or_default();
    let subject = Subject::Profile(profile.name.clone());
    let findings = snapshot.findings.iter().map(|finding| &**finding);
    ProfileSection {
        name: &profile.name,
        status: entry.status,
        state: report::profile_state(entry),
        verdict,
        played: report::played(profile),
        steps,
        findings: findings.filter(|finding| finding.subject == subject).collect(),
    }
}

fn trimmed(item: Item) -> Item {
    let evidence = item.evidence.into_iter().map(report::Table::trimmed).collect();
    Item { evidence, ..item }
}
