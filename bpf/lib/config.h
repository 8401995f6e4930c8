/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What programs are told by the agent: the endpoint's by a map, the node's by a constant in .rodata that is written before the
 * program is verified, so that branches which a configuration does not take are not in the loaded program. */
#pragma once

#include "kernel.h"

/* One endpoint, by its device. An address that the endpoint does not have is zero. */
struct lxc_config {
	__u32 lxc_id;
	__u32 ifindex; /* the endpoint's device on the node */
	__be32 ipv4;
	__be32 ipv6[4];
	__u32 enable_ipv4;
	__u32 enable_ipv6;
	__be32 router_ipv4;
	__be32 router_ipv6[4];
	__u8 mac[6]; /* the pod's end */
	__u8 node_mac[6]; /* the node's end: what the pod takes for its gateway */
	__u32 host_ifindex; /* cilium_host */
};
ABI_SIZE(struct lxc_config, 72);

#define EP_CONFIG_ROWS 65536

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, EP_CONFIG_ROWS);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32); /* index of the endpoint's device on the node, modulo the array's size */
	__type(value, struct lxc_config);
} cilium_ep_config SEC(".maps");

/* NULL if no endpoint is behind the device. An array's lookup is part of the program; a hash's is a call, of a quarter of what a packet
 * costs here. */
static __always_inline const struct lxc_config *endpoint_config(__u32 ifindex)
{
	__u32 row = ifindex % EP_CONFIG_ROWS;
	const struct lxc_config *config = bpf_map_lookup_elem(&cilium_ep_config, &row);

	return config && config->ifindex == ifindex ? config : NULL;
}

/* bpf_host.o: the node's devices. */
struct host_config {
	__u32 enable_ipv4;
	__u32 enable_ipv6;
	__u32 enable_masquerade;
	__be32 masq_ipv4;
	__be32 masq_ipv6[4];
	__be32 native_cidr4; /* what is reached without masquerading */
	__be32 native_mask4;
	__be32 native_cidr6[4];
	__be32 native_mask6[4];
	__be32 pod_cidr4;
	__be32 pod_mask4;
	__be32 pod_cidr6[4];
	__be32 pod_mask6[4];
	__u32 host_ifindex;
};
ABI_SIZE(struct host_config, 116);
