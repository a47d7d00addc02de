//! The pages, in a real Chromium.

#[path = "peers/chromium.rs"]
mod chromium;
#[path = "peers/daemon.rs"]
mod daemon;
#[path = "peers/lab.rs"]
mod lab;
#[path = "peers/program.rs"]
mod program;

#[test]
fn smoke() {
    let estate = daemon::Daemon::start("[[domain]]\nname=\"a.test\"\n[[resolver]]\nname=\"r\"\nservers=[\"127.0.0.1:1\"]\n");
    let browser = chromium::Chromium::start();
    browser.goto(&format!("http://{}/", estate.address()));
    println!("{:?} {:?} {:?}", browser.complaints(), browser.title(), browser.all("a", "href"));
    browser.resize(360, 700);
    println!("{}", browser.script("return [innerWidth, document.documentElement.scrollWidth, window.isSecureContext]"));
    browser.prefer(chromium::Colours::Dark);
    println!("{}", browser.script("return matchMedia('(prefers-color-scheme: dark)').matches"));
    browser.press(fantoccini::key::Key::Tab);
    println!("{}", browser.script("return document.activeElement.outerHTML"));
    browser.forbid_scripts();
    browser.goto(&format!("http://{}:{}/", chromium::ELSEWHERE, estate.address().port()));
    println!("{}", browser.script("return [window.isSecureContext, document.title]"));
    println!("{}", browser.picture().len());
    println!("{:?}", browser.complaints());
}
