/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* In the node's name: pods that speak to the world, and backends on other nodes that are asked for a client. */
#pragma once

#include "kernel.h"
#include "drop.h"
#include "masquerade.h"
#include "ranges.h"
#include "rewrite.h"
#include "snat.h"

/* What comes back to the node's address for a pod, or for a client of a frontend whose backend is on another node, gets theirs:
 * MASQUERADE_TO_POD. Otherwise 0 or the reason of a drop. What is not understood is the node's own affair. */
GLOBAL int unmasquerade(struct __sk_buff *skb)
{
	struct snat_packet masked = { .key.direction = SNAT_IN };

	switch (skb->protocol) {
	case bpf_htons(ETH_P_IP):
		if (is_unmapped4(skb, SNAT_IN) || snat_parse4(skb, &masked))
			return 0;
		break;
	case bpf_htons(ETH_P_IPV6):
		if (is_unmapped6(skb, SNAT_IN) || snat_parse6(skb, &masked))
			return 0;
		break;
	default:
		return 0;
	}
	return masquerade_in(skb, &masked);
}

/* To a backend on another node, whose answers must come back here: from the node's address. 0 or the reason of a drop. */
GLOBAL int snat_service(struct __sk_buff *skb, __u32 family)
{
	struct snat_packet masked = { .key.direction = SNAT_OUT };
	struct nat_end to = {};
	int reason, i;

	if (family == FAMILY_V6) {
		for (i = 0; i < 4; i++)
			to.addr[i] = host_config.masq_ipv6[i];
		reason = host_config.masq_ipv6[0] ? snat_parse6(skb, &masked) : DROP_NO_CONFIGURATION;
	} else {
		to.addr[0] = host_config.masq_ipv4;
		reason = host_config.masq_ipv4 ? snat_parse4(skb, &masked) : DROP_NO_CONFIGURATION;
	}
	return reason ? reason : masquerade_out(skb, &masked, &to);
}

/* masked: empty, and to: empty, as the caller's, since both families' would not fit the stack. 0 or the reason of a drop. */
static __always_inline int masquerade4(struct __sk_buff *skb, struct snat_packet *masked, struct nat_end *to)
{
	__be32 addr[2]; /* source, destination */
	int reason;

	if (!host_config.masq_ipv4 ||
	    bpf_skb_load_bytes(skb, L3_OFFSET + offsetof(struct iphdr, saddr), addr, sizeof(addr)))
		return 0;
	to->addr[0] = host_config.masq_ipv4;
	if (is_masquerade4(addr[0]))
		return is_unmapped4(skb, SNAT_OUT) || snat_parse4(skb, masked) || !node_needs_mapping(masked) ?
			       0 :
			       masquerade_out(skb, masked, to);
	if (!is_pod_address4(addr[0]) || is_pod_address4(addr[1]) || is_native4(addr[1]))
		return 0;
	reason = snat_parse4(skb, masked);
	return reason ? reason : masquerade_out(skb, masked, to);
}

static __always_inline int masquerade6(struct __sk_buff *skb, struct snat_packet *masked, struct nat_end *to)
{
	__be32 addr[8]; /* source, destination */
	int reason, i;

	if (!host_config.masq_ipv6[0] ||
	    bpf_skb_load_bytes(skb, L3_OFFSET + offsetof(struct ipv6hdr, saddr), addr, sizeof(addr)))
		return 0;
	for (i = 0; i < 4; i++)
		to->addr[i] = host_config.masq_ipv6[i];
	if (is_masquerade6(addr))
		return is_unmapped6(skb, SNAT_OUT) || snat_parse6(skb, masked) || !node_needs_mapping(masked) ?
			       0 :
			       masquerade_out(skb, masked, to);
	if (!is_pod_address6(addr) || is_pod_address6(addr + 4) || is_native6(addr + 4))
		return 0;
	reason = snat_parse6(skb, masked);
	return reason ? reason : masquerade_out(skb, masked, to);
}

/* What the stack has fragmented on its way to a backend, which is asked in the node's name. As masquerade4. */
static __always_inline int snat_piece4(struct __sk_buff *skb, struct snat_packet *masked, struct nat_end *to)
{
	int reason;

	if (skb->protocol != bpf_htons(ETH_P_IP) || !host_config.masq_ipv4)
		return DROP_NO_CONFIGURATION;
	to->addr[0] = host_config.masq_ipv4;
	reason = snat_parse4(skb, masked);
	return reason ? reason : masquerade_out(skb, masked, to);
}
