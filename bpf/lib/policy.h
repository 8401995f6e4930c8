/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Policy: an endpoint's entries, looked up by tuple space. */
#pragma once

#include "kernel.h"
#include "drop.h"
#include "endpoint.h"
#include "ipcache.h"

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
	/* Sizes: clang keeps the types of an inner map as forward declarations only. */
	__uint(key_size, sizeof(struct policy_key));
	__uint(value_size, sizeof(struct policy_entry));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 65536);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32); /* lxc_id */
	__array(values, struct policy_map);
} cilium_ep_to_policy SEC(".maps");

#define MATCH_NONE 0
#define MATCH_EXACT 1 /* peer and port or protocol */
#define MATCH_L3_ONLY 2
#define MATCH_L4_ONLY 3
#define MATCH_ALL 4

/* One question to one endpoint's policy. */
struct policy_query {
	__u32 peer;
	__be16 dport;
	__u8 protocol;
	__u8 egress;
	__u32 bytes; /* of the packet that asks, for the entry's counters */
	__u32 rule; /* answer: the rule that allows */
	__u8 match; /* answer */
	__u8 pad[3];
};

static __always_inline bool has_ports(__u8 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP;
}

static __always_inline int policy_hit(struct policy_query *query, struct policy_entry *entry, __u8 match)
{
	__sync_fetch_and_add(&entry->packets, 1);
	__sync_fetch_and_add(&entry->bytes, query->bytes);
	query->rule = entry->rule;
	query->match = match;
	/* There is no proxy to redirect to; what needs one must not pass without it. */
	return entry->proxy_port ? DROP_NO_CONFIGURATION : 0;
}

/* The reason names the layer that did not match: an identity outside the cluster, a port or protocol if the endpoint has
 * entries with any in this direction, else the peer. */
static __always_inline int policy_denial(const struct policy_query *query, __u32 prefixes)
{
	if (identity_is_outside(query->peer))
		return DROP_POLICY_CIDR;
	return prefixes ? DROP_POLICY_L4 : DROP_POLICY_L3;
}

/* 0 if the endpoint's policy allows, else the reason. The first hit wins; any hit allows. */
GLOBAL int policy_lookup(__u32 lxc_id, struct policy_query *query)
{
	struct policy_entry *entry;
	struct lxc_row *row;
	__u32 prefixes;
	void *policy;
	int pass;

	if (!query)
		return DROP_NO_CONFIGURATION;
	row = endpoint_row(lxc_id);
	policy = bpf_map_lookup_elem(&cilium_ep_to_policy, &lxc_id);
	if (!row || !policy)
		return DROP_NO_CONFIGURATION;
	prefixes = query->egress ? row->egress_prefixes : row->ingress_prefixes;

	for (pass = 0; pass < 2; pass++) {
		struct policy_key key = {
			.sec_label = pass ? 0 : query->peer,
			.protocol = query->protocol,
			.egress = query->egress,
		};
		int bits;

		if (has_ports(query->protocol) && prefixes > 1) {
			for (bits = 16; bits > 0; bits--) {
				if (!(prefixes & (1U << bits)))
					continue;
				key.dport = query->dport & bpf_htons((__u16)(0xffff << (16 - bits)));
				key.port_prefix = bits;
				entry = bpf_map_lookup_elem(policy, &key);
				if (entry)
					return policy_hit(query, entry, pass ? MATCH_L4_ONLY : MATCH_EXACT);
			}
			key.dport = 0;
			key.port_prefix = 0;
		}
		if (prefixes & 1) {
			entry = bpf_map_lookup_elem(policy, &key);
			if (entry)
				return policy_hit(query, entry, pass ? MATCH_L4_ONLY : MATCH_EXACT);
		}
		key.protocol = 0;
		entry = bpf_map_lookup_elem(policy, &key);
		if (entry)
			return policy_hit(query, entry, pass ? MATCH_ALL : MATCH_L3_ONLY);
	}
	query->match = MATCH_NONE;
	query->rule = 0;
	return policy_denial(query, prefixes);
}
