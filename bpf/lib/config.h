/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the loader writes into .rodata before the program is verified: branches that a configuration does not take are not
 * in the loaded program. */
#pragma once

#include "kernel.h"

/* bpf_lxc.o: one endpoint. An address that the endpoint does not have is zero. */
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
