//! A config of any text: no panic, errors of one line each, and what is shown of a plan reads as the
//! same plan.

#![no_main]

use kmswatch::config::{parse, show};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|text: &str| -> Corpus {
    if may_read_files(text) {
        return Corpus::Reject;
    }
    match parse(text, FILE) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                assert!(is_one_line(warning), "{warning:?}");
            }
            let shown = show(&loaded.plan);
            let again = parse(&shown, FILE).unwrap_or_else(|errors| panic!("{errors}\n{shown}"));
            assert_eq!(show(&again.plan), shown);
            let (domains, others) = (&loaded.plan.domains, &again.plan.domains);
            assert_eq!(domains, others);
            assert_eq!(loaded.plan.resolvers, again.plan.resolvers);
            assert_eq!(loaded.plan.hosts, again.plan.hosts);
        }
        Err(errors) => {
            assert!(errors.iter().next().is_some(), "refused without a reason");
            for error in errors.iter() {
                let line = error.to_string();
                assert!(is_one_line(&line), "{line:?}");
                assert!(error.place.line >= 1 && error.place.column >= 1);
                assert!(!error.problem.is_empty() && !error.advice.is_empty(), "{line}");
            }
        }
    }
    Corpus::Keep
});

/// What is relative to it does not exist either.
const FILE: &str = "/nonexistent/kmswatch.toml";

/// An absolute path could be a device that never ends.
fn may_read_files(text: &str) -> bool {
    (text.contains("include") || text.contains("file")) && text.contains(['/', '\\'])
}

fn is_one_line(text: &str) -> bool {
    !text.contains(char::is_control)
}
