/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Masquerade: choosing the port, out and back. */
#pragma once

#include "kernel.h"
#include "lb.h"
#include "rewrite.h"
#include "snat.h"

/* Keys and entries are copied: the verifier of Linux 6.1 takes none from the memory that a global function was given. */
static __noinline struct snat_entry *snat_find(const struct snat_key6 *key, __u8 family)
{
	struct snat_key6 key6 = *key;
	struct snat_key4 key4;

	if (family == FAMILY_V6)
		return bpf_map_lookup_elem(&cilium_snat_v6_external, &key6);
	snat_key4_of(&key4, key);
	return bpf_map_lookup_elem(&cilium_snat_v4_external, &key4);
}

/* The entry is made here, where its key is copied anyway: callers have no stack left for one. addr, port: what it holds. */
static __noinline long snat_store(const struct snat_key6 *key, __u8 family, const __be32 *addr, __be16 port, __u64 flags)
{
	struct snat_entry value = {
		.port = port,
		.lifetime = clock_seconds() + snat_lifetime(key->protocol),
		.tick = clock_tick(),
	};
	struct snat_key6 key6 = *key;
	struct snat_key4 key4;

	copy_ip6(value.addr, addr);
	if (family == FAMILY_V6)
		return bpf_map_update_elem(&cilium_snat_v6_external, &key6, &value, flags);
	snat_key4_of(&key4, key);
	return bpf_map_update_elem(&cilium_snat_v4_external, &key4, &value, flags);
}

static __noinline void snat_remove(const struct snat_key6 *key, __u8 family)
{
	struct snat_key6 key6 = *key;
	struct snat_key4 key4;

	if (family == FAMILY_V6) {
		bpf_map_delete_elem(&cilium_snat_v6_external, &key6);
		return;
	}
	snat_key4_of(&key4, key);
	bpf_map_delete_elem(&cilium_snat_v4_external, &key4);
}

/* Does a socket of the node itself have this end? Listening ones count. */
GLOBAL int host_owns_port(struct __sk_buff *skb, const struct snat_key6 *answer, __u32 family)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *socket;
	__u32 size;

	if (!answer || (answer->protocol != IPPROTO_TCP && answer->protocol != IPPROTO_UDP))
		return 0;
	if (family == FAMILY_V6) {
		copy_ip6(tuple.ipv6.saddr, answer->saddr);
		copy_ip6(tuple.ipv6.daddr, answer->daddr);
		tuple.ipv6.sport = answer->sport;
		tuple.ipv6.dport = answer->dport;
		size = sizeof(tuple.ipv6);
	} else {
		tuple.ipv4.saddr = answer->saddr[0];
		tuple.ipv4.daddr = answer->daddr[0];
		tuple.ipv4.sport = answer->sport;
		tuple.ipv4.dport = answer->dport;
		size = sizeof(tuple.ipv4);
	}
	if (answer->protocol == IPPROTO_TCP)
		socket = bpf_skc_lookup_tcp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	else
		socket = bpf_sk_lookup_udp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!socket)
		return 0;
	bpf_sk_release(socket);
	return 1;
}

/* Is nobody using this mapping any more? A pod's lives as long as its connection; the node's own connections are not tracked.
 * original: the key of its owner's packets. */
static __always_inline bool snat_is_dead(const struct snat_key6 *answer, const struct snat_entry *entry,
					 const struct snat_key6 *original, __u8 family)
{
	struct ct_entry *connection;
	__u32 now = clock_seconds();
	bool swapped;

	if ((__s32)(entry->lifetime - now) < 0)
		return true;
	if (ip6_is_equal(entry->addr, answer->daddr))
		return false;
	connection = snat_connection(original, family, &swapped);
	return !connection || (__s32)(connection->lifetime - now) < 0 || ct_is_closed(connection);
}

/* A mapping that nobody uses any more loses its other half. False: it is in use. */
static __noinline bool snat_evict(const struct snat_key6 *answer, const struct snat_entry *entry, __u8 family)
{
	struct snat_key6 original = {};

	snat_reverse(&original, answer, entry->addr, entry->port);
	if (!snat_is_dead(answer, entry, &original, family))
		return false;
	snat_remove(&original, family);
	return true;
}

/* Takes the answer's key for the sender of original. False if another has it. */
GLOBAL int snat_claim(const struct snat_key6 *answer, const struct snat_key6 *original, __u32 family)
{
	struct snat_entry *other;

	if (!answer || !original)
		return false;
	if (!snat_store(answer, family, original->saddr, original->sport, BPF_NOEXIST))
		return true;
	other = snat_find(answer, family);
	if (!other)
		return false;
	if (other->port == original->sport && ip6_is_equal(other->addr, original->saddr)) {
		other->lifetime = clock_seconds() + snat_lifetime(original->protocol);
		other->tick = clock_tick();
		return true;
	}
	return snat_evict(answer, other, family) && !snat_store(answer, family, original->saddr, original->sport, BPF_ANY);
}

/* NodePorts: a mapping with one would take what is sent to a service. */
static __always_inline bool is_node_port(__u16 port)
{
	return lb_config.enabled && port >= lb_config.node_port_min && port <= lb_config.node_port_max;
}

/* Any other port that is not privileged. */
static __always_inline __u16 snat_random_port(void)
{
	__u32 taken = lb_config.enabled ? lb_config.node_port_max - lb_config.node_port_min + 1 : 0;
	__u32 port = SNAT_PORT_MIN + bpf_get_prandom_u32() % (SNAT_PORTS - taken);

	return taken && port >= lb_config.node_port_min ? port + taken : port;
}

/* Chooses the port that the connection leaves with: its own if that is free, else one by chance. to: in, the address; out, the
 * whole mapping. 0 or the reason of a drop. */
GLOBAL int snat_allocate(struct __sk_buff *skb, const struct snat_packet *packet, struct nat_end *to)
{
	struct snat_key6 answer = {};
	bool has_range;
	__u16 port;
	int i;

	if (!packet || !to)
		return DROP_INVALID;
	/* An ICMP id is any number; a privileged port is the node's own affair; SCTP's checksum is not for us to make. */
	has_range = packet->key.protocol == IPPROTO_TCP || packet->key.protocol == IPPROTO_UDP;
	port = bpf_ntohs(packet->key.sport);
	for (i = 0; i < SNAT_ATTEMPTS; i++) {
		if (i || (has_range && (port < SNAT_PORT_MIN || is_node_port(port)))) {
			if (packet->key.protocol == IPPROTO_SCTP)
				break;
			port = snat_random_port();
		}
		to->port = bpf_htons(port);
		snat_reverse(&answer, &packet->key, to->addr, to->port);
		/* The node's own connection has its port already. */
		if (!(to->port == packet->key.sport && ip6_is_equal(packet->key.saddr, to->addr)) &&
		    host_owns_port(skb, &answer, packet->family))
			continue;
		if (!snat_claim(&answer, &packet->key, packet->family))
			continue;
		if (!snat_store(&packet->key, packet->family, to->addr, to->port, BPF_ANY))
			return 0;
		snat_remove(&answer, packet->family);
		return DROP_CT_INSERT;
	}
	return DROP_SNAT_NO_PORT;
}

/* An old mapping: is the way back still there, and this connection's? Asked once a second or so, not per packet. */
static __noinline bool snat_refresh(const struct snat_packet *packet, struct snat_entry *entry)
{
	struct snat_key6 answer = {};
	struct snat_entry *back;
	__u32 tick = clock_tick();

	if (likely(entry->tick == tick))
		return true;
	snat_reverse(&answer, &packet->key, entry->addr, entry->port);
	back = snat_find(&answer, packet->family);
	if (!back || back->port != packet->key.sport || !ip6_is_equal(back->addr, packet->key.saddr))
		return false;
	entry->lifetime = back->lifetime = clock_seconds() + snat_lifetime(packet->key.protocol);
	entry->tick = back->tick = tick;
	return true;
}

/* What comes back keeps the mapping too, as it keeps the connection: else who only listens would lose it. Once a tick; not one
 * that is over already, nor one whose owner has another by now. */
static __noinline void snat_keep(const struct snat_packet *packet, struct snat_entry *entry)
{
	struct snat_key6 original = {};
	struct snat_entry *out;
	__u32 now = clock_seconds();
	__u32 tick = clock_tick();

	if (likely(entry->tick == tick) || packet->shape == SHAPE_ERROR || (__s32)(entry->lifetime - now) < 0)
		return;
	snat_reverse(&original, &packet->key, entry->addr, entry->port);
	out = snat_find(&original, packet->family);
	if (out) {
		if (out->port != packet->key.dport || !ip6_is_equal(out->addr, packet->key.daddr))
			return;
		out->lifetime = now + snat_lifetime(packet->key.protocol);
		out->tick = tick;
	}
	entry->lifetime = now + snat_lifetime(packet->key.protocol);
	entry->tick = tick;
}

/* Answers of a pod to whom came to it by its own address stay as they are. */
static __always_inline bool is_answer(const struct snat_packet *packet)
{
	struct ct_entry *connection;
	bool swapped;

	connection = snat_connection(&packet->key, packet->family, &swapped);
	return connection && (connection->flags & CT_INITIATOR_IS_1) != swapped;
}

/* A parsed packet on its way out takes the node's address. to: in, that address; out, the mapping. 0, or the reason of a drop. */
GLOBAL int masquerade_out(struct __sk_buff *skb, const struct snat_packet *packet, struct nat_end *to)
{
	struct snat_entry *entry;
	int reason;

	if (!packet || !to)
		return DROP_INVALID;
	entry = snat_find(&packet->key, packet->family);
	if (packet->shape == SHAPE_ERROR && !entry)
		return 0;
	if (entry && ip6_is_equal(entry->addr, to->addr) && snat_refresh(packet, entry)) {
		to->port = entry->port;
	} else {
		if (is_answer(packet))
			return 0;
		reason = snat_allocate(skb, packet, to);
		if (reason)
			return reason;
	}
	if (to->port == packet->key.sport && ip6_is_equal(to->addr, packet->key.saddr))
		return 0;
	return rewrite(skb, packet, to);
}

/* The node's own packet: must it be translated, because its port is another's towards this remote? An echo's id has no socket
 * that would tell a pod's choice of a port, so that each is given a mapping. */
GLOBAL int node_needs_mapping(const struct snat_packet *packet)
{
	struct snat_key6 answer = {};
	struct snat_entry *back;

	if (!packet)
		return false;
	if (packet->shape == SHAPE_ECHO_REQUEST)
		return true;
	if (packet->shape != SHAPE_FLOW || !has_ports(packet->protocol))
		return false;
	if (snat_find(&packet->key, packet->family))
		return true;
	snat_reverse(&answer, &packet->key, packet->key.saddr, packet->key.sport);
	back = snat_find(&answer, packet->family);
	return back && (back->port != packet->key.sport || !ip6_is_equal(back->addr, packet->key.saddr));
}

/* The key of a plain TCP or UDP packet, whose ports are where they mostly are. False: of another, which takes the long way. */
static __always_inline bool plain_key4(struct __sk_buff *skb, struct snat_key4 *key, __u8 direction)
{
	struct iphdr *ip = (void *)(long)skb->data + L3_OFFSET;
	struct udphdr *ports = (void *)(ip + 1);

	if ((void *)(ports + 1) > (void *)(long)skb->data_end || *(__u8 *)ip != 0x45 ||
	    (ip->frag_off & (IP_MORE_FRAGMENTS | IP_FRAGMENT_OFFSET)) ||
	    (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP))
		return false;
	key->saddr = ip->saddr;
	key->daddr = ip->daddr;
	key->sport = ports->source;
	key->dport = ports->dest;
	key->protocol = ip->protocol;
	key->direction = direction;
	return true;
}

static __always_inline bool plain_key6(struct __sk_buff *skb, struct snat_key6 *key, __u8 direction)
{
	struct ipv6hdr *ip = (void *)(long)skb->data + L3_OFFSET;
	struct udphdr *ports = (void *)(ip + 1);

	if ((void *)(ports + 1) > (void *)(long)skb->data_end ||
	    (ip->nexthdr != IPPROTO_TCP && ip->nexthdr != IPPROTO_UDP))
		return false;
	copy_ip6(key->saddr, ip->saddr.in6_u.u6_addr32);
	copy_ip6(key->daddr, ip->daddr.in6_u.u6_addr32);
	key->sport = ports->source;
	key->dport = ports->dest;
	key->protocol = ip->nexthdr;
	key->direction = direction;
	return true;
}

/* Most of the node's own traffic: plain, and no mapping is about it. Asked before anything else is read. Going out, a mapping of
 * the packet itself or of its answers is one. */
GLOBAL int is_unmapped4(struct __sk_buff *skb, __u32 direction)
{
	struct snat_key4 key = {}, answer = {};

	if (!plain_key4(skb, &key, direction) || bpf_map_lookup_elem(&cilium_snat_v4_external, &key))
		return false;
	if (direction == SNAT_IN)
		return true;
	answer.saddr = key.daddr;
	answer.daddr = key.saddr;
	answer.sport = key.dport;
	answer.dport = key.sport;
	answer.protocol = key.protocol;
	answer.direction = SNAT_IN;
	return !bpf_map_lookup_elem(&cilium_snat_v4_external, &answer);
}

GLOBAL int is_unmapped6(struct __sk_buff *skb, __u32 direction)
{
	struct snat_key6 key = {}, answer = {};

	if (!plain_key6(skb, &key, direction) || bpf_map_lookup_elem(&cilium_snat_v6_external, &key))
		return false;
	if (direction == SNAT_IN)
		return true;
	snat_reverse(&answer, &key, key.saddr, key.sport);
	return !bpf_map_lookup_elem(&cilium_snat_v6_external, &answer);
}

#define MASQUERADE_TO_POD -1

/* A parsed packet for the node's address: a pod's? 0: the node's own; MASQUERADE_TO_POD: it now has the pod's address; otherwise the
 * reason of a drop. */
GLOBAL int masquerade_in(struct __sk_buff *skb, const struct snat_packet *packet)
{
	struct nat_end to = {};
	struct snat_entry *entry;
	bool is_node;
	int reason;

	if (!packet)
		return DROP_INVALID;
	entry = snat_find(&packet->key, packet->family);
	if (!entry)
		return 0;
	snat_keep(packet, entry);
	copy_ip6(to.addr, entry->addr);
	to.port = entry->port;
	is_node = ip6_is_equal(to.addr, packet->key.daddr);
	if (is_node && to.port == packet->key.dport)
		return 0;
	reason = rewrite(skb, packet, &to);
	if (reason)
		return reason;
	return is_node ? 0 : MASQUERADE_TO_POD;
}
