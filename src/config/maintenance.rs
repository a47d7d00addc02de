//! `[[maintenance]]` → known work.

use jiff::civil::Time;
use jiff::tz::TimeZone;

use super::exceptions::{globs, not_empty};
use super::file::{Item, Keys, Section};
use super::refusal::{Refusal, no_url, shown, suggest};
use super::server::parse_port;
use crate::model::maintenance::{Maintenance, WEEKDAYS, Weekly, Window, WorkedOn};
use crate::model::{Name, Resolver};

use std::sync::Arc;

/// The known work, in the order of the config.
pub(super) fn read(root: &Section<'_>, resolvers: &[Arc<Resolver>]) -> Vec<Maintenance> {
    let tables = root.tables("maintenance", &MAINTENANCE);
    tables.iter().map(|section| maintenance(section, resolvers)).collect()
}

fn maintenance(section: &Section<'_>, resolvers: &[Arc<Resolver>]) -> Maintenance {
    let [domains, hosts, named] = ["domains", "hosts", "resolvers"].map(|key| section.get(key));
    if [&domains, &hosts, &named].into_iter().all(Option::is_none) {
        // Says what is wrong, and where; whichever key is wanted.
        section.require("domains", "[\"*.lab.contoso.com\"], or hosts, or resolvers");
    }
    let (patterns, domains) = domains
        .map(|item| globs(&item, "name some, such as \"*.lab.contoso.com\""))
        .unwrap_or_default();
    let reason = section.get("reason");
    let reason =
        reason.and_then(|item| item.read(REASON, |text| not_empty(text, "what is worked on")));
    Maintenance {
        patterns,
        domains,
        hosts: hosts.map(|item| each(&item, HOST, worked_on)).unwrap_or_default(),
        resolvers: named
            .map(|item| each(&item, RESOLVER, |name| resolver(name, resolvers)))
            .unwrap_or_default(),
        window: window(section),
        reason: reason.map(str::to_owned),
    }
}

/// What each text of an array, which has some, is read as.
fn each<T>(
    item: &Item<'_>,
    example: &str,
    mut read: impl FnMut(&str) -> Result<T, Refusal>,
) -> Vec<T> {
    let items = item.array(&format!("[{example}]")).unwrap_or_default();
    if items.is_empty() && item.is_empty_array() {
        item.refuse(Refusal::new("empty", format!("name some, such as {example}")));
    }
    items.iter().filter_map(|item| item.read(example, &mut read)).collect()
}

fn worked_on(text: &str) -> Result<WorkedOn, Refusal> {
    no_url(text, "kms.contoso.com")?;
    let (target, port) = match text.rsplit_once(':') {
        None => (text, None),
        Some((target, port)) => {
            let refused = || {
                let problem = format!("{} has no valid port", shown(text));
                let advice = "write a port from 1 to 65535, or none for whatever listens there";
                Refusal::new(problem, advice)
            };
            let port = parse_port(port).filter(|port| *port > 0);
            (target, Some(port.ok_or_else(refused)?))
        }
    };
    Ok(WorkedOn { target: Name::parse(target)?, port })
}

fn resolver(name: &str, resolvers: &[Arc<Resolver>]) -> Result<Arc<str>, Refusal> {
    let known = || resolvers.iter().map(|resolver| &resolver.name);
    let named = known().find(|known| &***known == name).cloned();
    named.ok_or_else(|| {
        let problem = format!("{} is no resolver of this config", shown(name));
        Refusal::new(problem, suggest(name, known().map(|name| &**name)))
    })
}

/// Of use only where nothing was refused.
fn window(section: &Section<'_>) -> Window {
    let weekly = section.get("weekly");
    let both = weekly.as_ref().and(section.get("from").or_else(|| section.get("until")));
    if let Some(item) = both {
        item.refuse(Refusal::new("weekly says when already", "remove one of the two"));
    }
    let weekly = weekly.map(|item| item.read(WEEKLY, parse_weekly));
    match weekly {
        Some(weekly) => weekly.map_or(NEVER, Window::Weekly),
        None => once(section).unwrap_or(NEVER),
    }
}

fn once(section: &Section<'_>) -> Option<Window> {
    let from = section.require("from", &format!("{FROM}, or weekly = {WEEKLY}"));
    let from = from.and_then(|item| item.moment(FROM));
    let item = section.require("until", UNTIL)?;
    let until = item.moment(UNTIL)?;
    let from = from?;
    if until <= from {
        item.refuse(Refusal::new("not after from", format!("write a later one, such as {UNTIL}")));
    }
    Some(Window::Once(from, until))
}

/// `Sat 02:00-06:00 Europe/Berlin`.
fn parse_weekly(text: &str) -> Result<Weekly, Refusal> {
    let refused = |problem: String| {
        Refusal::new(problem, format!("write a day, two times and a time zone, such as {WEEKLY}"))
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    let [day, hours, zone] = words[..] else {
        return Err(refused(format!("{} is no time of each week", shown(text))));
    };
    let known = WEEKDAYS.iter().find(|(name, _)| name.eq_ignore_ascii_case(day));
    let names = WEEKDAYS.map(|(name, _)| name).join(", ");
    let (_, day) = known.ok_or_else(|| {
        Refusal::new(format!("{} is no day", shown(day)), format!("write one of {names}"))
    })?;
    let times = hours.split_once('-').and_then(|(from, until)| {
        let is_midnight = until == "24:00";
        let until = if is_midnight { Some(Time::midnight()) } else { time(until) };
        Some((time(from)?, until?, is_midnight))
    });
    let (from, until, is_midnight) =
        times.ok_or_else(|| refused(format!("{} are no two times", shown(hours))))?;
    if from == until && !is_midnight {
        let advice = "write 00:00-24:00 for the whole day";
        return Err(Refusal::new(format!("{} is no time at all", shown(hours)), advice));
    }
    let zone =
        TimeZone::get(zone).ok().filter(|zone| zone.iana_name().is_some()).ok_or_else(|| {
            let advice = "write one such as \"Europe/Berlin\" or \"UTC\"";
            Refusal::new(format!("{} is no known time zone", shown(zone)), advice)
        })?;
    Ok(Weekly { day: *day, from, until, zone })
}

/// `HH:MM`.
fn time(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':').filter(|_| text.len() == "02:00".len())?;
    let [hour, minute] = [hour, minute].map(|part| {
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok()).flatten()
    });
    Time::new(hour?, minute?, 0, 0).ok()
}

/// What stands where something was refused.
const NEVER: Window = Window::Once(jiff::Timestamp::MIN, jiff::Timestamp::MIN);

const REASON: &str = "\"host moves\"";
const HOST: &str = "\"kms-e1.contoso.com\"";
const RESOLVER: &str = "\"hq\"";
const FROM: &str = "2026-12-01T20:00:00Z";
const UNTIL: &str = "2026-12-02T04:00:00Z";
const WEEKLY: &str = "\"Sat 02:00-06:00 Europe/Berlin\"";

const MAINTENANCE: Keys = Keys {
    known: &["domains", "hosts", "resolvers", "from", "until", "weekly", "reason"],
    later: &[],
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_time_of_each_week_reads_as_it_shows() {
        for text in [
            "Sat 02:00-06:00 Europe/Berlin",
            "Sun 22:30-01:00 America/New_York",
            "Mon 00:00-24:00 UTC",
            "Fri 12:00-24:00 Asia/Kolkata",
        ] {
            assert_eq!(parse_weekly(text).expect(text).to_string(), text);
        }
        let read = parse_weekly("  sAT   02:00-06:00 europe/berlin ").expect("a window");
        assert_eq!(read.to_string(), "Sat 02:00-06:00 Europe/Berlin");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(Sat|\\PC{0,4}) [0-9:+-]{0,12} (UTC|\\PC{0,9})") {
            if let Ok(weekly) = parse_weekly(&text) {
                prop_assert_eq!(parse_weekly(&weekly.to_string()), Ok(weekly));
            }
        }
    }
}
