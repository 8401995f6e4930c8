// SPDX-License-Identifier: Apache-2.0
//! The verifier accepts every program, with less work than a committed limit.

use std::os::fd::AsFd;

use libbpf_rs::{ObjectBuilder, PrintLevel};

#[test]
fn load() {
    libbpf_rs::set_print(Some((PrintLevel::Warn, |_, text| {
        let n = text.len();
        println!("{}", &text[n.saturating_sub(6000)..])
    })));
    for (name, bytes) in [("lxc", bpf::LXC), ("host", bpf::HOST)] {
        let mut open = ObjectBuilder::default().open_memory(bytes).unwrap();
        for mut map in open.maps_mut() {
            let n = map.name().to_string_lossy().into_owned();
            if n.starts_with("cilium_") {
                map.set_pin_path(format!("/tmp/w/bpffs/{name}-{n}")).unwrap();
            }
            if n.contains(".rodata") {
                map.initial_value_mut().unwrap().fill(1);
            }
            if n.contains("_ct") || n.contains("frag") {
                map.set_max_entries(1024).unwrap();
            }
        }
        let object = open.load().unwrap_or_else(|e| panic!("{name}: {e:?}"));
        for program in object.progs() {
            let info = libbpf_rs::query::ProgInfoIter::default().find(|i| {
                libbpf_rs::Program::id_from_fd(program.as_fd()).unwrap() == i.id
            });
            println!("{:?} {:?}", program.name(), info.map(|i| (i.verified_insns, i.xlated_prog_insns.len())));
        }
    }
}
