//! People look for something: by mouse, by keyboard, without scripts, by a link that somebody sent.

use std::collections::BTreeSet;

use fantoccini::key::Key;
use serde_json::{Value, json};

use crate::chromium::{Chromium, ELSEWHERE};
use crate::daemon::request;
use crate::estate::Demo;

/// What the API says of some, as texts.
fn told(
    demo: &Demo,
    path: &str,
    key: &str,
    is_wanted: impl Fn(&Value) -> bool,
) -> BTreeSet<String> {
    let body = request(demo.address, "GET", path, "").text();
    let list: Value = serde_json::from_str(&body).expect("JSON");
    let wanted = list.as_array().expect("a list").iter().filter(|entry| is_wanted(entry));
    wanted.map(|entry| entry[key].as_str().expect("a text").to_owned()).collect()
}

fn rows(browser: &Chromium) -> BTreeSet<String> {
    browser.all("tr[data-domain]", "e.dataset.domain").into_iter().collect()
}

fn findings(browser: &Chromium) -> BTreeSet<String> {
    browser.all("article.finding", "e.id").into_iter().collect()
}

fn choose(browser: &Chromium, name: &str, value: &str) {
    browser.choose(&format!("select[name={name}]"), value);
}

/// Filters, sends the form, and waits for the page that it leads to.
fn send(browser: &Chromium) {
    let before = browser.url();
    browser.click("form[role=search] button");
    browser.wait_for("the page that was asked for", || match browser.url() {
        url if url == before => Err(url),
        _ => Ok(()),
    });
}

/// Filters both lists; with each, goes back, and gives the link to somebody else.
fn filters_work(demo: &Demo, browser: &Chromium, other: &Chromium) {
    let all = told(demo, "/api/v1/domains", "name", |_| true);
    let critical = told(demo, "/api/v1/domains", "name", |domain| domain["status"] == "critical");
    assert!(critical.len() > 3 && all.len() > critical.len(), "{critical:?}");
    browser.goto(&demo.url("/"));
    assert_eq!(rows(browser), all);
    choose(browser, "status", "critical");
    send(browser);
    assert_eq!(rows(browser), critical);
    let link = browser.url();
    browser.fill("input[name=q]", "  D.CONTOSO");
    send(browser);
    let both: BTreeSet<String> =
        critical.iter().filter(|name| name.contains("d.contoso")).cloned().collect();
    assert_eq!(both.len(), 2, "declined and dead: {both:?}");
    assert_eq!(rows(browser), both);
    assert_eq!(browser.only("select[name=status]", "e.value"), "critical", "the form shows it");
    other.goto(&browser.url());
    assert_eq!(rows(other), both);
    browser.back();
    assert_eq!((browser.url(), rows(browser)), (link, critical));
    browser.back();
    assert_eq!(rows(browser), all);

    let is_open = |finding: &Value| finding["state"] == "active";
    let drift = told(demo, "/api/v1/findings", "id", |finding| finding["check"] == "record-drift");
    let warnings = told(demo, "/api/v1/findings", "id", |finding| {
        finding["severity"] == "warning" && is_open(finding)
    });
    let explained =
        told(demo, "/api/v1/findings", "id", |finding| finding["state"] == "suppressed");
    browser.goto(&demo.url("/findings"));
    assert!(findings(browser).is_superset(&warnings));
    choose(browser, "severity", "warning");
    choose(browser, "state", "active");
    send(browser);
    assert_eq!(findings(browser), warnings);
    other.goto(&browser.url());
    assert_eq!(findings(other), warnings);
    choose(browser, "check", "record-drift");
    send(browser);
    assert_eq!((drift.len(), findings(browser)), (1, drift));
    browser.goto(&demo.url("/findings?state=suppressed"));
    assert_eq!(findings(browser), explained);
    browser.goto(&demo.url("/findings"));
    browser.fill("input[name=q]", "incomplete.contoso.test");
    send(browser);
    let of_domain = told(demo, "/api/v1/findings", "id", |finding| {
        finding["domains"] == json!(["incomplete.contoso.test"])
    });
    assert_eq!(findings(browser), of_domain);
}

#[test]
fn filters_find_links_keep_and_going_back_works() {
    let demo = Demo::start();
    let [browser, other] = [Chromium::start(), Chromium::start()];
    filters_work(&demo, &browser, &other);
    assert_eq!(browser.complaints(), [""; 0]);
    // All of it as well where no script runs.
    for one in [&browser, &other] {
        one.forbid_scripts();
    }
    filters_work(&demo, &browser, &other);
    everything_is_there_without_scripts(&demo, &browser);
    every_link_leads_somewhere(&demo, &browser);
}

/// Each view tells its sentence and what the API has of it, and nothing that only a script could make work.
fn everything_is_there_without_scripts(demo: &Demo, browser: &Chromium) {
    let all = told(demo, "/api/v1/domains", "name", |_| true);
    let remedied =
        told(demo, "/api/v1/findings", "message", |finding| finding["state"] == "active");
    for path in ["/", "/hosts", "/findings", "/profiles", "/journal", "/domains/split.contoso.test"]
    {
        browser.goto(&demo.url(path));
        assert!(browser.text("#verdict").split(' ').count() > 2, "{path}");
        assert_eq!(browser.all("button.copy", "e.textContent"), [""; 0], "{path}");
        assert_eq!(browser.text("#live"), "", "{path}: it says nothing that it cannot know");
        let seen = browser.text("main");
        match path {
            "/" => assert!(all.iter().all(|name| seen.contains(&**name)), "{seen}"),
            "/findings" => {
                assert!(remedied.iter().all(|message| seen.contains(&**message)), "{seen}");
            }
            "/hosts" => {
                let hosts = browser.all("tr[data-host]", "e.dataset.host");
                assert!(
                    hosts.iter().any(|host| host.starts_with("kms1.contoso.test:")),
                    "{hosts:?}"
                );
            }
            "/profiles" => {
                let steps =
                    browser.all("section[data-profile=branch] ol.way > li", "e.dataset.step");
                assert_eq!(steps[..2], ["suffixes", "connect"]);
                assert!(seen.contains("will fail with 0xC004F074"), "{seen}");
            }
            "/journal" => {
                let kinds = browser.all("tr[data-kind]", "e.dataset.kind");
                assert!(
                    kinds.iter().any(|kind| kind == "status" || kind == "appeared"),
                    "{kinds:?}"
                );
            }
            _ => {
                assert!(browser.text("pre code").contains("nslookup"));
                for part in ["records", "endpoints", "matrix", "findings", "timeline"] {
                    assert!(browser.text(&format!("#{part}")).len() > 10, "{part}");
                }
            }
        }
    }
}

/// From the front page, by links alone.
fn every_link_leads_somewhere(demo: &Demo, browser: &Chromium) {
    let (mut seen, mut next) = (BTreeSet::new(), vec![demo.url("/")]);
    let origin = demo.url("/");
    while let Some(url) = next.pop() {
        let (page, _) = url.split_once('#').unwrap_or((&url, ""));
        if !page.starts_with(&origin) || !seen.insert(page.to_owned()) {
            continue;
        }
        let path = &page[origin.len() - 1..];
        let answer = request(demo.address, "GET", path, "");
        assert_eq!(answer.status, 200, "{path}");
        // Filtered lists lead to what the whole ones do.
        if answer.headers["content-type"].starts_with("text/html") && !path.contains('?') {
            browser.goto(page);
            next.extend(browser.all("a[href], link[href]", "e.href"));
            let missing = browser
                .all("a[href^='#']", "document.getElementById(e.hash.slice(1)) ? '' : e.hash");
            assert!(missing.iter().all(String::is_empty), "{path}: {missing:?}");
        }
    }
    let all = told(demo, "/api/v1/domains", "name", |_| true);
    let views =
        ["hosts", "findings", "profiles", "journal", "api/v1/report", "api/v1/journal", "metrics"];
    let of_domains =
        all.iter().flat_map(|name| ["", "api/v1/"].map(|part| format!("{part}domains/{name}")));
    let reached: BTreeSet<&str> =
        seen.iter().map(|url| url.split_once('?').map_or(&**url, |(page, _)| page)).collect();
    for path in views.into_iter().map(str::to_owned).chain(of_domains) {
        assert!(reached.contains(&*format!("{origin}{path}")), "{path} is reached: {reached:?}");
    }
}

/// What has the focus, in a few words.
const FOCUSED: &str = "
    const e = document.activeElement, style = getComputedStyle(e);
    const is_seen = parseFloat(style.outlineWidth) >= 2 && style.outlineStyle != 'none';
    return [[e.localName, e.className, e.name || e.getAttribute('href') || ''].join(' '), is_seen];
";

#[test]
fn the_keyboard_reaches_everything_and_shows_where_it_is() {
    let demo = Demo::start();
    let browser = Chromium::start();
    for (path, wanted) in [
        ("/", &["input  q", "select  status", "button"][..]),
        (
            "/findings",
            &["input  q", "select  severity", "select  state", "select  check", "summary"],
        ),
    ] {
        browser.goto(&demo.url(path));
        let mut reached: Vec<String> = Vec::new();
        for _ in 0..40 {
            browser.press(Key::Tab);
            let told = browser.script(FOCUSED);
            let focused = told[0].as_str().expect("a text").trim().to_owned();
            assert_eq!(told[1], true, "{path}: the focus is seen on {focused}");
            reached.push(focused);
        }
        assert_eq!(reached[0], "a skip #main", "{path}");
        let navigation = reached.iter().filter(|focused| focused.starts_with('a')).count();
        assert!(navigation >= 6, "{path}: {reached:?}");
        let mut places =
            wanted.iter().map(|wanted| reached.iter().position(|focused| focused == wanted.trim()));
        assert!(places.all(|place| place.is_some()), "{path}: {reached:?}");
    }
    // A finding is unfolded, and what is in it comes next.
    browser.goto(&demo.url("/findings"));
    let focused = || {
        let told = browser.script(FOCUSED);
        told[0].as_str().expect("a text").trim().to_owned()
    };
    for wanted in ["summary", "button copy"] {
        let reached = (0..40).any(|_| {
            browser.press(Key::Tab);
            focused() == wanted
        });
        assert!(reached, "{wanted}: {}", focused());
        browser.press(Key::Enter);
    }
    browser.wait_for("it is told to who cannot see it", || {
        match browser.only("#announce", "e.textContent") {
            told if told == "Copied" => Ok(()),
            told => Err(told),
        }
    });
    // The first press of the first key leads past the navigation.
    browser.goto(&demo.url("/"));
    browser.press(Key::Tab);
    browser.press(Key::Enter);
    assert_eq!(browser.script("return document.activeElement.localName"), "main");
}

#[test]
fn a_click_copies_a_command_wherever_the_page_is_from() {
    let demo = Demo::start();
    let browser = Chromium::start();
    // Browsers give the clipboard to secure origins only; loopback is one, another name is not.
    let elsewhere = format!("http://{ELSEWHERE}:{}/findings", demo.address.port());
    for (url, is_secure) in [(demo.url("/findings"), true), (elsewhere, false)] {
        browser.goto(&url);
        assert_eq!(browser.script("return isSecureContext"), is_secure);
        browser.click("article.finding details.more > summary");
        let number = usize::from(!is_secure);
        let (button, command) = browser_nth(&browser, number);
        browser.click(&button);
        browser.wait_for("the button says that it is done", || {
            // The page may be renewed meanwhile; readers of screens hear it all the same.
            let told = browser.all(&format!("{button}, #announce"), "e.textContent");
            if told.iter().any(|told| told == "Copied") { Ok(()) } else { Err(told.concat()) }
        });
        browser.click("input[name=q]");
        browser.press_with_control('v');
        assert_eq!(browser.only("input[name=q]", "e.value"), command, "{url}");
    }
    assert_eq!(browser.complaints(), [""; 0]);
}

/// The so many-th button that copies, and what it shall copy. It is found by its label, which it keeps when
/// the page renews itself.
fn browser_nth(browser: &Chromium, number: usize) -> (String, String) {
    let of_button = "[e.closest('li').querySelector('pre code').textContent, \
                     `details[open] button.copy[aria-label=${CSS.escape(e.ariaLabel)}]`].join('\\0')";
    let buttons = browser.all("details[open] button.copy", of_button);
    let button = buttons.get(number).unwrap_or_else(|| panic!("but {} buttons", buttons.len()));
    let (command, selector) = button.split_once('\0').expect("both");
    (selector.to_owned(), command.to_owned())
}
