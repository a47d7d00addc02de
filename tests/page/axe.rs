//! axe-core: what bars people who use a screen reader, a keyboard, or see few colours.

use crate::chromium::Chromium;
use crate::npm;

/// Its script.
pub struct Axe(String);

impl Axe {
    /// Reads it; npm installs it once.
    pub fn new() -> Self {
        let script = npm::installed("page").join("node_modules/axe-core/axe.min.js");
        Self(std::fs::read_to_string(script).expect("axe-core is installed"))
    }

    /// What is wrong with the page, a line each: the rule, and the elements.
    pub fn violations(&self, browser: &Chromium) -> Vec<String> {
        let found = browser.script(&format!("{};\nreturn {RUN}", self.0));
        // A run that looks at nothing finds nothing.
        assert!(found["passes"].as_u64() > Some(10), "{found}");
        let found = found["violations"].as_array().expect("a list").iter();
        found.map(|line| line.as_str().expect("a text").to_owned()).collect()
    }
}

const RUN: &str = "axe.run(document).then(found => ({
    passes: found.passes.length,
    violations: found.violations.map(rule =>
        `${rule.id}: ${rule.help}: ${rule.nodes.map(node => node.html + ' ' + node.failureSummary).join('\\n')}`)
}))";

#[test]
fn it_finds_what_is_wrong() {
    let (axe, browser) = (Axe::new(), Chromium::start());
    browser.goto("data:text/html,<html lang=en><title>x</title><main><h1>x</h1><img src=x>");
    let found = axe.violations(&browser);
    assert!(matches!(&found[..], [one] if one.starts_with("image-alt: ")), "{found:?}");
}
