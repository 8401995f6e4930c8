/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Services' translation of one end of a packet, and of answers back. Plain TCP and UDP are written directly; everything else, which is
 * options, fragments, SCTP and ICMP errors, as masquerading does it. */
#pragma once

#include "kernel.h"
#include "drop.h"
#include "heard.h"
#include "lb.h"
#include "packet.h"
#include "rewrite.h"
#include "snat.h"

/* A packet that is not plain: nat_slow's. */
#define NAT_SLOW -1

/* direction: SNAT_OUT writes the source, SNAT_IN the destination. SCTP's checksum is over the port too, and is not for us to make. */
GLOBAL int nat_slow(struct __sk_buff *skb, const struct nat_end *end, __u32 family, __u32 direction)
{
	struct snat_packet packet = { .key.direction = direction };
	__be16 port;
	int reason;

	if (!end)
		return DROP_WRITE_ERROR;
	reason = family == FAMILY_V6 ? snat_parse6(skb, &packet) : snat_parse4(skb, &packet);
	if (reason)
		return reason;
	port = direction == SNAT_OUT ? packet.key.sport : packet.key.dport;
	if (packet.protocol == IPPROTO_SCTP && port != end->port)
		return DROP_L4_CHECKSUM;
	return rewrite(skb, &packet, end);
}

/* A transport's checksum, where a device is to complete it, has the sum of the addresses only: hence two calls. */
static __always_inline int nat_checksum(struct __sk_buff *skb, __u32 l3_size, __u8 protocol, __be16 from_port, __be16 to_port,
					__u32 from, __u64 to, __u64 address_flags)
{
	__u64 flags = protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	__u32 check = L3_OFFSET + l3_size + (protocol == IPPROTO_TCP ? TCP_CHECK : UDP_CHECK);

	if (from_port != to_port && bpf_l4_csum_replace(skb, check, from_port, to_port, flags | 2))
		return DROP_L4_CHECKSUM;
	return bpf_l4_csum_replace(skb, check, from, to, flags | BPF_F_PSEUDO_HDR | address_flags) ? DROP_L4_CHECKSUM : 0;
}

/* Writes address and port over one end of the packet. 0, the reason of a drop, or NAT_SLOW. */
GLOBAL int nat4_plain(struct __sk_buff *skb, const struct nat_end *to, __u32 direction)
{
	struct iphdr *ip = (void *)(long)skb->data + L3_OFFSET;
	struct udphdr *ports = (void *)(ip + 1);
	__be16 from_port, to_port;
	__be32 from, addr;
	__u8 protocol;

	if (!to)
		return DROP_WRITE_ERROR;
	if ((void *)(ports + 1) > (void *)(long)skb->data_end || *(__u8 *)ip != 0x45 ||
	    (ip->frag_off & (IP_MORE_FRAGMENTS | IP_FRAGMENT_OFFSET)) ||
	    (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP))
		return NAT_SLOW;
	addr = to->addr[0];
	to_port = to->port;
	protocol = ip->protocol;
	if (direction == SNAT_OUT) {
		from = ip->saddr;
		from_port = ports->source;
		ip->saddr = addr;
		ports->source = to_port;
	} else {
		from = ip->daddr;
		from_port = ports->dest;
		ip->daddr = addr;
		ports->dest = to_port;
	}
	/* The header sums up to nothing before and after: a device's sum of the packet stays right. */
	ip->check = check_replace(ip->check, from, addr);
	return nat_checksum(skb, sizeof(*ip), protocol, from_port, to_port, from, addr, 4);
}

GLOBAL int nat6_plain(struct __sk_buff *skb, const struct nat_end *to, __u32 direction)
{
	struct ipv6hdr *ip = (void *)(long)skb->data + L3_OFFSET;
	struct udphdr *ports = (void *)(ip + 1);
	__be16 from_port, to_port;
	__be32 from[4], addr[4];
	__s64 difference;
	__u8 protocol;

	if (!to)
		return DROP_WRITE_ERROR;
	if ((void *)(ports + 1) > (void *)(long)skb->data_end ||
	    (ip->nexthdr != IPPROTO_TCP && ip->nexthdr != IPPROTO_UDP))
		return NAT_SLOW;
	copy_ip6(addr, to->addr);
	to_port = to->port;
	protocol = ip->nexthdr;
	if (direction == SNAT_OUT) {
		copy_ip6(from, ip->saddr.in6_u.u6_addr32);
		from_port = ports->source;
		copy_ip6(ip->saddr.in6_u.u6_addr32, addr);
		ports->source = to_port;
	} else {
		copy_ip6(from, ip->daddr.in6_u.u6_addr32);
		from_port = ports->dest;
		copy_ip6(ip->daddr.in6_u.u6_addr32, addr);
		ports->dest = to_port;
	}
	difference = bpf_csum_diff(from, sizeof(from), addr, sizeof(addr), 0);
	/* No checksum of the header's own makes up for the address in a device's sum. */
	bpf_csum_update(skb, difference);
	return nat_checksum(skb, sizeof(*ip), protocol, from_port, to_port, 0, difference, 0);
}

/* Not one function with its callees: their frames would not fit the stack. */
static __always_inline int nat4(struct __sk_buff *skb, const struct nat_end *to, __u32 direction)
{
	int reason = nat4_plain(skb, to, direction);

	return unlikely(reason == NAT_SLOW) ? nat_slow(skb, to, FAMILY_V4, direction) : reason;
}

static __always_inline int nat6(struct __sk_buff *skb, const struct nat_end *to, __u32 direction)
{
	int reason = nat6_plain(skb, to, direction);

	return unlikely(reason == NAT_SLOW) ? nat_slow(skb, to, FAMILY_V6, direction) : reason;
}

/* Where a pod reaches itself, the client is the loopback address, in whose place comes the pod's own again. Both ends are read before
 * one is chosen: clang would else choose by an operation on pointers. */
GLOBAL int loopback_end4(const struct packet *packet, const struct ct_key4 *key, struct nat_end *end)
{
	__be32 addr0, addr1;
	__be16 port0, port1;
	bool is_1;

	if (!packet || !key || !end)
		return DROP_INVALID;
	is_1 = initiator_is_1(packet);
	addr0 = key->addr[0];
	addr1 = key->addr[1];
	port0 = key->port[0];
	port1 = key->port[1];
	barrier();
	end->addr[0] = is_1 ? addr0 : addr1;
	end->port = is_1 ? port1 : port0;
	return 0;
}

GLOBAL int loopback_end6(const struct packet *packet, const struct ct_key6 *key, struct nat_end *end)
{
	__be16 port0, port1;
	bool is_1;

	if (!packet || !key || !end)
		return DROP_INVALID;
	is_1 = initiator_is_1(packet);
	port0 = key->port[0];
	port1 = key->port[1];
	barrier();
	end->port = is_1 ? port1 : port0;
	if (is_1)
		copy_ip6(end->addr, key->addr[0]);
	else
		copy_ip6(end->addr, key->addr[1]);
	return 0;
}

/* The frontend of another node in whose name a pod answers this client. 0 or the reason of a drop. */
GLOBAL int dsr_end4(const struct packet *packet, const struct ct_key4 *key, struct nat_end *end)
{
	struct snat_key4 mapping = { .direction = SNAT_OUT };
	struct snat_entry *entry;
	__be32 addr0, addr1;
	__be16 port0, port1;
	bool is_1;

	if (!lb_config.dsr || !packet || !key || !end)
		return DROP_INVALID;
	is_1 = initiator_is_1(packet);
	addr0 = key->addr[0];
	addr1 = key->addr[1];
	port0 = key->port[0];
	port1 = key->port[1];
	barrier();
	mapping.saddr = is_1 ? addr0 : addr1;
	mapping.daddr = is_1 ? addr1 : addr0;
	mapping.sport = is_1 ? port0 : port1;
	mapping.dport = is_1 ? port1 : port0;
	mapping.protocol = key->protocol;
	entry = bpf_map_lookup_elem(&cilium_snat_v4_external, &mapping);
	if (!entry)
		return DROP_NO_SERVICE;
	if (entry->tick != clock_tick()) {
		entry->lifetime = clock_seconds() + snat_lifetime(mapping.protocol);
		entry->tick = clock_tick();
	}
	copy_ip6(end->addr, entry->addr);
	end->port = entry->port;
	return 0;
}

GLOBAL int dsr_end6(const struct packet *packet, const struct ct_key6 *key, struct nat_end *end)
{
	struct snat_key6 mapping = { .direction = SNAT_OUT };
	struct snat_entry *entry;
	__be16 port0, port1;
	bool is_1;

	if (!lb_config.dsr || !packet || !key || !end)
		return DROP_INVALID;
	is_1 = initiator_is_1(packet);
	port0 = key->port[0];
	port1 = key->port[1];
	barrier();
	mapping.sport = is_1 ? port0 : port1;
	mapping.dport = is_1 ? port1 : port0;
	if (is_1) {
		copy_ip6(mapping.saddr, key->addr[0]);
		copy_ip6(mapping.daddr, key->addr[1]);
	} else {
		copy_ip6(mapping.saddr, key->addr[1]);
		copy_ip6(mapping.daddr, key->addr[0]);
	}
	mapping.protocol = key->protocol;
	entry = bpf_map_lookup_elem(&cilium_snat_v6_external, &mapping);
	if (!entry)
		return DROP_NO_SERVICE;
	if (entry->tick != clock_tick()) {
		entry->lifetime = clock_seconds() + snat_lifetime(mapping.protocol);
		entry->tick = clock_tick();
	}
	copy_ip6(end->addr, entry->addr);
	end->port = entry->port;
	return 0;
}

/* What goes to whom spoke to a frontend comes from there. 0 or the reason of a drop. */
GLOBAL int reverse4(struct __sk_buff *skb, const struct packet *packet, const struct ct_key4 *key)
{
	struct nat_end end = {};
	int reason;

	if (!packet || !key)
		return DROP_INVALID;
	if (lb_config.dsr && packet->dsr) {
		reason = dsr_end4(packet, key, &end);
		if (reason)
			return reason;
	} else {
		if (!frontend_end(packet->reverse, FAMILY_V4, &end))
			return DROP_NO_SERVICE;
		if (unlikely(packet->heard))
			service_heard4(packet, key);
	}
	reason = nat4(skb, &end, SNAT_OUT);
	if (reason || likely(!packet->loopback))
		return reason;
	reason = loopback_end4(packet, key, &end);
	return reason ? reason : nat4(skb, &end, SNAT_IN);
}

GLOBAL int reverse6(struct __sk_buff *skb, const struct packet *packet, const struct ct_key6 *key)
{
	struct nat_end end = {};
	int reason;

	if (!packet || !key)
		return DROP_INVALID;
	if (lb_config.dsr && packet->dsr) {
		reason = dsr_end6(packet, key, &end);
		if (reason)
			return reason;
	} else {
		if (!frontend_end(packet->reverse, FAMILY_V6, &end))
			return DROP_NO_SERVICE;
		if (unlikely(packet->heard))
			service_heard6(packet, key);
	}
	reason = nat6(skb, &end, SNAT_OUT);
	if (reason || likely(!packet->loopback))
		return reason;
	reason = loopback_end6(packet, key, &end);
	return reason ? reason : nat6(skb, &end, SNAT_IN);
}
