/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Policy: an endpoint's entries, looked up by tuple space. */
#pragma once

#include "kernel.h"
#include "endpoint.h"

struct policy_key {
	__u32 sec_label; /* 0: any */
	__be16 dport; /* masked to port_prefix bits */
	__u8 protocol; /* 0: any */
	__u8 egress;
	__u8 port_prefix; /* bits of dport that count; 0: any port */
	__u8 pad[3];
};
ABI_SIZE(struct policy_key, 12);

struct policy_entry {
	__be16 proxy_port;
	__u16 pad;
	__u32 rule;
	__u64 packets; /* verdicts: new flows and revalidations; a flow's packets are in its conntrack entry */
	__u64 bytes;
};
ABI_SIZE(struct policy_entry, 24);

struct policy_map {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct policy_key);
	__type(value, struct policy_entry);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 65536);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32); /* lxc_id */
	__array(values, struct policy_map);
} cilium_ep_to_policy SEC(".maps");
