//! Each view as people see it: in light and dark, wide and narrow.

use std::path::Path;
use std::process::Command;

use kmswatch::demo::{Act, Data};

use crate::axe::Axe;
use crate::chromium::{Chromium, Colours};
use crate::daemon::Daemon;
use crate::estate::{Demo, Estate};
use crate::program::said;

/// A view, and the picture's name where it shows in the documentation.
const VIEWS: [(&str, &str); 9] = [
    ("/", "domains"),
    ("/?status=critical&span=30d", ""),
    ("/domains/west.contoso.test", "domain"),
    ("/domains/split.contoso.test", "divergence"),
    ("/hosts", "hosts"),
    ("/findings", "findings"),
    ("/findings?q=kms1&severity=warning", ""),
    ("/profiles", "profiles"),
    ("/journal", "journal"),
];

/// Of a picture, in pixels: what is below is more of the same.
const HIGHEST: u32 = 1500;

/// What the documentation shows: a view, and how.
const KEPT: [(&str, &str); 9] = [
    ("domains", "light"),
    ("domains", "dark"),
    ("domains", "phone"),
    ("domain", "light"),
    ("divergence", "dark"),
    ("hosts", "light"),
    ("findings", "light"),
    ("profiles", "light"),
    ("journal", "light"),
];

/// Where these pictures go; without it none is made.
const PICTURES: &str = "KMSWATCH_SCREENSHOTS";

#[test]
fn every_view_loads_without_complaint_and_bars_nobody() {
    let demo = Demo::start();
    demo.play(Act::LeaveDns, "record-vanished");
    demo.play(Act::Die, "kms-e1.east.contoso.test");
    let (axe, browser) = (Axe::new(), Chromium::start());
    for colours in Colours::BOTH {
        browser.prefer(colours);
        let mut seen = Vec::new();
        for (path, name) in VIEWS {
            browser.goto(&demo.url(path));
            assert_eq!(browser.complaints(), [""; 0], "{path} in {colours:?}");
            assert_eq!(axe.violations(&browser), [""; 0], "{path} in {colours:?}");
            seen.push(browser.script("return getComputedStyle(document.body).backgroundColor"));
            keep_picture(&browser, name, colours.word());
        }
        seen.dedup();
        assert_eq!(seen.len(), 1, "one ground for all: {seen:?}");
    }
}

#[test]
fn a_phone_shows_every_view_without_scrolling_sideways() {
    let estate = Estate::start();
    let long = "x".repeat(63);
    let odd = [&format!("{long}.test"), "xn--mnchen-ost-9db.test", "hostile.test"];
    let targets = [&format!("{long}.{long}.{long}.test"), MARKUP];
    for (domain, target) in [(odd[0], targets[0]), (odd[1], targets[0]), (odd[2], MARKUP)] {
        estate.publish(domain, target, 1);
    }
    let address = "127.0.0.1".parse().expect("an address");
    estate.zones.insert(targets[0], Data::A(address));
    let daemon = Daemon::start(&estate.config("[audit]\ninterval = \"24h\"\n", &odd));
    daemon.wait_until_ready();
    let demo = Demo::start();
    let of_domains = odd.map(|domain| format!("/domains/{domain}"));
    let odd = VIEWS.iter().map(|(path, _)| *path).filter(|path| !path.starts_with("/domains/"));
    let odd = odd.chain(of_domains.iter().map(|path| &**path));
    let odd = odd.map(|path| (format!("http://{}{path}", daemon.address()), ""));
    let views = VIEWS.into_iter().map(|(path, name)| (demo.url(path), name));
    let (axe, browser) = (Axe::new(), Chromium::start());
    browser.resize(360, 740);
    for (url, name) in odd.chain(views) {
        browser.goto(&url);
        let width = browser.script("return document.documentElement.scrollWidth");
        assert!(width.as_u64() <= Some(360), "{url}: {width} by {:?}", wide(&browser));
        assert_eq!(browser.complaints(), [""; 0], "{url}");
        assert_eq!(axe.violations(&browser), [""; 0], "{url}");
        keep_picture(&browser, name, "phone");
        browser.resize(360, 740);
    }
}

/// What somebody may write into a record's target.
const MARKUP: &str = "<img src=x onerror=alert(1)><script>alert(2)</script>&quot;'\">.test";

/// The elements that reach beyond the window.
fn wide(browser: &Chromium) -> Vec<String> {
    let beyond =
        browser.all("body *", "e.getBoundingClientRect().right + ' ' + e.outerHTML.slice(0, 200)");
    let right = |line: &String| line.split(' ').next().and_then(|right| right.parse().ok());
    beyond.into_iter().filter(|line| right(line) > Some(360.0)).take(5).collect()
}

fn keep_picture(browser: &Chromium, name: &str, kind: &str) {
    let is_kept = KEPT.contains(&(name, kind));
    let Some(folder) = std::env::var_os(PICTURES).filter(|_| is_kept) else { return };
    let suffix = if kind == "light" { String::new() } else { format!("-{kind}") };
    let file = Path::new(&folder).join(format!("{name}{suffix}.png"));
    std::fs::write(&file, browser.picture(HIGHEST)).expect("the folder is there");
    // 64 colours are all that these pages have.
    let mut smaller = Command::new("pngquant");
    said(smaller.args(["--force", "--ext=.png", "--strip", "64", "--"]).arg(&file));
    browser.resize(1280, 900);
}
