/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Out of the node past its stack, which takes no packet that says to be from one of its own addresses. */
#pragma once

#include "kernel.h"
#include "drop.h"
#include "lb.h"
#include "packet.h"
#include "trace.h"

/* skb->mark of what has its addresses for the network already. */
#define MARK_TRANSLATED 0x0c1a0300

#define FAMILY_INET 2 /* as the kernel numbers them */
#define FAMILY_INET6 10

/* Where a packet leaves: a device, and whose Ethernet address there. */
struct way {
	__u32 ifindex;
	struct bpf_redir_neigh next;
};

static __always_inline int way_reason(long answer)
{
	if (answer == BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return DROP_TOO_BIG;
	/* bpf_redirect_neigh finds a neighbour that is not there yet. */
	return answer == BPF_FIB_LKUP_RET_SUCCESS || answer == BPF_FIB_LKUP_RET_NO_NEIGH ? 0 : DROP_NO_ROUTE;
}

GLOBAL int way_of4(struct __sk_buff *skb, struct way *way)
{
	struct bpf_fib_lookup fib = { .family = FAMILY_INET };
	struct iphdr ip;
	int reason;

	if (!way || bpf_skb_load_bytes(skb, L3_OFFSET, &ip, sizeof(ip)))
		return DROP_INVALID;
	fib.ifindex = skb->ifindex;
	fib.tos = ip.tos;
	fib.l4_protocol = ip.protocol;
	/* Without a length the kernel asks the device alone, and is generous; that of many segments says nothing. */
	if (lb_config.dsr && !skb->gso_size)
		fib.tot_len = bpf_ntohs(ip.tot_len);
	fib.ipv4_src = ip.saddr;
	fib.ipv4_dst = ip.daddr;
	reason = way_reason(bpf_fib_lookup(skb, &fib, sizeof(fib), 0));
	if (reason)
		return reason;
	way->ifindex = fib.ifindex;
	/* A route over IPv4 may have a gateway of the other family. */
	way->next.nh_family = fib.family;
	copy_ip6(way->next.ipv6_nh, fib.ipv6_dst);
	return 0;
}

GLOBAL int way_of6(struct __sk_buff *skb, struct way *way)
{
	struct bpf_fib_lookup fib = { .family = FAMILY_INET6 };
	struct ipv6hdr ip;
	int reason;

	if (!way || bpf_skb_load_bytes(skb, L3_OFFSET, &ip, sizeof(ip)))
		return DROP_INVALID;
	fib.ifindex = skb->ifindex;
	fib.l4_protocol = ip.nexthdr;
	if (lb_config.dsr && !skb->gso_size)
		fib.tot_len = sizeof(ip) + bpf_ntohs(ip.payload_len);
	copy_ip6(fib.ipv6_src, ip.saddr.in6_u.u6_addr32);
	copy_ip6(fib.ipv6_dst, ip.daddr.in6_u.u6_addr32);
	reason = way_reason(bpf_fib_lookup(skb, &fib, sizeof(fib), 0));
	if (reason)
		return reason;
	way->ifindex = fib.ifindex;
	way->next.nh_family = fib.family;
	copy_ip6(way->next.ipv6_nh, fib.ipv6_dst);
	return 0;
}

static __always_inline int leave(struct __sk_buff *skb, struct packet *packet, struct way *way)
{
	metrics_count(REASON_FORWARDED, DIRECTION_EGRESS, skb->len);
	if (unlikely(packet->monitor))
		trace(skb, packet, TRACE_TO_STACK);
	skb->mark = MARK_TRANSLATED;
	return bpf_redirect_neigh(way->ifindex, &way->next, sizeof(way->next), 0);
}

/* By its way, one hop less. Returns the program's result. */
GLOBAL int leave4(struct __sk_buff *skb, struct packet *packet, struct way *way)
{
	struct iphdr *ip = (void *)(long)skb->data + L3_OFFSET;
	__u32 check;

	if (!packet || !way)
		return TC_ACT_SHOT;
	if ((void *)(ip + 1) > (void *)(long)skb->data_end || ip->ttl <= 1)
		return drop(skb, packet, DROP_INVALID);
	check = (__u32)ip->check + bpf_htons(0x0100);
	ip->check = check + (check >= 0xffff);
	ip->ttl--;
	return leave(skb, packet, way);
}

GLOBAL int leave6(struct __sk_buff *skb, struct packet *packet, struct way *way)
{
	struct ipv6hdr *ip = (void *)(long)skb->data + L3_OFFSET;

	if (!packet || !way)
		return TC_ACT_SHOT;
	if ((void *)(ip + 1) > (void *)(long)skb->data_end || ip->hop_limit <= 1)
		return drop(skb, packet, DROP_INVALID);
	bpf_csum_update(skb, (__u16)~bpf_htons(0x0001));
	ip->hop_limit--;
	return leave(skb, packet, way);
}

/* Out again, to a backend or to whom asked one. Returns the program's result. */
GLOBAL int pass_on(struct __sk_buff *skb, struct packet *packet, __u32 family)
{
	struct way way = {};
	int reason;

	if (!packet)
		return TC_ACT_SHOT;
	reason = family == FAMILY_V6 ? way_of6(skb, &way) : way_of4(skb, &way);
	if (unlikely(reason))
		return drop(skb, packet, reason);
	return family == FAMILY_V6 ? leave6(skb, packet, &way) : leave4(skb, packet, &way);
}
