//! The one text of each code that Windows and Office show: its section of `docs/codes.md`.

use std::sync::LazyLock;

use crate::model::finding::ClientError;

/// A code and what is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// The code.
    pub code: ClientError,
    /// What it means, in some words.
    pub title: &'static str,
    /// What it means, whether DNS and a bind can see it, which checks predict it, where else to
    /// look and what to do, as Markdown below a heading.
    pub section: &'static str,
}

/// Every code, in the order of the page: those that DNS and a bind can see first.
pub fn codes() -> &'static [Code] {
    &CODES
}

/// The code that this text means: eight hexadecimal digits in either case, with or without `0x`.
/// It need not be one of [`codes`].
pub fn parse_code(text: &str) -> Option<ClientError> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    let is_code = digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_code.then(|| u32::from_str_radix(digits, 16).ok().map(ClientError)).flatten()
}

const PAGE: &str = include_str!("../../docs/codes.md");

static CODES: LazyLock<Vec<Code>> =
    LazyLock::new(|| PAGE.split("\n## ").skip(1).filter_map(code).collect());

/// Reads a section: `CODE: title`, an empty line, its text.
fn code(section: &'static str) -> Option<Code> {
    let (code, title) = section.lines().next()?.split_once(": ")?;
    Some(Code { code: parse_code(code)?, title, section: section.trim_end() })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::client::errors;
    use crate::model::{Check, LookupOutcome};

    /// Microsoft's documentation of volume activation lists these; those that the network shows
    /// stand first.
    const DOCUMENTED: [u32; 38] = [
        0x8007_232B,
        0x8007_251D,
        0x8007_232A,
        0x8007_232D,
        0x8007_232C,
        0x8007_2329,
        0x8007_05B4,
        0x8007_007B,
        0x8007_06BA,
        0xC004_F074,
        0xC004_F039,
        0xC004_F038,
        0xC004_F041,
        0xC004_F042,
        0xC004_F06C,
        0xC004_F035,
        0x8007_0001,
        0x8007_000D,
        0xC004_C021,
        0xC004_F009,
        0xC004_F00F,
        0xC004_F02C,
        0xC004_F064,
        0xC004_F065,
        0xC004_F014,
        0xC004_F050,
        0xC004_F051,
        0xC004_C001,
        0xC004_C003,
        0xC004_C008,
        0xC004_C020,
        0xC004_F017,
        0xC004_F056,
        0xC004_F057,
        0x8007_0005,
        0x8007_0422,
        0x8007_0426,
        0x4004_F040,
    ];

    fn section(code: ClientError) -> &'static str {
        let found = codes().iter().find(|known| known.code == code);
        found.unwrap_or_else(|| panic!("{code} is not in docs/codes.md")).section
    }

    /// The ids that a section names in its line "Predicted by", each with what stands behind it.
    fn predicting(section: &str) -> Vec<(&str, &str)> {
        let from = section.find("- Predicted by: ").expect("the line") + 16;
        let line = section[from..].split("\n- ").next().expect("a split has one part");
        let quoted: Vec<&str> = line.split('`').collect();
        quoted[1..].chunks(2).map(|pair| (pair[0], pair[1])).collect()
    }

    #[test]
    fn every_documented_code_has_a_whole_section_of_its_own() {
        let listed: Vec<u32> = codes().iter().map(|known| known.code.0).collect();
        assert_eq!(listed, DOCUMENTED, "nothing more, nothing less, nothing twice");
        assert_eq!(PAGE.matches("\n## ").count(), DOCUMENTED.len(), "every heading is read");
        for known in codes() {
            let starts: Vec<&str> = known
                .section
                .lines()
                .filter_map(|line| line.strip_prefix("- ")?.split_once(": "))
                .map(|(start, _)| start)
                .collect();
            let expected = ["Visible to DNS and a bind", "Predicted by", "Look also at", "Do"];
            assert_eq!(starts, expected, "{}", known.code);
            assert!(
                known.section.lines().all(|line| line.chars().count() <= 130),
                "{}",
                known.code
            );
        }
    }

    #[test]
    fn predicted_codes_and_the_page_agree() {
        let of_lookups = LookupOutcome::ALL
            .into_iter()
            .filter_map(|outcome| Some((outcome, errors::of_lookup(outcome)?)));
        for (outcome, code) in of_lookups {
            let words = section(code);
            let is_named = words.contains(&format!("`{outcome}`"))
                || outcome == LookupOutcome::OtherRcode && words.contains("other response codes");
            assert!(is_named, "{code} does not name {outcome}");
            let check = match outcome {
                LookupOutcome::Nxdomain => Check::SrvMissing,
                LookupOutcome::Nodata => Check::SrvEmpty,
                _ => Check::DnsFailure,
            };
            let ids: Vec<&str> = predicting(words).into_iter().map(|(id, _)| id).collect();
            assert!(ids.contains(&check.as_str()), "{code}: {ids:?} lacks {check}");
        }
        let all = [Check::AllHostsDown, Check::SrvDeclined, Check::HostDown, Check::HostNotKms];
        let in_the_end = section(errors::NO_KMS_CONTACTED);
        assert!(all.iter().all(|check| in_the_end.contains(&format!("`{check}`"))));
        let events = predicting(section(errors::RPC_UNAVAILABLE));
        assert_eq!(
            events.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
            ["host-down", "host-not-kms"]
        );
    }

    #[test]
    fn the_page_names_checks_that_exist_and_tells_which_are_built() {
        for known in codes() {
            let predicting = predicting(known.section);
            for (at, (id, after)) in predicting.iter().enumerate() {
                let check = Check::parse(id).unwrap_or_else(|| panic!("{}: {id}", known.code));
                // "`a` and `b` (not in this version)" speaks of both.
                let rest: String = predicting[at..].iter().map(|(_, after)| *after).collect();
                let group = rest.split([';', '.', ',']).next().unwrap_or_default();
                assert_eq!(
                    group.contains("(not in this version)"),
                    !check.is_built(),
                    "{}: {id}: {after}",
                    known.code
                );
            }
        }
    }

    #[test]
    fn a_code_is_read_however_it_is_written() {
        let missing = Some(errors::NAME_DOES_NOT_EXIST);
        for text in ["0x8007232B", "0x8007232b", "0X8007232B", "8007232b", "8007232B"] {
            assert_eq!(parse_code(text), missing, "{text}");
        }
        for text in
            ["", "0x", "0x8007232", "0x8007232BB", "+8007232", "x8007232B", "8007232G", "münchen"]
        {
            assert_eq!(parse_code(text), None, "{text}");
        }
        let distinct: BTreeSet<&str> = codes().iter().map(|known| known.title).collect();
        assert_eq!(distinct.len(), codes().len(), "no two codes have one title");
    }
}
