// SPDX-License-Identifier: Apache-2.0
//! Addresses that are known only once an end stands, in manifests: `${server.ipv4}`, `${host.ipv6}`.

use std::net::IpAddr;

use super::probe::Family;

/// An end's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placeholder<'a> {
    /// The end.
    pub end: &'a str,
    /// Which of its addresses: the first of this family.
    pub family: Family,
}

/// Puts addresses in the places of their names.
///
/// # Errors
/// What is wrong with a name, or what `address` says.
pub fn resolve(
    text: &str,
    address: impl Fn(Placeholder<'_>) -> Result<IpAddr, String>,
) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}').ok_or("a \"${\" has no \"}\"")?;
        let (end, family) = name
            .rsplit_once('.')
            .and_then(|(end, family)| match family {
                "ipv4" => Some((end, Family::Ipv4)),
                "ipv6" => Some((end, Family::Ipv6)),
                _ => None,
            })
            .ok_or_else(|| format!("\"${{{name}}}\" is not of the form ${{END.ipv4}} or ${{END.ipv6}}"))?;
        out.push_str(before);
        out.push_str(&address(Placeholder { end, family })?.to_string());
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(of: Placeholder<'_>) -> Result<IpAddr, String> {
        match (of.end, of.family) {
            ("a", Family::Ipv4) => Ok([10, 0, 0, 1].into()),
            ("a", Family::Ipv6) => Ok(std::net::Ipv6Addr::LOCALHOST.into()),
            (end, _) => Err(format!("there is no {end}")),
        }
    }

    #[test]
    fn addresses_take_the_places_of_names() {
        assert_eq!(resolve("x: ${a.ipv4}, ${a.ipv6}$", address).unwrap(), "x: 10.0.0.1, ::1$");
        assert_eq!(resolve("$a {}", address).unwrap(), "$a {}");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for (text, word) in [
            ("${a.ipv4", "no \"}\""),
            ("${a}", "form"),
            ("${a.mac}", "form"),
            ("${b.ipv4}", "there is no b"),
            ("${", "no \"}\""),
        ] {
            let error = resolve(text, address).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
