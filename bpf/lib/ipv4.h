/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* IPv4: from a packet to its conntrack key and back to a connection. */
#pragma once

#include "kernel.h"
#include "conntrack.h"
#include "drop.h"
#include "fragments.h"
#include "l4.h"
#include "packet.h"
#include "verdict.h"

#define IP_DONT_FRAGMENT bpf_htons(0x4000)
#define IP_MORE_FRAGMENTS bpf_htons(0x2000)
#define IP_FRAGMENT_OFFSET bpf_htons(0x1fff)

/* RFC 792; <linux/icmp.h> wants the C library. */
#define ICMP_ECHOREPLY 0
#define ICMP_DEST_UNREACH 3
#define ICMP_SOURCE_QUENCH 4
#define ICMP_REDIRECT 5
#define ICMP_ECHO 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12

struct icmphdr {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be16 id; /* of an echo */
	__be16 sequence;
};

static __always_inline bool icmp4_is_error(__u8 type)
{
	return type == ICMP_DEST_UNREACH || type == ICMP_SOURCE_QUENCH || type == ICMP_REDIRECT ||
	       type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETERPROB;
}

static __always_inline int icmp4_load(struct __sk_buff *skb, __u32 offset, struct l4 *l4)
{
	struct icmphdr icmp;

	if (bpf_skb_load_bytes(skb, offset, &icmp, sizeof(icmp)))
		return DROP_CT_INVALID_HEADER;
	l4->sport = l4->dport = 0;
	if (icmp.type == ICMP_ECHO) {
		l4->shape = SHAPE_ECHO_REQUEST;
		l4->sport = icmp.id;
	} else if (icmp.type == ICMP_ECHOREPLY) {
		l4->shape = SHAPE_ECHO_REPLY;
		l4->dport = icmp.id;
	} else if (icmp4_is_error(icmp.type)) {
		l4->shape = SHAPE_ERROR;
	}
	return 0;
}

static __always_inline int l4_load4(struct __sk_buff *skb, __u32 offset, __u8 protocol, struct l4 *l4)
{
	switch (protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		return l4_load(skb, offset, protocol, l4);
	case IPPROTO_ICMP:
		return icmp4_load(skb, offset, l4);
	default:
		return DROP_CT_UNKNOWN_PROTOCOL;
	}
}

/* Ports of a packet that may be a fragment. */
static __always_inline int l4_of_packet4(struct __sk_buff *skb, const struct iphdr *ip, __u32 offset, struct l4 *l4)
{
	struct frag_key4 key = {
		.saddr = ip->saddr,
		.daddr = ip->daddr,
		.id = ip->id,
		.protocol = ip->protocol,
	};
	struct frag_ports *known;
	int reason;

	if (ip->frag_off & IP_FRAGMENT_OFFSET) {
		known = bpf_map_lookup_elem(&cilium_frag4, &key);
		if (!known)
			return DROP_FRAGMENT;
		l4->sport = known->sport;
		l4->dport = known->dport;
		return 0;
	}
	reason = l4_load4(skb, offset, ip->protocol, l4);
	if (reason || !(ip->frag_off & IP_MORE_FRAGMENTS))
		return reason;
	/* The ports are l4's first words. */
	return bpf_map_update_elem(&cilium_frag4, &key, l4, BPF_ANY) ? DROP_FRAGMENT : 0;
}

/* The packet that an ICMP error is about: its addresses, ports and protocol. */
static __always_inline int inner4_load(struct __sk_buff *skb, __u32 offset, struct iphdr *inner, struct l4 *l4)
{
	if (bpf_skb_load_bytes(skb, offset, inner, sizeof(*inner)))
		return DROP_CT_INVALID_HEADER;
	if (inner->version != 4 || inner->ihl < 5 || inner->frag_off & IP_FRAGMENT_OFFSET)
		return DROP_INVALID;
	offset += inner->ihl * 4;
	/* An error carries 8 bytes of what it is about, not always TCP's flags: those are not of this packet anyway. */
	if (inner->protocol == IPPROTO_ICMP)
		return icmp4_load(skb, offset, l4);
	if (!has_ports(inner->protocol))
		return DROP_CT_UNKNOWN_PROTOCOL;
	return bpf_skb_load_bytes(skb, offset, l4, 4) ? DROP_CT_INVALID_HEADER : 0;
}

/* Everything that is not TCP or UDP in a plain packet: options, fragments, ICMP, headers beyond the linear part. */
GLOBAL int parse4_slow(struct __sk_buff *skb, struct packet *packet, struct ct_key4 *key)
{
	struct iphdr ip, inner;
	struct l4 l4 = {};
	__u32 offset;
	int reason;

	if (!packet || !key || bpf_skb_load_bytes(skb, L3_OFFSET, &ip, sizeof(ip)))
		return DROP_INVALID;
	if (ip.version != 4 || ip.ihl < 5 || bpf_ntohs(ip.tot_len) < ip.ihl * 4)
		return DROP_INVALID;
	offset = L3_OFFSET + ip.ihl * 4;
	packet->protocol = ip.protocol;
	reason = l4_of_packet4(skb, &ip, offset, &l4);
	if (reason)
		return reason;
	packet->shape = l4.shape;
	packet->tcp_flags = l4.tcp_flags;
	if (l4.shape != SHAPE_ERROR) {
		packet->swapped = ct_key4_fill(key, ip.saddr, ip.daddr, l4.sport, l4.dport, ip.protocol);
		return 0;
	}
	reason = inner4_load(skb, offset + sizeof(struct icmphdr), &inner, &l4);
	if (reason)
		return reason;
	/* An error goes to the sender of what it is about. */
	if (inner.saddr != ip.daddr)
		return DROP_INVALID;
	/* A pod reports on what it received; routers report on what passed. */
	if (packet->hook == HOOK_CONTAINER && inner.daddr != ip.saddr)
		return DROP_INVALID;
	packet->swapped = ct_key4_fill(key, inner.saddr, inner.daddr, l4.sport, l4.dport, inner.protocol);
	return 0;
}

/* Fills the key. Returns 0 or the reason of a drop. */
static __always_inline int parse4(struct __sk_buff *skb, struct packet *packet, struct ct_key4 *key)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	struct iphdr *ip = data + L3_OFFSET;
	struct udphdr *ports = (void *)(ip + 1);
	struct tcphdr *tcp = (void *)(ip + 1);

	if ((void *)(ports + 1) > end || *(__u8 *)ip != 0x45 || (ip->frag_off & (IP_MORE_FRAGMENTS | IP_FRAGMENT_OFFSET)))
		return parse4_slow(skb, packet, key);
	if (ip->protocol == IPPROTO_TCP) {
		if ((void *)(tcp + 1) > end)
			return parse4_slow(skb, packet, key);
		packet->tcp_flags = ((__u8 *)tcp)[13];
	} else if (ip->protocol != IPPROTO_UDP) {
		return parse4_slow(skb, packet, key);
	}
	packet->protocol = ip->protocol;
	packet->swapped = ct_key4_fill(key, ip->saddr, ip->daddr, ports->source, ports->dest, ip->protocol);
	return 0;
}

/* The connection that key and packet tell, seen from its initiator. */
static __always_inline void flow_of_key4(struct flow *flow, const struct ct_key4 *key, bool initiator_is_1)
{
	flow->family = FAMILY_V4;
	flow->protocol = key->protocol;
	flow->saddr[0] = initiator_is_1 ? key->addr[1] : key->addr[0];
	flow->daddr[0] = initiator_is_1 ? key->addr[0] : key->addr[1];
	flow->dport = initiator_is_1 ? key->port[0] : key->port[1];
}

/* An error that is about no connection we know is a flow of its own. */
static __always_inline bool flow_of_error4(struct __sk_buff *skb, struct flow *flow)
{
	flow->family = FAMILY_V4;
	flow->protocol = IPPROTO_ICMP;
	return !bpf_skb_load_bytes(skb, L3_OFFSET + offsetof(struct iphdr, saddr), flow->saddr, 4) &&
	       !bpf_skb_load_bytes(skb, L3_OFFSET + offsetof(struct iphdr, daddr), flow->daddr, 4);
}

/* The key is copied: the verifier of Linux 6.1 takes none from the memory that a global function was given. */
static __noinline int ct_create4(const struct ct_key4 *key, const struct flow *flow, const struct packet *packet, __u32 bytes)
{
	struct ct_entry created = {};
	struct ct_key4 own = *key;

	ct_entry_begins(&created, flow, packet, bytes);
	return ct_store4(&own, &created) ? DROP_CT_INSERT : 0;
}

/* No entry, or its verdict is of another epoch. Returns 0 if the packet may pass: packet then says where to, and its
 * connection has an entry of this epoch. entry: of another epoch, or NULL. */
GLOBAL int judge4(struct __sk_buff *skb, struct packet *packet, const struct ct_key4 *key, struct ct_entry *entry)
{
	bool initiator_is_1, sender_is_initiator;
	struct flow flow = {};
	int opens = 0, reason;

	if (!packet || !key)
		return DROP_INVALID;
	initiator_is_1 = entry ? entry->flags & CT_INITIATOR_IS_1 : packet->swapped;
	sender_is_initiator = packet_is_from(packet, entry, initiator_is_1);
	if (entry || packet->shape != SHAPE_ERROR)
		flow_of_key4(&flow, key, initiator_is_1);
	else if (!flow_of_error4(skb, &flow))
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
	return ct_create4(key, &flow, packet, skb->len);
}
