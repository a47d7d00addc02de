//! A real Chromium without a window, driven by Debian's chromedriver. Include it with
//! `#[path = "peers/chromium.rs"] mod chromium;`, beside `lab` and `program`.
#![allow(dead_code, reason = "each test that includes this uses its own part")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::elements::Element;
use fantoccini::error::CmdError;
use fantoccini::key::Key;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use url::Url;

use crate::lab::Bench;
use crate::program::wait_for;

/// A browser with one page and a profile of its own; ended when dropped.
pub struct Chromium {
    /// `None` once it is closed.
    client: Option<Client>,
    bench: Bench,
    driver: Child,
    _folder: tempfile::TempDir,
}

/// What people like: their system tells the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    Light,
    Dark,
}

impl Colours {
    pub const BOTH: [Self; 2] = [Self::Light, Self::Dark];

    /// CSS's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

/// A name of loopback for pages that come over plain HTTP from elsewhere: what browsers allow secure
/// origins only is forbidden there.
pub const ELSEWHERE: &str = "kmswatch.test";

/// Nothing here takes longer, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(20);

/// Times that an element may go away between its finding and its use: pages renew themselves once a second.
const RENEWALS: usize = 5;

/// A window's width and height, unless a test wants another.
const WINDOW: (u32, u32) = (1280, 900);

impl Chromium {
    /// Starts it, with an empty page of 1280 × 900.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            // What it keeps of fonts and settings goes there, too.
            .env("HOME", folder.path())
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromium-driver is installed");
        let port = port_of(&mut driver);
        let bench = Bench::new();
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let Value::Object(wanted) = capabilities() else { unreachable!("it is an object") };
        builder.capabilities(wanted);
        let client = bench.wait(builder.connect(&format!("http://127.0.0.1:{port}")));
        let client = Some(client.expect("chromium is installed"));
        let browser = Self { client, bench, driver, _folder: folder };
        browser.resize(WINDOW.0, WINDOW.1);
        browser
    }

    /// Loads a page, and waits until that is done.
    pub fn goto(&self, url: &str) {
        self.wait(self.client().goto(url));
    }

    /// Loads the page again.
    pub fn refresh(&self) {
        self.wait(self.client().refresh());
    }

    /// The browser's back button.
    pub fn back(&self) {
        self.wait(self.client().back());
    }

    /// Where the page is.
    pub fn url(&self) -> String {
        self.wait(self.client().current_url()).to_string()
    }

    /// The title of the page.
    pub fn title(&self) -> String {
        self.wait(self.client().title())
    }

    /// What a body of a JavaScript function returns, in the page; a promise is awaited. Works where the page's
    /// own scripts do not, and whatever its Content-Security-Policy says.
    pub fn script(&self, body: &str) -> Value {
        self.wait(self.client().execute(body, Vec::new()))
    }

    /// The text of an element, as it is seen; what is not seen is empty.
    pub fn text(&self, selector: &str) -> String {
        self.with(selector, async |element| element.text().await)
    }

    /// What a JavaScript expression makes of each such element `e`, in the order of the page.
    pub fn all(&self, selector: &str, expression: &str) -> Vec<String> {
        let elements = format!("[...document.querySelectorAll({})]", json!(selector));
        let texts = self.script(&format!("return {elements}.map(e => String({expression}))"));
        serde_json::from_value(texts).expect("texts")
    }

    /// [`Self::all`] of the only such element.
    pub fn only(&self, selector: &str, expression: &str) -> String {
        let all = self.all(selector, expression);
        let [only] = &all[..] else { panic!("{selector} on {}: {all:?}", self.url()) };
        only.clone()
    }

    /// Clicks an element as a hand would: it must be seen.
    pub fn click(&self, selector: &str) {
        self.with(selector, async |element| element.click().await);
    }

    /// Presses a key and lets it go.
    pub fn press(&self, key: Key) {
        self.strike(&[char::from(key)]);
    }

    /// Presses a key while Control is down.
    pub fn press_with_control(&self, key: char) {
        self.strike(&[char::from(Key::Control), key]);
    }

    /// Presses keys one after the other, then lets them go.
    fn strike(&self, keys: &[char]) {
        let down = keys.iter().map(|value| KeyAction::Down { value: *value });
        let up = keys.iter().rev().map(|value| KeyAction::Up { value: *value });
        let keyboard = KeyActions::new("keyboard".to_owned());
        let keys = down.chain(up).fold(keyboard, InputSource::then);
        self.wait(self.client().perform_actions(keys));
    }

    /// Chooses from a list what is called so.
    pub fn choose(&self, selector: &str, label: &str) {
        self.with(selector, async |list| list.select_by_label(label).await);
    }

    /// Types into a field, in place of what is there.
    pub fn fill(&self, selector: &str, text: &str) {
        self.with(selector, async |field| {
            field.clear().await?;
            field.send_keys(text).await
        });
    }

    /// Asks again and again until the page is so; a failure shows where it is.
    pub fn wait_for<T>(&self, what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
        wait_for(what, PATIENCE, || ask().map_err(|last| format!("{last} on {}", self.url())))
    }

    /// Makes the window so large, however narrow: 360 is a phone's width.
    pub fn resize(&self, width: u32, height: u32) {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Tells pages which colours people like.
    pub fn prefer(&self, colours: Colours) {
        let feature = json!({"name": "prefers-color-scheme", "value": colours.word()});
        self.devtools("Emulation.setEmulatedMedia", &json!({"features": [feature]}));
    }

    /// Switches off the scripts of pages that are loaded from now on.
    pub fn forbid_scripts(&self) {
        self.devtools("Emulation.setScriptExecutionDisabled", &json!({"value": true}));
    }

    /// What the browser has complained about since this was asked last: errors and warnings of scripts, of
    /// the Content-Security-Policy and of the network.
    pub fn complaints(&self) -> Vec<String> {
        let told = self.issue(ToChromium("se/log", json!({"type": "browser"})));
        let told = told.as_array().expect("a list").iter();
        let grave = told.filter(|entry| entry["level"] == "SEVERE" || entry["level"] == "WARNING");
        grave.map(|entry| entry["message"].as_str().expect("a text").to_owned()).collect()
    }

    /// A picture of the page as PNG, of its first so many lines. The window keeps its height.
    pub fn picture(&self, highest: u32) -> Vec<u8> {
        let size = self.script("return [innerWidth, document.documentElement.scrollHeight]");
        let [width, height]: [u32; 2] = serde_json::from_value(size).expect("two numbers");
        self.resize(width, height.min(highest));
        self.wait(self.client().screenshot())
    }

    /// A command of Chromium's own protocol (CDP).
    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.issue(ToChromium("goog/cdp/execute", json!({"cmd": command, "params": parameters})))
    }

    fn issue(&self, command: ToChromium) -> Value {
        self.wait(self.client().issue_cmd(command))
    }

    fn client(&self) -> &Client {
        self.client.as_ref().expect("it is closed in the end only")
    }

    /// What is done with an element that is there. A page that renews itself may replace it between the
    /// finding and the doing; then it is found again, as a hand would.
    fn with<T>(&self, selector: &str, act: impl AsyncFn(Element) -> Result<T, CmdError>) -> T {
        self.wait(async {
            for _ in 0..RENEWALS {
                let element = self.client().find(Locator::Css(selector)).await?;
                match act(element).await {
                    Err(error) if error.is_stale_element_reference() => {}
                    done => return done,
                }
            }
            act(self.client().find(Locator::Css(selector)).await?).await
        })
    }

    fn wait<T>(&self, future: impl Future<Output = Result<T, CmdError>>) -> T {
        self.bench.wait(future).unwrap_or_else(|error| panic!("{error}"))
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // The driver ends the browser with its session; killed, it would not.
        let closed = self.client.take().map(|client| self.bench.wait(client.close()));
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        if !std::thread::panicking() {
            assert!(matches!(closed, Some(Ok(()))), "{closed:?}");
        }
    }
}

/// A command that chromedriver has beside the standard ones: what follows the session in its path, and
/// what is posted.
#[derive(Debug)]
struct ToChromium(&'static str, Value);

impl WebDriverCompatibleCommand for ToChromium {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.0))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.1.to_string()))
    }
}

/// It says on stdout where it listens.
fn port_of(driver: &mut Child) -> u16 {
    let lines = BufReader::new(driver.stdout.take().expect("a pipe")).lines();
    let mut port = lines.map_while(Result::ok).filter_map(|line| {
        line.split_once("started successfully on port ")?.1.trim_end_matches('.').parse().ok()
    });
    port.next().expect("chromedriver tells its port")
}

fn capabilities() -> Value {
    let arguments = [
        "--headless=new",
        // Root may not have a sandbox; what is shown is our own.
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--no-proxy-server",
        &format!(
            "--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
        ),
    ];
    json!({
        "browserName": "chrome",
        "goog:chromeOptions": {"args": arguments},
        "goog:loggingPrefs": {"browser": "ALL"},
        "timeouts": {"script": 20_000, "pageLoad": 20_000},
    })
}
