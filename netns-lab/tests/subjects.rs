// SPDX-License-Identifier: Apache-2.0
//! Every subject that this kernel can build is built, reached, taken down, and leaves nothing. Needs root.

use netlink::NetNs;
use netns_lab::lab::Lab;
use netns_lab::subject::{BuildError, build, catalogue};

fn lab() -> Lab {
    Lab::create().expect("the tests of the lab need root")
}

fn namespaces(lab: &str) -> Vec<String> {
    let mut names = NetNs::names().unwrap();
    names.retain(|name| name.starts_with(&format!("{lab}-")));
    names
}

fn builds_or_says_what_is_lacking(name: &str) {
    let lab = lab();
    let (lab_name, dir) = (lab.name().to_owned(), lab.dir().to_owned());
    match build(&lab, name) {
        Ok(built) => {
            assert!(!namespaces(&lab_name).is_empty());
            assert_eq!(built.info().name, name);
            assert!(built.info().mtu >= 1400);
            drop(built);
        }
        Err(BuildError::NotRun(reason)) => assert!(!reason.is_empty()),
        Err(e) => panic!("{name}: {e}"),
    }
    assert_eq!(namespaces(&lab_name), [""; 0], "{name} left namespaces");
    assert!(dir.exists());
    drop(lab);
    assert!(!dir.exists(), "{name} left {}", dir.display());
}

#[test]
fn every_subject_of_the_catalogue_comes_and_goes() {
    for spec in catalogue() {
        builds_or_says_what_is_lacking(&spec.name);
    }
}
