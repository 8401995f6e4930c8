/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* IPv6: from a packet to its conntrack key and back to a connection. */
#pragma once

#include "kernel.h"
#include "conntrack.h"
#include "drop.h"
#include "fragments.h"
#include "l4.h"
#include "packet.h"
#include "verdict.h"

#ifndef IPPROTO_HOPOPTS
#define IPPROTO_HOPOPTS 0
#define IPPROTO_ROUTING 43
#define IPPROTO_FRAGMENT 44
#define IPPROTO_DSTOPTS 60
#endif

/* RFC 8200 names six; more before an upper layer is nobody's honest packet. */
#define IP6_HEADERS_MAX 8

#define IP6_FRAGMENT_OFFSET bpf_htons(0xfff8)
#define IP6_MORE_FRAGMENTS bpf_htons(0x0001)

struct ip6_fragment {
	__u8 next;
	__u8 reserved;
	__be16 offset;
	__be32 id;
};

/* Where the chain of extension headers has led. */
struct ip6_walk {
	__u32 offset;
	__be32 fragment_id;
	__be16 fragment; /* offset and flag of the fragment header */
	__u8 protocol;
	__u8 pad;
};

static __always_inline bool ip6_is_extension(__u8 protocol)
{
	return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING || protocol == IPPROTO_DSTOPTS ||
	       protocol == IPPROTO_AH || protocol == IPPROTO_FRAGMENT;
}

/* From the header at walk->offset, of type walk->protocol, to the first that is not an extension. Returns 0 or a reason. */
GLOBAL int ip6_walk(struct __sk_buff *skb, struct ip6_walk *walk)
{
	struct ip6_fragment header;
	int i;

	if (!walk)
		return DROP_INVALID;
	for (i = 0; i < IP6_HEADERS_MAX; i++) {
		if (!ip6_is_extension(walk->protocol))
			return 0;
		if (bpf_skb_load_bytes(skb, walk->offset, &header, sizeof(header)))
			return DROP_INVALID;
		if (walk->protocol == IPPROTO_FRAGMENT) {
			walk->fragment = header.offset & (IP6_FRAGMENT_OFFSET | IP6_MORE_FRAGMENTS);
			walk->fragment_id = header.id;
			walk->offset += sizeof(header);
		} else if (walk->protocol == IPPROTO_AH) {
			walk->offset += (header.reserved + 2) * 4;
		} else {
			walk->offset += (header.reserved + 1) * 8;
		}
		walk->protocol = header.next;
		/* What follows in a later fragment is not a header. */
		if (walk->fragment & IP6_FRAGMENT_OFFSET)
			return 0;
	}
	return ip6_is_extension(walk->protocol) ? DROP_INVALID_EXTENSION_HEADER : 0;
}

static __always_inline int icmp6_load(struct __sk_buff *skb, __u32 offset, struct l4 *l4)
{
	struct icmp6hdr icmp;

	if (bpf_skb_load_bytes(skb, offset, &icmp, sizeof(icmp)))
		return DROP_CT_INVALID_HEADER;
	l4->sport = l4->dport = 0;
	if (icmp.icmp6_type == ICMPV6_ECHO_REQUEST) {
		l4->shape = SHAPE_ECHO_REQUEST;
		l4->sport = icmp.icmp6_identifier;
	} else if (icmp.icmp6_type == ICMPV6_ECHO_REPLY) {
		l4->shape = SHAPE_ECHO_REPLY;
		l4->dport = icmp.icmp6_identifier;
	} else if (icmp.icmp6_type < ICMPV6_ECHO_REQUEST) {
		l4->shape = SHAPE_ERROR;
	}
	return 0;
}

static __always_inline int l4_load6(struct __sk_buff *skb, __u32 offset, __u8 protocol, struct l4 *l4)
{
	switch (protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		return l4_load(skb, offset, protocol, l4);
	case IPPROTO_ICMPV6:
		return icmp6_load(skb, offset, l4);
	default:
		return DROP_CT_UNKNOWN_PROTOCOL;
	}
}

/* Ports of a packet that may be a fragment. */
static __always_inline int l4_of_packet6(struct __sk_buff *skb, const struct ipv6hdr *ip, const struct ip6_walk *walk,
					 struct l4 *l4)
{
	struct frag_key6 key = { .id = walk->fragment_id, .protocol = walk->protocol };
	struct frag_ports *known;
	int reason;

	copy_ip6(key.saddr, ip->saddr.in6_u.u6_addr32);
	copy_ip6(key.daddr, ip->daddr.in6_u.u6_addr32);
	if (walk->fragment & IP6_FRAGMENT_OFFSET) {
		known = bpf_map_lookup_elem(&cilium_frag6, &key);
		if (!known)
			return DROP_FRAGMENT;
		l4->sport = known->sport;
		l4->dport = known->dport;
		return 0;
	}
	reason = l4_load6(skb, walk->offset, walk->protocol, l4);
	if (reason || !(walk->fragment & IP6_MORE_FRAGMENTS))
		return reason;
	/* The ports are l4's first words. */
	return bpf_map_update_elem(&cilium_frag6, &key, l4, BPF_ANY) ? DROP_FRAGMENT : 0;
}

/* The packet that an ICMPv6 error is about: its addresses, ports, protocol, and where that begins. */
static __always_inline int inner6_load(struct __sk_buff *skb, __u32 offset, struct ipv6hdr *inner, struct ip6_walk *walk,
				       struct l4 *l4)
{
	int reason;

	if (bpf_skb_load_bytes(skb, offset, inner, sizeof(*inner)))
		return DROP_CT_INVALID_HEADER;
	if (inner->version != 6)
		return DROP_INVALID;
	walk->offset = offset + sizeof(*inner);
	walk->protocol = inner->nexthdr;
	reason = ip6_walk(skb, walk);
	if (reason)
		return reason;
	if (walk->fragment & IP6_FRAGMENT_OFFSET)
		return DROP_INVALID;
	if (walk->protocol == IPPROTO_ICMPV6)
		return icmp6_load(skb, walk->offset, l4);
	if (!has_ports(walk->protocol))
		return DROP_CT_UNKNOWN_PROTOCOL;
	return bpf_skb_load_bytes(skb, walk->offset, l4, 4) ? DROP_CT_INVALID_HEADER : 0;
}

/* The key of an ICMPv6 error. Not inlined: its headers and the outer ones do not fit one stack frame. */
GLOBAL int error_key6(struct __sk_buff *skb, struct packet *packet, struct ct_key6 *key, const struct ipv6hdr *ip, __u32 offset)
{
	struct ip6_walk walk = {};
	struct ipv6hdr inner;
	struct l4 l4 = {};
	int reason;

	if (!packet || !key || !ip)
		return DROP_INVALID;
	reason = inner6_load(skb, offset, &inner, &walk, &l4);
	if (reason)
		return reason;
	/* An error goes to the sender of what it is about. */
	if (!ip6_is_equal(inner.saddr.in6_u.u6_addr32, ip->daddr.in6_u.u6_addr32))
		return DROP_INVALID;
	/* A pod reports on what it received; routers report on what passed. */
	if (packet->hook == HOOK_CONTAINER &&
	    !ip6_is_equal(inner.daddr.in6_u.u6_addr32, ip->saddr.in6_u.u6_addr32))
		return DROP_INVALID;
	packet->swapped = ct_key6_fill(key, inner.saddr.in6_u.u6_addr32, inner.daddr.in6_u.u6_addr32, l4.sport, l4.dport,
				       walk.protocol);
	return 0;
}

/* Everything that is not TCP or UDP directly behind the IPv6 header. */
GLOBAL int parse6_slow(struct __sk_buff *skb, struct packet *packet, struct ct_key6 *key)
{
	struct ip6_walk walk = { .offset = L3_OFFSET + sizeof(struct ipv6hdr) };
	struct ipv6hdr ip;
	struct l4 l4 = {};
	int reason;

	if (!packet || !key || bpf_skb_load_bytes(skb, L3_OFFSET, &ip, sizeof(ip)))
		return DROP_INVALID;
	if (ip.version != 6)
		return DROP_INVALID;
	walk.protocol = ip.nexthdr;
	reason = ip6_walk(skb, &walk);
	if (reason)
		return reason;
	packet->protocol = walk.protocol;
	reason = l4_of_packet6(skb, &ip, &walk, &l4);
	if (reason)
		return reason;
	packet->shape = l4.shape;
	packet->tcp_flags = l4.tcp_flags;
	if (l4.shape == SHAPE_ERROR)
		return error_key6(skb, packet, key, &ip, walk.offset + sizeof(struct icmp6hdr));
	packet->swapped = ct_key6_fill(key, ip.saddr.in6_u.u6_addr32, ip.daddr.in6_u.u6_addr32, l4.sport, l4.dport,
				       walk.protocol);
	return 0;
}

/* Fills the key. Returns 0 or the reason of a drop. */
static __always_inline int parse6(struct __sk_buff *skb, struct packet *packet, struct ct_key6 *key)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	struct ipv6hdr *ip = data + L3_OFFSET;
	struct udphdr *ports = (void *)(ip + 1);
	struct tcphdr *tcp = (void *)(ip + 1);

	if ((void *)(ports + 1) > end || ip->version != 6)
		return parse6_slow(skb, packet, key);
	if (ip->nexthdr == IPPROTO_TCP) {
		if ((void *)(tcp + 1) > end)
			return parse6_slow(skb, packet, key);
		packet->tcp_flags = ((__u8 *)tcp)[13];
	} else if (ip->nexthdr != IPPROTO_UDP) {
		return parse6_slow(skb, packet, key);
	}
	packet->protocol = ip->nexthdr;
	packet->swapped = ct_key6_fill(key, ip->saddr.in6_u.u6_addr32, ip->daddr.in6_u.u6_addr32, ports->source,
				       ports->dest, ip->nexthdr);
	return 0;
}

static __always_inline void flow_of_key6(struct flow *flow, const struct ct_key6 *key, bool initiator_is_1)
{
	flow->family = FAMILY_V6;
	flow->protocol = key->protocol;
	if (initiator_is_1) {
		copy_ip6(flow->saddr, key->addr[1]);
		copy_ip6(flow->daddr, key->addr[0]);
		flow->dport = key->port[0];
	} else {
		copy_ip6(flow->saddr, key->addr[0]);
		copy_ip6(flow->daddr, key->addr[1]);
		flow->dport = key->port[1];
	}
}

static __always_inline bool flow_of_error6(struct __sk_buff *skb, struct flow *flow)
{
	flow->family = FAMILY_V6;
	flow->protocol = IPPROTO_ICMPV6;
	return !bpf_skb_load_bytes(skb, L3_OFFSET + offsetof(struct ipv6hdr, saddr), flow->saddr, 16) &&
	       !bpf_skb_load_bytes(skb, L3_OFFSET + offsetof(struct ipv6hdr, daddr), flow->daddr, 16);
}

static __noinline int ct_create6(const struct ct_key6 *key, const struct flow *flow, const struct packet *packet, __u32 bytes)
{
	struct ct_entry created = {};
	struct ct_key6 own = *key;

	ct_entry_begins(&created, flow, packet, bytes);
	return ct_store6(&own, &created) ? DROP_CT_INSERT : 0;
}

/* As judge4. */
GLOBAL int judge6(struct __sk_buff *skb, struct packet *packet, const struct ct_key6 *key, struct ct_entry *entry)
{
	bool initiator_is_1, sender_is_initiator;
	struct flow flow = {};
	int opens = 0, reason;

	if (!packet || !key)
		return DROP_INVALID;
	initiator_is_1 = entry ? entry->flags & CT_INITIATOR_IS_1 : packet->swapped;
	sender_is_initiator = packet_is_from(packet, entry, initiator_is_1);
	if (entry || packet->shape != SHAPE_ERROR)
		flow_of_key6(&flow, key, initiator_is_1);
	else if (!flow_of_error6(skb, &flow))
		return DROP_INVALID;
	if (!entry) {
		opens = ct_may_open(packet);
		if (opens > 0)
			return opens;
	}
	/* The address of its initiator is nobody's. */
	if (entry && entry->flags & CT_LOOPBACK)
		flow.src_lxc_id = entry->src_lxc_id;
	reason = flow_judge(skb, packet, &flow, sender_is_initiator);
	/* An entry stays as it is, of an older epoch, and its next packet asks again. Without it, a packet on its way from the
	 * other end would begin a flow in that direction, which may be permitted, and this one would go on as its answers. */
	if (reason)
		return reason;
	if (opens == CT_STATELESS)
		return 0;
	if (entry) {
		ct_entry_learns(entry, &flow, packet);
		return 0;
	}
	return ct_create6(key, &flow, packet, skb->len);
}
