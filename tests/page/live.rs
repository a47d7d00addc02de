//! What happens shows by itself, and the sentence says it.

use std::net::{SocketAddr, TcpListener};

use crate::chromium::Chromium;
use crate::daemon::Daemon;
use crate::estate::Estate;
use crate::program::{Config, kmswatch};

const EACH_SECOND: &str = "[audit]\ninterval = \"1s\"\n[dns]\ntimeout = \"10s\"\nattempts = 1\n";

/// What a look at the front page tells.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    sentence: String,
    /// Of the page, and what the icon shows.
    status: String,
    icon: String,
    mark: String,
    /// Each domain and its status, the worst first.
    rows: Vec<String>,
}

impl Seen {
    fn on(browser: &Chromium) -> Self {
        let icon = browser.only("link#favicon[rel=icon]", "e.href");
        Self {
            // Beside the mark, which says the status once more.
            sentence: browser.only("#verdict", "e.lastChild.textContent.trim()"),
            status: browser.only("html", "e.dataset.status"),
            icon: icon.rsplit('/').next().unwrap_or_default().to_owned(),
            mark: browser.title().split(' ').next().unwrap_or_default().to_owned(),
            rows: browser.all("tr[data-domain]", "e.dataset.domain + ' ' + e.dataset.status"),
        }
    }

    fn new(sentence: &str, [status, mark]: [&str; 2], rows: &[&str]) -> Self {
        Self {
            sentence: sentence.to_owned(),
            status: status.to_owned(),
            icon: format!("{status}.svg"),
            mark: mark.to_owned(),
            rows: rows.iter().map(|row| (*row).to_owned()).collect(),
        }
    }
}

fn well() -> Seen {
    Seen::new(
        "All 4 domains are well. The profile finds a KMS host.",
        ["ok", "✔"],
        &["east.test ok", "north.test ok", "south.test ok", "west.test ok"],
    )
}

fn dead() -> Seen {
    Seen::new(
        "2 of 4 domains have trouble: clients in east.test and west.test would fail with 0xC004F074. \
         1 of 1 profile fails: branch with 0xC004F074.",
        ["critical", "✘"],
        &["east.test critical", "west.test critical", "north.test ok", "south.test ok"],
    )
}

fn unpublished() -> Seen {
    Seen::new(
        "1 of 4 domains has trouble: clients in north.test would fail with 0x8007232B. \
         The profile finds a KMS host.",
        ["critical", "✘"],
        &["north.test critical", "east.test ok", "south.test ok", "west.test ok"],
    )
}

fn wait_to_see(browser: &Chromium, expected: &Seen) {
    browser.wait_for(&expected.sentence, || {
        let seen = Seen::on(browser);
        if seen == *expected { Ok(()) } else { Err(format!("{seen:?}")) }
    });
}

/// A page that somebody left open, and went to look at again.
#[test]
fn what_happens_shows_without_a_reload_and_the_sentence_is_right() {
    let mut estate = Estate::start();
    let daemon = Daemon::start(&estate.config(EACH_SECOND, &[]));
    daemon.wait_until_ready();
    let browser = Chromium::start();
    browser.goto(&format!("http://{}/", daemon.address()));
    wait_to_see(&browser, &well());
    browser.script("window.opened = 'once'; scrollTo(0, 40)");
    estate.kill(3);
    wait_to_see(&browser, &dead());
    estate.revive(3);
    wait_to_see(&browser, &well());
    estate.unpublish("north.test");
    wait_to_see(&browser, &unpublished());
    assert_eq!(browser.script("return window.opened"), "once", "it was loaded once");
    assert_eq!(browser.complaints(), [""; 0]);
}

/// Whoever goes through a page by keyboard is not thrown back to its beginning.
#[test]
fn the_focus_stays_where_it_is_when_a_page_renews_itself() {
    let estate = Estate::start();
    let daemon = Daemon::start(&estate.config(EACH_SECOND, &[]));
    daemon.wait_until_ready();
    let browser = Chromium::start();
    estate.kill(3);
    browser.goto(&format!("http://{}/domains/east.test", daemon.address()));
    for (focused, changed) in
        [("summary", "north.test"), ("li:nth-of-type(2) > button.copy", "south.test")]
    {
        let focused = format!("article.finding {focused}");
        browser.wait_for("something to have the focus", || match browser.all(&focused, "e") {
            found if found.is_empty() => Err(browser.text("main")),
            _ => Ok(()),
        });
        browser.script(&format!("(window.old = document.querySelector('{focused}')).focus()"));
        estate.unpublish(changed);
        browser.wait_for("the page is renewed", || {
            match browser.script("return old.isConnected") {
                is_old if is_old == false => Ok(()),
                is_old => Err(is_old.to_string()),
            }
        });
        let is_same = "return document.activeElement === document.querySelector";
        assert_eq!(browser.script(&format!("{is_same}('{focused}')")), true, "{focused}");
    }
}

#[test]
fn a_page_survives_a_restart_of_the_daemon() {
    let estate = Estate::start();
    let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let address = free.expect("a free port");
    let daemon = start_at(address, &estate);
    let browser = Chromium::start();
    browser.goto(&format!("http://{address}/"));
    wait_to_see(&browser, &well());
    browser.script("window.opened = 'once'");
    let live = || browser.text("#live");
    browser.wait_for("it says that it is live", || match live() {
        told if told.starts_with("live") => Ok(()),
        told => Err(told),
    });
    drop(daemon);
    browser.wait_for("it says that nobody answers", || match live() {
        told if told.contains("not connected") => Ok(()),
        told => Err(told),
    });
    assert_eq!(Seen::on(&browser), well(), "what was seen last stays");
    estate.unpublish("north.test");
    let _daemon = start_at(address, &estate);
    wait_to_see(&browser, &unpublished());
    assert_eq!(browser.script("return window.opened"), "once", "it was loaded once");
}

fn start_at(address: SocketAddr, estate: &Estate) -> Daemon {
    let settings = format!("{EACH_SECOND}[journal]\npath = \"\"\n[web]\nlisten = \"{address}\"\n");
    let config = Config::new(&estate.config(&settings, &[]));
    let mut command = kmswatch();
    command.args(["run", "-c"]).arg(config.path()).current_dir(config.folder());
    let daemon = Daemon::of(&mut command, config);
    daemon.wait_until_ready();
    daemon
}
