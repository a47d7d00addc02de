//! The config as a user meets it: the shipped sample, and files of any size or none.

use std::fs;
use std::path::Path;

use kmswatch::config::{load, parse, show};

const SAMPLE: &str = include_str!("../config/kmswatch.toml");
/// Tests do not depend on the resolver of the machine.
const RESOLVER: &str = "[[resolver]]\nname = \"r\"\nservers = [\"192.0.2.53\"]\n";

#[test]
fn the_shipped_sample_is_what_a_config_of_one_domain_means() {
    let sample = parse(&format!("{SAMPLE}{RESOLVER}"), "kmswatch.toml").expect("the sample");
    let least = format!("{RESOLVER}[[domain]]\nname = \"contoso.com\"\n");
    let least = parse(&least, "least.toml").expect("a config");
    assert_eq!(show(&sample.plan), show(&least.plan));
    assert_eq!(sample.warnings, Vec::<String>::new());
}

#[test]
fn every_example_of_the_sample_works() {
    let directory = tempfile::tempdir().expect("a directory");
    let is_example = |line: &&str| line.starts_with('#') && !line.starts_with("# ") && *line != "#";
    assert!(SAMPLE.lines().filter(is_example).count() > 20, "the sample has lost its examples");
    let with_examples: Vec<&str> = SAMPLE
        .lines()
        // Set above, at its default; and source is of one family.
        .filter(|line| !["include = []", "send_to = \"none\"", "urls = []"].contains(line))
        .filter(|line| !line.starts_with("#source"))
        .map(|line| if is_example(&line) { &line[1..] } else { line })
        .collect();
    let file = directory.path().join("kmswatch.toml");
    fs::write(&file, with_examples.join("\n")).expect("written");
    fs::write(directory.path().join("domains.txt"), "munich.example\n").expect("written");
    fs::create_dir(directory.path().join("conf.d")).expect("a directory");
    fs::write(directory.path().join("conf.d/a.toml"), "[[domain]]\nname = \"a\"\n")
        .expect("written");
    let loaded = load(&file).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.warnings, Vec::<String>::new());
    let names: Vec<_> = loaded.plan.domains.iter().map(|domain| domain.name.as_str()).collect();
    assert_eq!(
        names,
        ["a", "berlin.contoso.com", "contoso.com", "lab.contoso.com", "munich.example"]
    );
    assert_eq!(loaded.plan.exceptions.len(), 1);
    assert_eq!(loaded.plan.alert.urls.len(), 1);
    assert_eq!(loaded.plan.hosts.len(), 1);
}

#[test]
fn endless_and_missing_files_are_refused() {
    let errors = |file: &str| load(Path::new(file)).expect_err(file).to_string();
    assert_eq!(
        errors("/dev/zero"),
        "/dev/zero:1:1: cannot read \"/dev/zero\": it is no plain file; name a file that this user \
         may read"
    );
    assert_eq!(
        errors("/"),
        "/:1:1: cannot read \"/\": it is no plain file; name a file that this user may read"
    );
}

#[test]
fn much_nonsense_is_refused_in_bounded_time() {
    for nonsense in ["[a\n", "x\n", "x = [\n", "[[", "a = {", "x = \"\"\"\n", "\u{fc}", "a = 1\n"] {
        let text = nonsense.repeat(20_000);
        let errors = parse(&text, "k.toml").expect_err(nonsense);
        assert!(errors.iter().all(|error| error.place.line > 0), "{nonsense:?}");
    }
}

#[test]
fn a_pipe_is_no_config_and_nobody_waits_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("kmswatch.toml");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("coreutils");
    assert!(made.success());
    let errors = load(&pipe).expect_err("it is no plain file").to_string();
    assert!(errors.contains("it is no plain file"), "{errors}");
}
