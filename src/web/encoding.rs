//! Which encoding a client accepts (RFC 9110 section 12.5.3).

use axum::http::HeaderMap;
use axum::http::header::ACCEPT_ENCODING;

use crate::metrics::Encoding;

/// Gzip where the client accepts it and does not prefer the plain text.
pub(super) fn accepted(headers: &HeaderMap) -> Encoding {
    let lines = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    let (mut gzip, mut identity, mut any) = (None, None, None);
    for (coding, quality) in lines.flat_map(|line| line.split(',')).map(coding_and_quality) {
        match coding.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => gzip = Some(quality),
            "identity" => identity = Some(quality),
            "*" => any = Some(quality),
            _ => {}
        }
    }
    let gzip = gzip.or(any).unwrap_or(0.0);
    if gzip > 0.0 && gzip >= identity.unwrap_or(0.0) { Encoding::Gzip } else { Encoding::Plain }
}

/// A quality that is no number between 0 and 1 is taken as a refusal.
fn coding_and_quality(item: &str) -> (&str, f32) {
    let (coding, parameters) = item.split_once(';').unwrap_or((item, ""));
    let weight = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    let quality = weight.map_or(1.0, |value| value.parse().unwrap_or(0.0));
    (coding.trim(), if (0.0..=1.0).contains(&quality) { quality } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Encoding {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT_ENCODING, line.parse().expect("a header"));
        }
        accepted(&headers)
    }

    #[test]
    fn gzip_where_it_is_accepted_and_not_worse_liked() {
        for lines in
            [&["gzip"][..], &["deflate, GZIP;q=0.5"], &["br", "gzip"], &["*"], &["x-gzip; Q=1.0"]]
        {
            assert_eq!(of(lines), Encoding::Gzip, "{lines:?}");
        }
        for lines in [
            &[][..],
            &["deflate"],
            &["gzip;q=0"],
            &["gzip;q=0, *"],
            &["*;q=0"],
            &["gzip;q=x"],
            &["gzip;q=NaN"],
            &["gzip;q=0.2, identity;q=0.8"],
            &["gzipped"],
        ] {
            assert_eq!(of(lines), Encoding::Plain, "{lines:?}");
        }
    }
}
