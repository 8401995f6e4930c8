/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Masquerade: pods that speak to the world speak with the node's address. */
#pragma once

#include "kernel.h"
#include "conntrack.h"
#include "drop.h"
#include "ipv4.h"
#include "ipv6.h"
#include "runtime.h"

#define SNAT_OUT 0 /* key: the packet as the pod sends it; entry: the source it leaves with */
#define SNAT_IN 1 /* key: the packet as the remote answers it; entry: the destination it is for */

struct snat_key4 {
	__be32 saddr;
	__be32 daddr;
	__be16 sport;
	__be16 dport;
	__u8 protocol;
	__u8 direction;
	__u8 pad[2];
};
ABI_SIZE(struct snat_key4, 16);

struct snat_key6 {
	__be32 saddr[4];
	__be32 daddr[4];
	__be16 sport;
	__be16 dport;
	__u8 protocol;
	__u8 direction;
	__u8 pad[2];
};
ABI_SIZE(struct snat_key6, 40);

/* addr: 4 words; an IPv4 address is the first. Begins as a nat_end does. */
struct snat_entry {
	__be32 addr[4];
	__be16 port;
	__u16 pad;
	__u32 lifetime; /* CLOCK_MONOTONIC seconds */
	__u32 tick;
	__u32 pad2;
};
ABI_SIZE(struct snat_entry, 32);

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, struct snat_key4);
	__type(value, struct snat_entry);
} cilium_snat_v4_external SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, struct snat_key6);
	__type(value, struct snat_entry);
} cilium_snat_v6_external SEC(".maps");

static __always_inline __u32 snat_lifetime(__u8 protocol)
{
	return protocol == IPPROTO_TCP ? CT_LIFETIME_TCP : CT_LIFETIME_ANY;
}

#define SNAT_PORT_MIN 1024
#define SNAT_PORTS (65536 - SNAT_PORT_MIN)
#define SNAT_ATTEMPTS 32

/* A packet on its way out or in, in one form for both families: an IPv4 address is the first of 4 words. For an ICMP error the
 * key is of the connection that it is about, as that connection's packets in the error's direction have it. */
struct snat_packet {
	struct snat_key6 key;
	__u32 l4_offset;
	__u32 inner_offset; /* of an ICMP error: the IP header inside */
	__u32 inner_l4_offset;
	__u8 family;
	__u8 protocol; /* the packet's own: key has that of the connection */
	__u8 shape;
	__u8 later_fragment; /* no L4 header in it */
	__u8 inner_echo; /* the inner packet's id stands where a port would not */
	__u8 inner_only; /* an error of a router: the end that it is about is not its own sender or receiver */
	__u8 pad[2];
};

static __always_inline void snat_key4_of(struct snat_key4 *key4, const struct snat_key6 *key)
{
	key4->saddr = key->saddr[0];
	key4->daddr = key->daddr[0];
	key4->sport = key->sport;
	key4->dport = key->dport;
	key4->protocol = key->protocol;
	key4->direction = key->direction;
	key4->pad[0] = key4->pad[1] = 0;
}

/* The key of the other direction: what the remote answers to addr and port; or, from an answer's key, what the owner of addr and port sends. */
static __always_inline void snat_reverse(struct snat_key6 *reverse, const struct snat_key6 *key, const __be32 *addr, __be16 port)
{
	if (key->direction == SNAT_OUT) {
		copy_ip6(reverse->saddr, key->daddr);
		copy_ip6(reverse->daddr, addr);
		reverse->sport = key->dport;
		reverse->dport = port;
	} else {
		copy_ip6(reverse->saddr, addr);
		copy_ip6(reverse->daddr, key->saddr);
		reverse->sport = port;
		reverse->dport = key->sport;
	}
	reverse->protocol = key->protocol;
	reverse->direction = !key->direction;
	reverse->pad[0] = reverse->pad[1] = 0;
}

/* The conntrack entry of a connection with these ends; *swapped: its source is end [1]. */
static __noinline struct ct_entry *snat_connection(const struct snat_key6 *key, __u8 family, bool *swapped)
{
	union {
		struct ct_key4 of4;
		struct ct_key6 of6;
	} ct = {};

	if (family == FAMILY_V6) {
		*swapped = ct_key6_fill(&ct.of6, key->saddr, key->daddr, key->sport, key->dport, key->protocol);
		return ct_find6(&ct.of6);
	}
	*swapped = ct_key4_fill(&ct.of4, key->saddr[0], key->daddr[0], key->sport, key->dport, key->protocol);
	return ct_find4(&ct.of4);
}

/* Fills the packet from what is behind its addresses. Returns 0 or the reason of a drop. */
GLOBAL int snat_parse4(struct __sk_buff *skb, struct snat_packet *packet)
{
	struct iphdr ip, inner;
	struct l4 l4 = {};
	int reason;

	if (!packet || bpf_skb_load_bytes(skb, L3_OFFSET, &ip, sizeof(ip)) || ip.ihl < 5)
		return DROP_INVALID;
	packet->family = FAMILY_V4;
	packet->protocol = packet->key.protocol = ip.protocol;
	packet->l4_offset = L3_OFFSET + ip.ihl * 4;
	packet->later_fragment = !!(ip.frag_off & IP_FRAGMENT_OFFSET);
	packet->key.saddr[0] = ip.saddr;
	packet->key.daddr[0] = ip.daddr;
	reason = l4_of_packet4(skb, &ip, packet->l4_offset, &l4);
	if (reason)
		return reason;
	packet->shape = l4.shape;
	packet->key.sport = l4.sport;
	packet->key.dport = l4.dport;
	if (l4.shape != SHAPE_ERROR)
		return 0;
	packet->inner_offset = packet->l4_offset + sizeof(struct icmphdr);
	reason = inner4_load(skb, packet->inner_offset, &inner, &l4);
	if (reason)
		return reason;
	packet->inner_l4_offset = packet->inner_offset + inner.ihl * 4;
	packet->inner_echo = inner.protocol == IPPROTO_ICMP;
	packet->key.protocol = inner.protocol;
	packet->inner_only = packet->key.direction == SNAT_OUT ? ip.saddr != inner.daddr : ip.daddr != inner.saddr;
	packet->key.saddr[0] = inner.daddr;
	packet->key.daddr[0] = inner.saddr;
	packet->key.sport = l4.dport;
	packet->key.dport = l4.sport;
	return 0;
}

/* As snat_parse4, of the packet that an ICMPv6 error is about. */
GLOBAL int snat_parse_inner6(struct __sk_buff *skb, struct snat_packet *packet)
{
	struct ip6_walk walk = {};
	struct ipv6hdr inner;
	struct l4 l4 = {};
	int reason;

	if (!packet)
		return DROP_INVALID;
	reason = inner6_load(skb, packet->inner_offset, &inner, &walk, &l4);
	if (reason)
		return reason;
	packet->inner_l4_offset = walk.offset;
	packet->inner_echo = walk.protocol == IPPROTO_ICMPV6;
	packet->key.protocol = walk.protocol;
	/* Until here the key has the addresses of the error itself. */
	packet->inner_only = packet->key.direction == SNAT_OUT ?
				     !ip6_is_equal(packet->key.saddr, inner.daddr.in6_u.u6_addr32) :
				     !ip6_is_equal(packet->key.daddr, inner.saddr.in6_u.u6_addr32);
	copy_ip6(packet->key.saddr, inner.daddr.in6_u.u6_addr32);
	copy_ip6(packet->key.daddr, inner.saddr.in6_u.u6_addr32);
	packet->key.sport = l4.dport;
	packet->key.dport = l4.sport;
	return 0;
}

GLOBAL int snat_parse_outer6(struct __sk_buff *skb, struct snat_packet *packet)
{
	struct ip6_walk walk = { .offset = L3_OFFSET + sizeof(struct ipv6hdr) };
	struct ipv6hdr ip;
	struct l4 l4 = {};
	int reason;

	if (!packet || bpf_skb_load_bytes(skb, L3_OFFSET, &ip, sizeof(ip)))
		return DROP_INVALID;
	walk.protocol = ip.nexthdr;
	reason = ip6_walk(skb, &walk);
	if (reason)
		return reason;
	packet->family = FAMILY_V6;
	packet->protocol = packet->key.protocol = walk.protocol;
	packet->l4_offset = walk.offset;
	packet->later_fragment = !!(walk.fragment & IP6_FRAGMENT_OFFSET);
	copy_ip6(packet->key.saddr, ip.saddr.in6_u.u6_addr32);
	copy_ip6(packet->key.daddr, ip.daddr.in6_u.u6_addr32);
	reason = l4_of_packet6(skb, &ip, &walk, &l4);
	if (reason)
		return reason;
	packet->shape = l4.shape;
	packet->key.sport = l4.sport;
	packet->key.dport = l4.dport;
	packet->inner_offset = walk.offset + sizeof(struct icmp6hdr);
	return 0;
}

/* One after the other: their frames together would leave callers no stack. */
static __always_inline int snat_parse6(struct __sk_buff *skb, struct snat_packet *packet)
{
	int reason = snat_parse_outer6(skb, packet);

	return reason || likely(packet->shape != SHAPE_ERROR) ? reason : snat_parse_inner6(skb, packet);
}
