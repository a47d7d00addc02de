//! One HTML file that can be mailed: no script, no reference to anything outside of it.

use super::document::{Cell, Document, Item, Remedy, Section, State, Table};
use super::human::finding::{WHAT_TO_DO, windows_shows};
use super::human::hops::short_duration;
use super::text::escaped;

/// A document as a page of its own.
pub fn html(document: &Document) -> String {
    let mut page = Page { out: String::new() };
    page.markup(HEAD);
    page.text(&document.verdict);
    page.markup("</title>\n<style>\n");
    page.markup(include_str!("colors.css"));
    page.markup(include_str!("html.css"));
    page.markup("</style>\n</head>\n<body>\n<main>\n");
    page.header(document);
    for section in &document.sections {
        page.section(section);
    }
    page.markup("<footer><p>");
    page.text(&document.closing);
    page.markup("</p>\n<p>kmswatch ");
    page.markup(env!("CARGO_PKG_VERSION"));
    page.markup("</p></footer>\n</main>\n</body>\n</html>\n");
    page.out
}

/// Should an escape ever be forgotten, the browser still loads and runs nothing.
const HEAD: &str = r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta name="color-scheme" content="light dark"/>
<title>"#;

struct Page {
    out: String,
}

impl Page {
    /// Markup is what this program was built with: nothing foreign is `'static`.
    fn markup(&mut self, markup: &'static str) {
        self.out.push_str(markup);
    }

    /// Anything else.
    fn text(&mut self, text: &str) {
        self.out.push_str(&escaped(text));
    }

    /// `<p>text</p>`
    fn element(&mut self, open: &'static str, text: &str, close: &'static str) {
        self.markup(open);
        self.text(text);
        self.markup(close);
    }

    fn header(&mut self, document: &Document) {
        let state = State::from(document.status);
        self.markup("<header class=\"banner ");
        self.markup(state.as_str());
        self.markup("\">\n<p class=\"what\">");
        self.text(&document.title);
        self.markup(" · ");
        let started = document.started.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
        self.element("<time>", &started, "</time></p>\n<h1>");
        self.mark(state);
        self.element(" ", &document.verdict, "</h1>\n</header>\n");
    }

    fn section(&mut self, section: &Section) {
        self.markup("<section>\n<h2>");
        if let Some(state) = section.state {
            self.mark(state);
            self.markup(" ");
        }
        self.element("", &section.title, "</h2>\n");
        for sentence in &section.text {
            self.element("<p>", sentence, "</p>\n");
        }
        for item in &section.items {
            self.item(item);
        }
        for table in &section.tables {
            self.table(table);
        }
        self.markup("</section>\n");
    }

    fn item(&mut self, item: &Item) {
        self.markup("<article class=\"");
        self.markup(item.state.as_str());
        self.markup("\">\n<h3><span class=\"state\"><span aria-hidden=\"true\">");
        self.markup(item.state.mark());
        self.markup("</span> ");
        self.markup(item.state.as_str());
        self.element("</span> ", &item.name, "");
        if let Some(took) = item.took {
            self.element(" <small>", &short_duration(took), "</small>");
        }
        self.element("</h3>\n<p>", &item.text, "</p>\n");
        if let Some(code) = item.client_error {
            self.element("<p class=\"shown\">", &windows_shows(code), "</p>\n");
        }
        for sentence in &item.details {
            self.element("<p>", sentence, "</p>\n");
        }
        for table in &item.evidence {
            self.table(table);
        }
        self.remedy(item);
        self.markup("</article>\n");
    }

    fn remedy(&mut self, item: &Item) {
        let parts = item.remedy();
        if parts.is_empty() {
            return;
        }
        self.element("<h4>", WHAT_TO_DO, "</h4>\n");
        for part in parts {
            match part {
                Remedy::Say(sentence) => self.element("<p>", sentence, "</p>\n"),
                Remedy::Run(commands) => {
                    self.markup("<pre><code>");
                    for command in commands {
                        self.element("", command, "\n");
                    }
                    self.markup("</code></pre>\n");
                }
            }
        }
    }

    fn table(&mut self, table: &Table) {
        if table.rows.is_empty() {
            return;
        }
        self.element(
            "<div class=\"table\"><table>\n<caption>",
            &table.caption,
            "</caption>\n<thead><tr>",
        );
        for header in &table.headers {
            self.element("<th scope=\"col\">", header, "</th>");
        }
        self.markup("</tr></thead>\n<tbody>\n");
        for row in &table.rows {
            self.row(row, &table.headers);
        }
        self.markup("</tbody>\n</table></div>\n");
    }

    /// On a narrow screen a row is a block, and its cells say their header.
    fn row(&mut self, row: &[Cell], headers: &[String]) {
        self.markup("<tr>");
        for (column, (cell, header)) in row.iter().zip(headers).enumerate() {
            let (open, close) = match column {
                0 => ("<th scope=\"row\"", "</th>"),
                _ => ("<td", "</td>"),
            };
            self.markup(open);
            self.element(" data-header=\"", header, "\"><span>");
            self.cell(cell);
            self.markup("</span>");
            self.markup(close);
        }
        self.markup("</tr>\n");
    }

    fn cell(&mut self, cell: &Cell) {
        if let Some(state) = cell.state {
            self.mark(state);
            self.markup(" ");
        }
        for (at, line) in cell.lines.iter().enumerate() {
            self.markup(if at == 0 { "" } else { "<br/>" });
            self.text(line);
        }
    }

    /// A shape, which says its word to those who do not see it.
    fn mark(&mut self, state: State) {
        self.markup("<span class=\"mark ");
        self.markup(state.as_str());
        self.markup("\" role=\"img\" aria-label=\"");
        self.markup(state.as_str());
        self.markup("\">");
        self.markup(state.mark());
        self.markup("</span>");
    }
}
