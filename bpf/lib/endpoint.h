/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Endpoints: address to endpoint, and endpoint id to all that delivery needs. */
#pragma once

#include "kernel.h"

struct endpoint_key {
	union {
		struct {
			__be32 ip4;
			__u32 pad[3];
		};
		__be32 ip6[4];
	};
	__u8 family;
	__u8 pad5[3];
};
ABI_SIZE(struct endpoint_key, 20);

#define ENDPOINT_HOST 1 /* an address of the node itself */

struct endpoint_info {
	__u32 ifindex;
	__u16 lxc_id;
	__u16 flags;
	__u32 sec_id;
	__u32 pad;
};
ABI_SIZE(struct endpoint_info, 16);

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65535);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, struct endpoint_key);
	__type(value, struct endpoint_info);
} cilium_lxc SEC(".maps");

#define OPTION_DROP_NOTIFICATION 1
#define OPTION_TRACE_NOTIFICATION 2
#define OPTION_CONNTRACK_ACCOUNTING 4
#define OPTION_POLICY_VERDICT_NOTIFICATION 8
#define OPTION_DEBUG 16

struct lxc_row {
	__u32 ifindex; /* 0: no such endpoint */
	__u32 sec_id;
	__u32 ingress_prefixes; /* bit n of 1..16: some entry has a port prefix of n bits; bit 0: one has a protocol and no port */
	__u32 egress_prefixes;
	__u32 options;
	__u8 mac[6];
	__u8 node_mac[6];
	__u32 pad[2];
};
ABI_SIZE(struct lxc_row, 40);

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, struct lxc_row);
} cilium_lxc_by_id SEC(".maps");

/* NULL when there is no such endpoint. */
static __always_inline struct lxc_row *endpoint_row(__u32 lxc_id)
{
	struct lxc_row *row = bpf_map_lookup_elem(&cilium_lxc_by_id, &lxc_id);

	return row && row->ifindex ? row : NULL;
}

static __always_inline __u32 endpoint_options(__u32 lxc_id)
{
	struct lxc_row *row = endpoint_row(lxc_id);

	return row ? row->options : 0;
}
