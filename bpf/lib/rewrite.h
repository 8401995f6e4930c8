/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Rewriting one end of a packet: its address and port, with every checksum that covers them. */
#pragma once

#include "kernel.h"
#include "snat.h"

/* What is written: 4 words, of which an IPv4 address is the first, and a port. */
struct nat_end {
	__be32 addr[4];
	__be16 port;
	__u16 pad;
};

#define TCP_CHECK 16
#define UDP_CHECK 6
#define ICMP_CHECK 2
#define ICMP_ID 4

/* RFC 1624. */
static __always_inline __u16 check_replace(__u16 check, __u32 from, __u32 to)
{
	__u32 sum = (__u16)~check;

	sum += (~from & 0xffff) + (~(from >> 16) & 0xffff) + (to & 0xffff) + (to >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* Where the end's address is in an IP header: the source's of a packet that goes out. */
static __always_inline __u32 address_offset(__u8 family, bool source)
{
	if (family == FAMILY_V6)
		return source ? offsetof(struct ipv6hdr, saddr) : offsetof(struct ipv6hdr, daddr);
	return source ? offsetof(struct iphdr, saddr) : offsetof(struct iphdr, daddr);
}

static __always_inline __u32 port_offset(bool echo, bool source)
{
	return echo ? ICMP_ID : source ? 0 : 2;
}

/* IPv4's header sums up to nothing before and after, so that a device's sum of the whole packet stays right; IPv6's has no
 * checksum, so that the device's sum is told. */
static __always_inline long write_address(struct __sk_buff *skb, const struct snat_packet *packet, const __be32 *from,
					  const __be32 *to)
{
	__u32 offset = L3_OFFSET + address_offset(packet->family, packet->key.direction == SNAT_OUT);

	if (packet->family == FAMILY_V6)
		return bpf_skb_store_bytes(skb, offset, to, 16, BPF_F_RECOMPUTE_CSUM);
	return bpf_l3_csum_replace(skb, L3_OFFSET + offsetof(struct iphdr, check), from[0], to[0], 4) ||
	       bpf_skb_store_bytes(skb, offset, to, 4, 0);
}

/* The transport's checksum covers port and addresses, but for SCTP's, which covers no addresses, and whose port is never
 * changed, and ICMPv4's, which covers no addresses either. */
static __always_inline long write_transport(struct __sk_buff *skb, const struct snat_packet *packet, const __be32 *from,
					    __be16 from_port, const __be32 *to, __be16 to_port)
{
	bool icmp = packet->protocol == IPPROTO_ICMP || packet->protocol == IPPROTO_ICMPV6;
	__u64 flags = packet->protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	__u32 check = packet->l4_offset;
	__be32 old_addr[4], new_addr[4];
	__s64 difference;

	if (packet->protocol == IPPROTO_SCTP)
		return 0;
	check += packet->protocol == IPPROTO_TCP ? TCP_CHECK : icmp ? ICMP_CHECK : UDP_CHECK;
	if (from_port != to_port) {
		if (bpf_l4_csum_replace(skb, check, from_port, to_port, flags | 2) ||
		    bpf_skb_store_bytes(skb, packet->l4_offset + port_offset(icmp, packet->key.direction == SNAT_OUT),
					&to_port, 2, 0))
			return -1;
	}
	if (packet->protocol == IPPROTO_ICMP)
		return 0;
	copy_ip6(old_addr, from);
	copy_ip6(new_addr, to);
	difference = bpf_csum_diff(old_addr, sizeof(old_addr), new_addr, sizeof(new_addr), 0);
	return bpf_l4_csum_replace(skb, check, 0, difference, flags | BPF_F_PSEUDO_HDR);
}

/* What an ICMP error is about has the same end, on its other side. The inner transport's checksum stays as it was: errors carry
 * too little to check it, and nobody does. */
static __always_inline long write_inner(struct __sk_buff *skb, const struct snat_packet *packet, const __be32 *from,
					__be16 from_port, const __be32 *to, __be16 to_port)
{
	bool source = packet->key.direction == SNAT_IN;
	__u32 outer_check = packet->l4_offset + ICMP_CHECK;
	__u32 inner_check = packet->inner_offset + offsetof(struct iphdr, check);
	__u16 icmp, inner;
	int i;

	if (bpf_skb_load_bytes(skb, outer_check, &icmp, 2))
		return -1;
	icmp = check_replace(icmp, from_port, to_port);
	if (packet->family == FAMILY_V6) {
		/* Twice: in the inner header, and in the outer one that ICMPv6's checksum covers too. */
		for (i = 0; i < 4; i++) {
			icmp = check_replace(icmp, from[i], to[i]);
			if (!packet->inner_only)
				icmp = check_replace(icmp, from[i], to[i]);
		}
	} else {
		/* The inner header sums up to nothing before and after. */
		if (bpf_skb_load_bytes(skb, inner_check, &inner, 2))
			return -1;
		inner = check_replace(inner, from[0], to[0]);
		if (bpf_skb_store_bytes(skb, inner_check, &inner, 2, BPF_F_RECOMPUTE_CSUM))
			return -1;
	}
	return bpf_skb_store_bytes(skb, outer_check, &icmp, 2, BPF_F_RECOMPUTE_CSUM) ||
	       bpf_skb_store_bytes(skb, packet->inner_offset + address_offset(packet->family, source), to,
				   packet->family == FAMILY_V6 ? 16 : 4, BPF_F_RECOMPUTE_CSUM) ||
	       bpf_skb_store_bytes(skb, packet->inner_l4_offset + port_offset(packet->inner_echo, source), &to_port, 2,
				   BPF_F_RECOMPUTE_CSUM);
}

/* Writes address and port over the packet's: the source's of what goes out, the destination's of what comes in. 0 or the
 * reason of a drop. */
GLOBAL int rewrite(struct __sk_buff *skb, const struct snat_packet *packet, const struct nat_end *to)
{
	__be32 from[4], addr[4];
	__be16 port;
	long failed = 0;

	if (!packet || !to)
		return DROP_WRITE_ERROR;
	if (packet->key.direction == SNAT_OUT) {
		copy_ip6(from, packet->key.saddr);
		port = packet->key.sport;
	} else {
		copy_ip6(from, packet->key.daddr);
		port = packet->key.dport;
	}
	copy_ip6(addr, to->addr);
	if (packet->shape == SHAPE_ERROR)
		failed = write_inner(skb, packet, from, port, addr, to->port);
	else if (!packet->later_fragment)
		failed = write_transport(skb, packet, from, port, addr, to->port);
	if (failed)
		return DROP_L4_CHECKSUM;
	if (packet->inner_only)
		return 0;
	return write_address(skb, packet, from, addr) ? DROP_L3_CHECKSUM : 0;
}
