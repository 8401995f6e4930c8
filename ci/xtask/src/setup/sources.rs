// SPDX-License-Identifier: Apache-2.0
//! apt's own configuration of where packages come from, in both of its formats (sources.list(5)). Only from there is
//! known which mirror this machine is to use.

/// One place that packages come from: each stanza or line gives one per URI and suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The mirror, as apt is told it.
    pub uri: String,
    /// The suite, for example `bookworm-updates`.
    pub suite: String,
    /// The components, for example `main`.
    pub components: Vec<String>,
    /// The key ring that signs it, if one is named.
    pub signed_by: Option<String>,
}

/// Reads a file of the format that its name's ending says: `.sources` is deb822, anything else one line per source.
/// What is switched off, holds only source packages, or is not understood, is left out, as apt's own reading of the
/// same file is what counts.
pub fn parse(file_name: &str, text: &str) -> Vec<Source> {
    if file_name.ends_with(".sources") { deb822(text) } else { one_line(text) }
}

/// The source of the distribution's own archive: it has the component `main` and the suite of the release itself.
pub fn of_release<'a>(sources: &'a [Source], codename: &str) -> Option<&'a Source> {
    sources.iter().find(|s| s.suite == codename && s.components.iter().any(|c| c == "main"))
}

/// The same place with another component, in the format deb822.
pub fn stanza(source: &Source, component: &str) -> String {
    let mut text =
        format!("Types: deb\nURIs: {}\nSuites: {}\nComponents: {component}\n", source.uri, source.suite);
    if let Some(keys) = &source.signed_by {
        text.push_str(&format!("Signed-By: {keys}\n"));
    }
    text
}

fn one_line(text: &str) -> Vec<Source> {
    text.lines().filter_map(one_source).collect()
}

/// `deb [option=value …] uri suite component…`
fn one_source(line: &str) -> Option<Source> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let rest = line.strip_prefix("deb")?;
    let rest = rest.strip_prefix([' ', '\t'])?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(inside) => inside.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_ascii_whitespace().map(String::from);
    let signed_by = options
        .split_ascii_whitespace()
        .find_map(|option| option.strip_prefix("signed-by=").map(String::from));
    Some(Source { uri: words.next()?, suite: words.next()?, components: words.collect(), signed_by })
}

fn deb822(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut stanza = Vec::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            // A comment does not end a stanza.
        } else if line.trim().is_empty() {
            sources.extend(of_stanza(&stanza));
            stanza.clear();
        } else {
            add_line(&mut stanza, line);
        }
    }
    sources
}

fn add_line(stanza: &mut Vec<(String, String)>, line: &str) {
    if line.starts_with([' ', '\t']) {
        if let Some((_, value)) = stanza.last_mut() {
            value.push('\n');
            value.push_str(line.trim_end());
        }
    } else if let Some((key, value)) = line.split_once(':') {
        stanza.push((key.trim().to_ascii_lowercase(), value.trim().into()));
    }
}

fn of_stanza(stanza: &[(String, String)]) -> Vec<Source> {
    let field = |key: &str| stanza.iter().find(|(k, _)| k == key).map_or("", |(_, value)| value.as_str());
    let words = |key| field(key).split_ascii_whitespace();
    let off =
        matches!(field("enabled").to_ascii_lowercase().as_str(), "no" | "false" | "0" | "off" | "without");
    if off || !words("types").any(|kind| kind == "deb") {
        return Vec::new();
    }
    // An embedded key keeps its line breaks: they are part of it.
    let signed_by = Some(field("signed-by")).filter(|keys| !keys.is_empty());
    words("uris")
        .flat_map(|uri| words("suites").map(move |suite| (uri, suite)))
        .map(|(uri, suite)| Source {
            uri: uri.into(),
            suite: suite.into(),
            components: words("components").map(String::from).collect(),
            signed_by: signed_by.map(String::from),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deb822_stanza_gives_one_source_per_uri_and_suite() {
        let text = "# first\nTypes: deb deb-src\n# a snapshot\nURIs: http://mirror.test/debian\n\
            Suites: bookworm bookworm-updates\nComponents: main contrib\nSigned-By: /usr/share/keyrings/a.gpg\n\n\
            Types: deb\nURIs: http://mirror.test/security\nSuites: bookworm-security\nComponents: main\n";
        let sources = parse("debian.sources", text);
        assert_eq!(sources.len(), 3);
        assert_eq!(sources[1].suite, "bookworm-updates");
        assert_eq!(sources[1].components, ["main", "contrib"]);
        assert_eq!(sources[0].signed_by.as_deref(), Some("/usr/share/keyrings/a.gpg"));
        assert_eq!(sources[2].signed_by, None);
        assert_eq!(of_release(&sources, "bookworm"), Some(&sources[0]));
    }

    #[test]
    fn a_stanza_that_is_off_or_has_only_sources_is_left_out() {
        let off = "Enabled: no\nTypes: deb\nURIs: http://a.test\nSuites: x\nComponents: main\n";
        let source = "Types: deb-src\nURIs: http://a.test\nSuites: x\nComponents: main\n";
        assert_eq!(parse("a.sources", off), []);
        assert_eq!(parse("a.sources", source), []);
    }

    #[test]
    fn an_embedded_key_keeps_its_lines() {
        let text = "Types: deb\nURIs: http://a.test\nSuites: x\nComponents: main\nSigned-By:\n -----BEGIN\n .\n abc\n";
        let sources = parse("a.sources", text);
        assert!(stanza(&sources[0], "non-free").ends_with("Signed-By: \n -----BEGIN\n .\n abc\n"));
        assert_eq!(parse("b.sources", &stanza(&sources[0], "main")), sources);
    }

    #[test]
    fn one_line_sources_are_read_with_their_options_and_comments() {
        let text = "# deb http://no.test x main\ndeb-src http://no.test x main\n\
            deb [arch=amd64 signed-by=/k.gpg] http://a.test/debian bookworm main contrib # more\n\
            deb\thttp://b.test jammy main\n";
        let sources = parse("sources.list", text);
        assert_eq!(sources.len(), 2);
        assert_eq!(sources[0].signed_by.as_deref(), Some("/k.gpg"));
        assert_eq!(sources[0].components, ["main", "contrib"]);
        assert_eq!((sources[1].uri.as_str(), sources[1].suite.as_str()), ("http://b.test", "jammy"));
    }

    #[test]
    fn torn_lines_are_left_out_and_never_panic() {
        for text in [
            "deb",
            "deb ",
            "deb [",
            "deb [signed-by=",
            "deb []",
            "deb http://a.test",
            "debian x y z",
            ":",
            " x",
        ] {
            assert_eq!(parse("sources.list", text), [], "{text:?}");
            assert_eq!(parse("a.sources", text), [], "{text:?}");
        }
    }

    #[test]
    fn the_release_itself_is_chosen_not_its_updates_nor_another_vendor() {
        let text = "deb http://vendor.test stable main\ndeb http://a.test bookworm-updates main\n\
            deb http://a.test bookworm contrib\ndeb http://a.test bookworm main\n";
        let sources = parse("x.list", text);
        assert_eq!(of_release(&sources, "bookworm"), Some(&sources[3]));
        assert_eq!(of_release(&sources, "trixie"), None);
    }
}
