//! A dashboard as its file has it, and what it asks.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// A file of `dashboards/`.
pub struct Board {
    /// Its name without `.json`.
    pub name: String,
    pub text: String,
    pub json: Value,
}

/// A query of a dashboard.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Dashboard, panel or other place, and which of its queries.
    pub place: String,
    pub query: String,
    /// What a series is called; empty where nothing is drawn of it.
    pub legend: String,
}

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All of them, by name.
pub fn all() -> Vec<Board> {
    let files = std::fs::read_dir(root().join("dashboards")).expect("dashboards/");
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    paths.iter().map(|path| Board::read(path)).collect()
}

impl Board {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("UTF-8");
        let json = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
        Self { name: name.to_owned(), text, json }
    }

    /// What it draws; rows are left out.
    pub fn panels(&self) -> impl Iterator<Item = &Value> {
        list(&self.json["panels"]).iter().filter(|panel| panel["type"] != "row")
    }

    /// Its variables.
    pub fn variables(&self) -> &[Value] {
        list(&self.json["templating"]["list"])
    }

    /// Its annotations, but for Grafana's own.
    pub fn annotations(&self) -> impl Iterator<Item = &Value> {
        list(&self.json["annotations"]["list"]).iter().filter(|one| one["builtIn"] != 1)
    }

    /// Every `PromQL` expression: of panels and of annotations.
    pub fn asked(&self) -> Vec<Asked> {
        let of_panel = |panel: &Value| -> Vec<Asked> {
            let targets = list(&panel["targets"]).iter();
            let asked = targets.map(|target| {
                let drawn = target["format"] != "table";
                let legend = if drawn { text(&target["legendFormat"]) } else { "" };
                let id = text(&target["refId"]);
                self.query(text(&panel["title"]), id, &target["expr"], legend)
            });
            asked.collect()
        };
        let of_annotation = |one: &Value| {
            let legend = format!("{} {}", text(&one["titleFormat"]), text(&one["textFormat"]));
            self.query(text(&one["name"]), "annotation", &one["expr"], &legend)
        };
        self.panels().flat_map(of_panel).chain(self.annotations().map(of_annotation)).collect()
    }

    fn query(&self, place: &str, which: &str, query: &Value, legend: &str) -> Asked {
        let place = format!("{} / {place} / {which}", self.name);
        Asked { place, query: text(query).to_owned(), legend: legend.to_owned() }
    }
}

/// A list; empty where there is none.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A text; empty where there is none.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
