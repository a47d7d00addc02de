//! As much of `PromQL` as it takes to see what a query reads.

/// A series selector.
#[derive(Debug, PartialEq, Eq)]
pub struct Selector<'a> {
    pub metric: &'a str,
    pub matchers: Vec<Matcher<'a>>,
}

/// One matcher of a selector.
#[derive(Debug, PartialEq, Eq)]
pub struct Matcher<'a> {
    pub label: &'a str,
    pub operator: &'a str,
    pub value: &'a str,
}

/// Every selector of a query; a metric without braces has no matchers.
pub fn selectors(query: &str) -> Vec<Selector<'_>> {
    let (mut rest, mut found) = (query, Vec::new());
    while let Some(start) = ["kmswatch_", "process_"].iter().filter_map(|p| rest.find(p)).min() {
        let from = &rest[start..];
        let end = from.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let (metric, after) = from.split_at(end.unwrap_or(from.len()));
        let inside = after.strip_prefix('{').and_then(|after| after.split_once('}'));
        // No value holds a brace or a comma.
        let (inside, after) = inside.unwrap_or(("", after));
        found.push(Selector { metric, matchers: inside.split(", ").filter_map(matcher).collect() });
        rest = after;
    }
    found
}

fn matcher(text: &str) -> Option<Matcher<'_>> {
    let (label, rest) = text.split_at(text.find(['=', '!'])?);
    let (operator, value) = rest.split_at(rest.find('"')?);
    Some(Matcher { label, operator, value: value.trim_matches('"') })
}

/// Every label of a clause such as `by (…)`, for each such clause.
pub fn clauses<'a>(query: &'a str, word: &'a str) -> impl Iterator<Item = Vec<&'a str>> {
    query.match_indices(word).filter_map(move |(at, _)| {
        let inside = query[at + word.len()..].strip_prefix(" (")?.split_once(')')?.0;
        Some(inside.split(", ").collect())
    })
}

/// What stands in `{{…}}`.
pub fn placeholders(legend: &str) -> impl Iterator<Item = &str> {
    legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next())
}

#[test]
fn a_query_is_seen_as_it_is() {
    let query = r#"sum by (le, x) (rate(kmswatch_a{job=~"$job", b!="c"}[5m])) or process_z"#;
    let matcher = |label, operator, value| Matcher { label, operator, value };
    let matchers = vec![matcher("job", "=~", "$job"), matcher("b", "!=", "c")];
    let expected = [
        Selector { metric: "kmswatch_a", matchers },
        Selector { metric: "process_z", matchers: Vec::new() },
    ];
    assert_eq!(selectors(query), expected);
    assert_eq!(clauses(query, "by").collect::<Vec<_>>(), [["le", "x"]]);
    assert_eq!(placeholders("{{a}}: {{b}}").collect::<Vec<_>>(), ["a", "b"]);
}
