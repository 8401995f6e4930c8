/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A packet longer than its way's MTU. Its sender hears of it in the name of whom it wrote to, about the packet as it was sent, so that the
 * next one fits: ICMP "fragmentation needed" (RFC 1191) or ICMPv6 "packet too big" (RFC 8201). What may be fragmented on its way to a
 * backend, IPv4 without DF, is the stack's to fragment. The answers have no limit of how often: each is shorter than what asks for it. */
#pragma once

#include "kernel.h"
#include "delivery.h"
#include "forward.h"
#include "nat.h"
#include "reject.h"

#define ICMP_FRAG_NEEDED 4
#define ICMP_HEADER 8

/* As much of the packet as its sender needs to know its own: ports, behind a fragment header perhaps. */
struct too_big6 {
	struct ipv6hdr ip;
	__u8 type;
	__u8 code;
	__u16 check;
	__be32 mtu;
	struct ipv6hdr quoted_ip;
	__be32 quoted[4];
};

/* Whom the sender has written to; packet and key are what that has become. False: nobody knows. */
GLOBAL int sent_to4(const struct packet *packet, const struct ct_key4 *key, struct nat_end *to)
{
	struct snat_key4 mapping = { .direction = SNAT_OUT };
	struct snat_entry *entry;
	__be32 addr0, addr1;
	__be16 port0, port1;

	if (!packet || !key || !to)
		return false;
	if (packet->service)
		return frontend_end(packet->service, FAMILY_V4, to);
	addr0 = key->addr[0];
	addr1 = key->addr[1];
	port0 = key->port[0];
	port1 = key->port[1];
	barrier();
	mapping.saddr = packet->swapped ? addr0 : addr1;
	mapping.sport = packet->swapped ? port0 : port1;
	to->addr[0] = mapping.saddr;
	to->port = mapping.sport;
	if (!packet->unmasked)
		return true;
	/* A backend that was asked in the node's name answers the node. */
	mapping.daddr = packet->swapped ? addr1 : addr0;
	mapping.dport = packet->swapped ? port1 : port0;
	mapping.protocol = key->protocol;
	entry = bpf_map_lookup_elem(&cilium_snat_v4_external, &mapping);
	if (!entry)
		return false;
	to->addr[0] = entry->addr[0];
	to->port = entry->port;
	return true;
}

GLOBAL int sent_to6(const struct packet *packet, const struct ct_key6 *key, struct nat_end *to)
{
	struct snat_key6 mapping = { .direction = SNAT_OUT };
	struct snat_entry *entry;
	__be16 port0, port1;

	if (!packet || !key || !to)
		return false;
	if (packet->service)
		return frontend_end(packet->service, FAMILY_V6, to);
	port0 = key->port[0];
	port1 = key->port[1];
	barrier();
	mapping.sport = packet->swapped ? port0 : port1;
	mapping.dport = packet->swapped ? port1 : port0;
	if (packet->swapped) {
		copy_ip6(mapping.saddr, key->addr[0]);
		copy_ip6(mapping.daddr, key->addr[1]);
	} else {
		copy_ip6(mapping.saddr, key->addr[1]);
		copy_ip6(mapping.daddr, key->addr[0]);
	}
	copy_ip6(to->addr, mapping.saddr);
	to->port = mapping.sport;
	if (!packet->unmasked)
		return true;
	mapping.protocol = key->protocol;
	entry = bpf_map_lookup_elem(&cilium_snat_v6_external, &mapping);
	if (!entry)
		return false;
	copy_ip6(to->addr, entry->addr);
	to->port = entry->port;
	return true;
}

/* Who has sent the packet of this key. */
static __always_inline void sender_end4(const struct packet *packet, const struct ct_key4 *key, struct nat_end *from)
{
	__be32 addr0 = key->addr[0], addr1 = key->addr[1];
	__be16 port0 = key->port[0], port1 = key->port[1];

	barrier();
	from->addr[0] = packet->swapped ? addr1 : addr0;
	from->port = packet->swapped ? port1 : port0;
}

static __always_inline void sender_end6(const struct packet *packet, const struct ct_key6 *key, struct nat_end *from)
{
	__be16 port0 = key->port[0], port1 = key->port[1];

	barrier();
	from->port = packet->swapped ? port1 : port0;
	if (packet->swapped)
		copy_ip6(from->addr, key->addr[1]);
	else
		copy_ip6(from->addr, key->addr[0]);
}

/* The node's own words in the packet, behind its IP header, are taken out again. */
static __always_inline bool unsay(struct __sk_buff *skb, __u32 said)
{
	return !said || !bpf_skb_adjust_room(skb, -(__s32)said, BPF_ADJ_ROOM_NET, BPF_F_ADJ_ROOM_FIXED_GSO);
}

/* Where in a packet whose sum a device is to complete that sum is, behind its IP header. 0: none is left to a device. */
static __always_inline __u32 partial_check(struct __sk_buff *skb, __u32 header, __u8 protocol)
{
	if (protocol == IPPROTO_TCP && check_is_partial(skb, L3_OFFSET + header + TCP_CHECK))
		return TCP_CHECK;
	if (protocol == IPPROTO_UDP && check_is_partial(skb, L3_OFFSET + header + UDP_CHECK))
		return UDP_CHECK;
	return 0;
}

/* How much of the transport header is quoted in front of which a message stands; without such a sum, eight bytes. */
static __always_inline __u32 kept_of(__u32 check)
{
	return check == TCP_CHECK ? sizeof(struct tcphdr) : sizeof(struct udphdr);
}

/* A device completes the sum where it was in the packet, and a virtual one leaves it to whoever receives, who does not look. So the message is put in
 * front, and what of the packet's transport header is kept stays where it is, quoted, with the sum that may or may not be completed: it is made from
 * nothing, so that all it covers adds nothing to the message's own. bytes: from the outer IP header to the quoted ports. */
static __always_inline int send_in_front(struct __sk_buff *skb, const void *bytes, __u32 size, __u32 header, __u32 check)
{
	__u16 none = 0;

	if (bpf_skb_store_bytes(skb, L3_OFFSET + header + check, &none, sizeof(none), 0) ||
	    bpf_skb_change_tail(skb, L3_OFFSET + header + kept_of(check), 0) ||
	    bpf_skb_adjust_room(skb, ICMP_HEADER + header, BPF_ADJ_ROOM_NET, BPF_F_ADJ_ROOM_FIXED_GSO) || swap_macs(skb) ||
	    bpf_skb_store_bytes(skb, L3_OFFSET, bytes, size, 0))
		return TC_ACT_SHOT;
	skb->mark = MARK_TRANSLATED;
	return bpf_redirect(skb->ifindex, 0);
}

GLOBAL int answer_too_big4(struct __sk_buff *skb, const struct packet *packet, const struct ct_key4 *key, __u32 said)
{
	struct reject_icmp4 answer = {};
	struct nat_end end = {};
	struct iphdr *ip = &answer.quoted_ip;
	__u32 check;

	if (!packet || !key || packet->shape || packet->mtu <= said || !has_ports(packet->protocol) ||
	    bpf_skb_load_bytes(skb, L3_OFFSET, ip, sizeof(*ip)) ||
	    bpf_skb_load_bytes(skb, L3_OFFSET + sizeof(*ip) + said, answer.quoted_ports, sizeof(answer.quoted_ports)))
		return TC_ACT_SHOT;
	if (ip->ihl != (sizeof(*ip) + said) / 4 || ip->frag_off & IP_FRAGMENT_OFFSET || !sent_to4(packet, key, &end) || !unsay(skb, said))
		return TC_ACT_SHOT;
	ip->ihl = sizeof(*ip) / 4;
	ip->tot_len = bpf_htons(bpf_ntohs(ip->tot_len) - said);
	ip->daddr = end.addr[0];
	((__be16 *)answer.quoted_ports)[1] = end.port;
	sender_end4(packet, key, &end);
	ip->saddr = end.addr[0];
	((__be16 *)answer.quoted_ports)[0] = end.port;
	ip->check = 0;
	ip->check = ~sum_fold((__u32)bpf_csum_diff(NULL, 0, (__be32 *)ip, sizeof(*ip), 0));
	check = partial_check(skb, sizeof(*ip), ip->protocol);
	answer_ip4(&answer.ip, ip, IPPROTO_ICMP, sizeof(answer) - sizeof(answer.quoted_ports) + kept_of(check));
	answer.icmp.type = ICMP_DEST_UNREACH;
	answer.icmp.code = ICMP_FRAG_NEEDED;
	answer.icmp.sequence = bpf_htons(packet->mtu - said);
	if (unlikely(check)) {
		answer.icmp.checksum = ~sum_fold((__u32)bpf_csum_diff(NULL, 0, (__be32 *)&answer.icmp, ICMP_HEADER + sizeof(*ip), 0));
		return send_in_front(skb, &answer, sizeof(answer) - sizeof(answer.quoted_ports) + sizeof(answer.quoted_ports[0]), sizeof(*ip), check);
	}
	answer.icmp.checksum = ~sum_fold((__u32)bpf_csum_diff(NULL, 0, (__be32 *)&answer.icmp, sizeof(answer) - sizeof(answer.ip), 0));
	return send_back(skb, &answer, sizeof(answer));
}

GLOBAL int answer_too_big6(struct __sk_buff *skb, const struct packet *packet, const struct ct_key6 *key, __u32 said)
{
	struct too_big6 answer = {};
	struct nat_end end = {};
	struct ipv6hdr *ip = &answer.quoted_ip;
	__be16 *ports = (__be16 *)answer.quoted;
	__u32 check, length;
	__u64 sum;

	if (!packet || !key || packet->shape || packet->mtu <= said || !has_ports(packet->protocol) ||
	    bpf_skb_load_bytes(skb, L3_OFFSET, ip, sizeof(*ip)) ||
	    bpf_skb_load_bytes(skb, L3_OFFSET + sizeof(*ip) + said, answer.quoted, sizeof(answer.quoted)))
		return TC_ACT_SHOT;
	/* The first of the node's words is what followed. */
	if (said && bpf_skb_load_bytes(skb, L3_OFFSET + sizeof(*ip), &ip->nexthdr, 1))
		return TC_ACT_SHOT;
	if (ip->nexthdr == IPPROTO_FRAGMENT) {
		if (ports[1] & IP6_FRAGMENT_OFFSET)
			return TC_ACT_SHOT;
		ports += sizeof(struct ip6_fragment) / sizeof(*ports);
	} else if (ip->nexthdr != packet->protocol) {
		return TC_ACT_SHOT;
	}
	if (!sent_to6(packet, key, &end) || !unsay(skb, said))
		return TC_ACT_SHOT;
	ip->payload_len = bpf_htons(bpf_ntohs(ip->payload_len) - said);
	copy_ip6(ip->daddr.in6_u.u6_addr32, end.addr);
	ports[1] = end.port;
	sender_end6(packet, key, &end);
	copy_ip6(ip->saddr.in6_u.u6_addr32, end.addr);
	ports[0] = end.port;
	check = partial_check(skb, sizeof(*ip), ip->nexthdr);
	length = sizeof(answer) - sizeof(answer.ip);
	if (unlikely(check))
		length += kept_of(check) - sizeof(answer.quoted);
	answer_ip6(&answer.ip, ip, IPPROTO_ICMPV6, length);
	answer.type = ICMPV6_PKT_TOOBIG;
	answer.mtu = bpf_htonl(packet->mtu - said);
	sum = pseudo_sum6(&answer.ip, IPPROTO_ICMPV6, length);
	if (unlikely(check)) {
		answer.check = ~sum_fold(sum + (__u32)bpf_csum_diff(NULL, 0, (__be32 *)&answer.type, ICMP_HEADER + sizeof(*ip), 0));
		return send_in_front(skb, &answer, sizeof(answer) - sizeof(answer.quoted) + sizeof(answer.quoted[0]), sizeof(*ip), check);
	}
	answer.check = ~sum_fold(sum + (__u32)bpf_csum_diff(NULL, 0, (__be32 *)&answer.type, sizeof(answer) - sizeof(answer.ip), 0));
	return send_back(skb, &answer, sizeof(answer));
}

static __always_inline bool may_fragment4(struct __sk_buff *skb)
{
	__be16 fragment;

	return !bpf_skb_load_bytes(skb, L3_OFFSET + offsetof(struct iphdr, frag_off), &fragment, 2) && !(fragment & IP_DONT_FRAGMENT);
}

/* To a backend, in pieces. masked: the packet has the node's address; the pieces get it when they leave, since the stack takes nothing
 * from there. Returns the program's result. */
GLOBAL int fragment4(struct __sk_buff *skb, struct packet *packet, const struct ct_key4 *key, __u32 masked)
{
	struct nat_end client = {};
	int reason;

	if (!packet || !key)
		return TC_ACT_SHOT;
	skb->mark = MARK_TRANSLATED;
	if (masked) {
		sender_end4(packet, key, &client);
		reason = nat4(skb, &client, SNAT_OUT);
		if (reason)
			return drop(skb, packet, reason);
		skb->mark = MARK_PIECES;
	}
	return deliver_to_stack(skb, packet);
}

/* Out again, or its sender is told. said: the bytes of the node's own words in the packet; masked: as for fragment4. */
static __always_inline int pass_on4(struct __sk_buff *skb, struct packet *packet, const struct ct_key4 *key, __u32 said, bool masked)
{
	int action = pass_on(skb, packet, FAMILY_V4);

	if (likely(action != PASS_TOO_BIG))
		return action;
	/* The stack takes no answer: it says to be from an address of the node. */
	if (packet->service && !packet->shape && may_fragment4(skb))
		return fragment4(skb, packet, key, masked);
	drop(skb, packet, DROP_TOO_BIG);
	return may_fragment4(skb) ? TC_ACT_SHOT : answer_too_big4(skb, packet, key, said);
}

static __always_inline int pass_on6(struct __sk_buff *skb, struct packet *packet, const struct ct_key6 *key, __u32 said)
{
	int action = pass_on(skb, packet, FAMILY_V6);

	if (likely(action != PASS_TOO_BIG))
		return action;
	drop(skb, packet, DROP_TOO_BIG);
	return answer_too_big6(skb, packet, key, said);
}
