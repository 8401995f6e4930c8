/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Out of the node past its stack, which takes no packet that says to be from one of its own addresses. */
#pragma once

#include "kernel.h"
#include "drop.h"
#include "ipv4.h"
#include "ipv6.h"
#include "packet.h"
#include "trace.h"

/* skb->mark of what has its addresses for the network already. */
#define MARK_TRANSLATED 0x0c1a0300
/* And of pieces that are to get the node's address when they leave. */
#define MARK_PIECES 0x0c1a0400

/* Not the program's result: the packet does not fit its way, whose MTU it now has. */
#define PASS_TOO_BIG -2

#define FAMILY_INET 2 /* as the kernel numbers them */
#define FAMILY_INET6 10

/* Where a packet leaves: a device, and whose Ethernet address there. */
struct way {
	__u32 ifindex;
	__u32 mtu; /* if the packet is too big for it */
	struct bpf_redir_neigh next;
};

static __always_inline int way_reason(long answer)
{
	if (answer == BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return DROP_TOO_BIG;
	/* bpf_redirect_neigh finds a neighbour that is not there yet. */
	return answer == BPF_FIB_LKUP_RET_SUCCESS || answer == BPF_FIB_LKUP_RET_NO_NEIGH ? 0 : DROP_NO_ROUTE;
}

/* A packet of many segments: how long each is on the wire. headers: in front of the transport's. 0: nobody knows. */
static __always_inline __u32 segment_length(struct __sk_buff *skb, __u32 headers, __u8 protocol)
{
	__u8 words;

	if (protocol == IPPROTO_UDP)
		return headers + sizeof(struct udphdr) + skb->gso_size;
	if (protocol != IPPROTO_TCP || bpf_skb_load_bytes(skb, L3_OFFSET + headers + 12, &words, 1))
		return 0;
	return headers + (words >> 4) * 4 + skb->gso_size;
}

static __always_inline __u16 length_on_wire(__u32 length)
{
	return length > 0xffff ? 0xffff : length;
}

/* Without a length the kernel asks the device alone, and is generous. */
GLOBAL int way_of4(struct __sk_buff *skb, const struct packet *packet, struct way *way)
{
	struct bpf_fib_lookup fib = { .family = FAMILY_INET };
	struct iphdr ip;
	int reason;

	if (!packet || !way || bpf_skb_load_bytes(skb, L3_OFFSET, &ip, sizeof(ip)))
		return DROP_INVALID;
	fib.ifindex = skb->ifindex;
	fib.tos = ip.tos;
	fib.l4_protocol = ip.protocol;
	/* An answer that routers may fragment, and the stack would not take, goes as far as the device lets it. */
	if (!packet->reverse || ip.frag_off & IP_DONT_FRAGMENT)
		fib.tot_len = skb->gso_size ? length_on_wire(segment_length(skb, ip.ihl * 4, ip.protocol)) : bpf_ntohs(ip.tot_len);
	fib.ipv4_src = ip.saddr;
	fib.ipv4_dst = ip.daddr;
	reason = way_reason(bpf_fib_lookup(skb, &fib, sizeof(fib), 0));
	if (reason) {
		way->mtu = fib.mtu_result;
		return reason;
	}
	way->ifindex = fib.ifindex;
	/* A route over IPv4 may have a gateway of the other family. */
	way->next.nh_family = fib.family;
	copy_ip6(way->next.ipv6_nh, fib.ipv6_dst);
	return 0;
}

/* Behind the header there may be destination options, as direct server return has. */
static __always_inline __u32 segment_length6(struct __sk_buff *skb, const struct ipv6hdr *ip)
{
	__u8 next[2];

	if (ip->nexthdr != IPPROTO_DSTOPTS)
		return segment_length(skb, sizeof(*ip), ip->nexthdr);
	if (bpf_skb_load_bytes(skb, L3_OFFSET + sizeof(*ip), next, sizeof(next)))
		return 0;
	return segment_length(skb, sizeof(*ip) + (next[1] + 1) * 8, next[0]);
}

GLOBAL int way_of6(struct __sk_buff *skb, const struct packet *packet, struct way *way)
{
	struct bpf_fib_lookup fib = { .family = FAMILY_INET6 };
	struct ipv6hdr ip;
	int reason;

	if (!packet || !way || bpf_skb_load_bytes(skb, L3_OFFSET, &ip, sizeof(ip)))
		return DROP_INVALID;
	fib.ifindex = skb->ifindex;
	fib.l4_protocol = ip.nexthdr;
	fib.tot_len = length_on_wire(skb->gso_size ? segment_length6(skb, &ip) : sizeof(ip) + bpf_ntohs(ip.payload_len));
	copy_ip6(fib.ipv6_src, ip.saddr.in6_u.u6_addr32);
	copy_ip6(fib.ipv6_dst, ip.daddr.in6_u.u6_addr32);
	reason = way_reason(bpf_fib_lookup(skb, &fib, sizeof(fib), 0));
	if (reason) {
		way->mtu = fib.mtu_result;
		return reason;
	}
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

/* Out again, to a backend or to whom asked one. Returns the program's result, or PASS_TOO_BIG. */
GLOBAL int pass_on(struct __sk_buff *skb, struct packet *packet, __u32 family)
{
	struct way way = {};
	int reason;

	if (!packet)
		return TC_ACT_SHOT;
	reason = family == FAMILY_V6 ? way_of6(skb, packet, &way) : way_of4(skb, packet, &way);
	if (unlikely(reason == DROP_TOO_BIG)) {
		packet->mtu = way.mtu;
		return PASS_TOO_BIG;
	}
	if (unlikely(reason))
		return drop(skb, packet, reason);
	return family == FAMILY_V6 ? leave6(skb, packet, &way) : leave4(skb, packet, &way);
}
