/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Whose addresses a packet has: a pod's of this node, the node's, or one that is reached without masquerading. */
#pragma once

#include "kernel.h"
#include "config.h"
#include "endpoint.h"

extern const volatile struct host_config host_config;

static __always_inline bool is_pod_address4(__be32 addr)
{
	return host_config.pod_mask4 && (addr & host_config.pod_mask4) == host_config.pod_cidr4;
}

static __always_inline bool is_pod_address6(const __be32 *addr)
{
	return host_config.pod_mask6[0] && (addr[0] & host_config.pod_mask6[0]) == host_config.pod_cidr6[0] &&
	       (addr[1] & host_config.pod_mask6[1]) == host_config.pod_cidr6[1] &&
	       (addr[2] & host_config.pod_mask6[2]) == host_config.pod_cidr6[2] &&
	       (addr[3] & host_config.pod_mask6[3]) == host_config.pod_cidr6[3];
}

static __always_inline bool is_native4(__be32 addr)
{
	return host_config.native_mask4 && (addr & host_config.native_mask4) == host_config.native_cidr4;
}

static __always_inline bool is_native6(const __be32 *addr)
{
	return host_config.native_mask6[0] && (addr[0] & host_config.native_mask6[0]) == host_config.native_cidr6[0] &&
	       (addr[1] & host_config.native_mask6[1]) == host_config.native_cidr6[1] &&
	       (addr[2] & host_config.native_mask6[2]) == host_config.native_cidr6[2] &&
	       (addr[3] & host_config.native_mask6[3]) == host_config.native_cidr6[3];
}

static __always_inline bool is_masquerade6(const __be32 *addr)
{
	return host_config.masq_ipv6[0] && addr[0] == host_config.masq_ipv6[0] && addr[1] == host_config.masq_ipv6[1] &&
	       addr[2] == host_config.masq_ipv6[2] && addr[3] == host_config.masq_ipv6[3];
}

static __always_inline bool is_masquerade4(__be32 addr)
{
	return host_config.masq_ipv4 && addr == host_config.masq_ipv4;
}

/* An IPv4 packet's destination, by a load where it is linear, as it mostly is. */
static __always_inline bool destination4(struct __sk_buff *skb, __be32 *daddr)
{
	struct iphdr *ip = (void *)(long)skb->data + L3_OFFSET;

	if (likely((void *)(ip + 1) <= (void *)(long)skb->data_end)) {
		*daddr = ip->daddr;
		return true;
	}
	return !bpf_skb_load_bytes(skb, L3_OFFSET + offsetof(struct iphdr, daddr), daddr, 4);
}

static __always_inline bool destination6(struct __sk_buff *skb, __be32 *daddr)
{
	struct ipv6hdr *ip = (void *)(long)skb->data + L3_OFFSET;

	if (likely((void *)(ip + 1) <= (void *)(long)skb->data_end)) {
		copy_ip6(daddr, ip->daddr.in6_u.u6_addr32);
		return true;
	}
	return !bpf_skb_load_bytes(skb, L3_OFFSET + offsetof(struct ipv6hdr, daddr), daddr, 16);
}

/* 1: its destination is in the pods' range; 0: not; negative: there is none. */
static __noinline int for_pod6(struct __sk_buff *skb)
{
	__be32 daddr[4];

	return destination6(skb, daddr) ? is_pod_address6(daddr) : -1;
}

static __always_inline int for_pod4(struct __sk_buff *skb)
{
	__be32 daddr;

	return destination4(skb, &daddr) ? is_pod_address4(daddr) : -1;
}

/* Is a pod of this node the sender? */
static __noinline bool from_pod6(struct __sk_buff *skb)
{
	__be32 saddr[4];

	return !bpf_skb_load_bytes(skb, L3_OFFSET + offsetof(struct ipv6hdr, saddr), saddr, 16) && is_pod_address6(saddr);
}

static __always_inline bool from_pod4(struct __sk_buff *skb)
{
	struct iphdr *ip = (void *)(long)skb->data + L3_OFFSET;

	return (void *)(ip + 1) <= (void *)(long)skb->data_end && is_pod_address4(ip->saddr);
}

/* Not inlined, as other functions of IPv6 here, for the sake of the callers' frames. */
static __noinline bool for_masquerade6(struct __sk_buff *skb)
{
	__be32 daddr[4];

	return destination6(skb, daddr) && is_masquerade6(daddr);
}

/* Is the packet for the address that the node masquerades with? */
static __always_inline bool for_masquerade(struct __sk_buff *skb)
{
	__be32 daddr;

	if (skb->protocol == bpf_htons(ETH_P_IP))
		return destination4(skb, &daddr) && is_masquerade4(daddr);
	return skb->protocol == bpf_htons(ETH_P_IPV6) && for_masquerade6(skb);
}

/* Is the packet's destination an address of the node? */
GLOBAL int for_node(struct __sk_buff *skb, __u32 family)
{
	struct endpoint_key key = { .family = family };
	struct endpoint_info *info;
	bool there;

	there = family == FAMILY_V6 ? destination6(skb, key.ip6) : destination4(skb, &key.ip4);
	info = bpf_map_lookup_elem(&cilium_lxc, &key);
	return there && info && info->flags & ENDPOINT_HOST;
}
