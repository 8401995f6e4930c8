/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Refusing a connection in a frontend's name: a reset for TCP, "port unreachable" for other protocols, back by the device that the
 * packet came from. Packets with options, fragments and answers to resets are dropped silently. */
#pragma once

#include "kernel.h"
#include "endpoint.h"
#include "forward.h"
#include "ipv4.h"
#include "ipv6.h"
#include "rewrite.h"

#define REJECT_HOPS 64

#define ICMP_PORT_UNREACH 3
#define ICMPV6_PORT_UNREACH_CODE 4

/* An IPv4 header and what must be quoted behind it. */
struct reject_icmp4 {
	struct iphdr ip;
	struct icmphdr icmp;
	struct iphdr quoted_ip;
	__be32 quoted_ports[2];
};

struct reject_tcp4 {
	struct iphdr ip;
	struct tcphdr tcp;
};

struct reject_icmp6 {
	struct ipv6hdr ip;
	__u8 type;
	__u8 code;
	__u16 check;
	__u16 unused;
	__u16 balance;
	struct ipv6hdr quoted_ip;
	__be32 quoted_ports[2];
};

struct reject_tcp6 {
	struct ipv6hdr ip;
	struct tcphdr tcp;
};

static __always_inline __u16 sum_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Is the transport's checksum left to a device, which will sum from the transport's header on and write at check? Then a change that
 * is not of the pseudo-header leaves the field alone, which is in the end as it was. */
static __always_inline bool check_is_partial(struct __sk_buff *skb, __u32 check)
{
	__u16 before, after;

	return !bpf_skb_load_bytes(skb, check, &before, 2) && !bpf_l4_csum_replace(skb, check, 0, bpf_htons(0x1111), 2) &&
	       !bpf_skb_load_bytes(skb, check, &after, 2) && !bpf_skb_store_bytes(skb, check, &before, 2, 0) &&
	       before == after;
}

static __always_inline long swap_macs(struct __sk_buff *skb)
{
	struct ethhdr eth;
	__u8 mac[ETH_ALEN];

	if (bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth)))
		return -1;
	__builtin_memcpy(mac, eth.h_dest, ETH_ALEN);
	__builtin_memcpy(eth.h_dest, eth.h_source, ETH_ALEN);
	__builtin_memcpy(eth.h_source, mac, ETH_ALEN);
	return bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0);
}

/* In the place of the packet, these bytes behind its Ethernet header; and back with them. */
static __always_inline int send_back(struct __sk_buff *skb, const void *bytes, __u32 size)
{
	if (bpf_skb_change_tail(skb, L3_OFFSET + size, 0) || swap_macs(skb) ||
	    bpf_skb_store_bytes(skb, L3_OFFSET, bytes, size, BPF_F_RECOMPUTE_CSUM))
		return TC_ACT_SHOT;
	skb->mark = MARK_TRANSLATED;
	return bpf_redirect(skb->ifindex, 0);
}

/* RFC 9293, 3.10.7.1. length: of the data. */
static __always_inline void make_reset(struct tcphdr *answer, const struct tcphdr *tcp, __u32 length)
{
	answer->source = tcp->dest;
	answer->dest = tcp->source;
	answer->doff = sizeof(*answer) / 4;
	answer->rst = 1;
	if (tcp->ack) {
		answer->seq = tcp->ack_seq;
	} else {
		answer->ack_seq = bpf_htonl(bpf_ntohl(tcp->seq) + length + tcp->syn + tcp->fin);
		answer->ack = 1;
	}
}

static __always_inline void answer_ip4(struct iphdr *answer, const struct iphdr *ip, __u8 protocol, __u16 size)
{
	answer->version = 4;
	answer->ihl = sizeof(*answer) / 4;
	answer->tot_len = bpf_htons(size);
	answer->frag_off = bpf_htons(0x4000); /* whole, so that it needs no id */
	answer->ttl = REJECT_HOPS;
	answer->protocol = protocol;
	answer->saddr = ip->daddr;
	answer->daddr = ip->saddr;
	answer->check = ~sum_fold(bpf_csum_diff(NULL, 0, (__be32 *)answer, sizeof(*answer), 0));
}

static __always_inline __u64 pseudo_sum4(const struct iphdr *ip, __u8 protocol, __u32 size)
{
	return (__u64)ip->saddr + ip->daddr + bpf_htons(protocol) + bpf_htons(size);
}

GLOBAL int reject_tcp4(struct __sk_buff *skb)
{
	struct reject_tcp4 answer = {};
	struct tcphdr tcp;
	struct iphdr ip;
	__u64 sum;
	bool partial;

	if (bpf_skb_load_bytes(skb, L3_OFFSET, &ip, sizeof(ip)) || bpf_skb_load_bytes(skb, L3_OFFSET + sizeof(ip), &tcp, sizeof(tcp)) ||
	    tcp.rst)
		return TC_ACT_SHOT;
	make_reset(&answer.tcp, &tcp, bpf_ntohs(ip.tot_len) - sizeof(ip) - tcp.doff * 4);
	answer_ip4(&answer.ip, &ip, IPPROTO_TCP, sizeof(answer));
	partial = check_is_partial(skb, L3_OFFSET + sizeof(ip) + TCP_CHECK);
	sum = pseudo_sum4(&answer.ip, IPPROTO_TCP, sizeof(answer.tcp));
	answer.tcp.check = partial ? sum_fold(sum) :
				     ~sum_fold(sum + (__u32)bpf_csum_diff(NULL, 0, (__be32 *)&answer.tcp, sizeof(answer.tcp), 0));
	return send_back(skb, &answer, sizeof(answer));
}

/* The device's sum, if one is left to it, falls into the unused field, and is nothing: the message's own sum is complete. */
GLOBAL int reject_icmp4(struct __sk_buff *skb)
{
	struct reject_icmp4 answer = {};

	if (bpf_skb_load_bytes(skb, L3_OFFSET, &answer.quoted_ip, sizeof(answer.quoted_ip) + sizeof(answer.quoted_ports)))
		return TC_ACT_SHOT;
	answer_ip4(&answer.ip, &answer.quoted_ip, IPPROTO_ICMP, sizeof(answer));
	answer.icmp.type = ICMP_DEST_UNREACH;
	answer.icmp.code = ICMP_PORT_UNREACH;
	answer.icmp.checksum = ~sum_fold((__u32)bpf_csum_diff(NULL, 0, (__be32 *)&answer.icmp, sizeof(answer) - sizeof(answer.ip), 0));
	return send_back(skb, &answer, sizeof(answer));
}

static __always_inline void answer_ip6(struct ipv6hdr *answer, const struct ipv6hdr *ip, __u8 protocol, __u16 size)
{
	answer->version = 6;
	answer->payload_len = bpf_htons(size);
	answer->nexthdr = protocol;
	answer->hop_limit = REJECT_HOPS;
	copy_ip6(answer->saddr.in6_u.u6_addr32, ip->daddr.in6_u.u6_addr32);
	copy_ip6(answer->daddr.in6_u.u6_addr32, ip->saddr.in6_u.u6_addr32);
}

static __always_inline __u64 pseudo_sum6(struct ipv6hdr *ip, __u8 protocol, __u32 size)
{
	return (__u64)(__u32)bpf_csum_diff(NULL, 0, ip->saddr.in6_u.u6_addr32, 32, 0) + bpf_htons(protocol) + bpf_htons(size);
}

GLOBAL int reject_tcp6(struct __sk_buff *skb)
{
	struct reject_tcp6 answer = {};
	struct tcphdr tcp;
	struct ipv6hdr ip;
	__u64 sum;
	bool partial;

	if (bpf_skb_load_bytes(skb, L3_OFFSET, &ip, sizeof(ip)) || bpf_skb_load_bytes(skb, L3_OFFSET + sizeof(ip), &tcp, sizeof(tcp)) ||
	    tcp.rst)
		return TC_ACT_SHOT;
	make_reset(&answer.tcp, &tcp, bpf_ntohs(ip.payload_len) - tcp.doff * 4);
	answer_ip6(&answer.ip, &ip, IPPROTO_TCP, sizeof(answer.tcp));
	partial = check_is_partial(skb, L3_OFFSET + sizeof(ip) + TCP_CHECK);
	sum = pseudo_sum6(&answer.ip, IPPROTO_TCP, sizeof(answer.tcp));
	answer.tcp.check = partial ? sum_fold(sum) :
				     ~sum_fold(sum + (__u32)bpf_csum_diff(NULL, 0, (__be32 *)&answer.tcp, sizeof(answer.tcp), 0));
	return send_back(skb, &answer, sizeof(answer));
}

/* As reject_icmp4. The message's checksum is over a pseudo-header too: a device that sums without it finds it in the unused field,
 * and writes the same there. */
GLOBAL int reject_icmp6(struct __sk_buff *skb)
{
	struct reject_icmp6 answer = {};
	__u64 sum;

	if (bpf_skb_load_bytes(skb, L3_OFFSET, &answer.quoted_ip, sizeof(answer.quoted_ip) + sizeof(answer.quoted_ports)))
		return TC_ACT_SHOT;
	answer_ip6(&answer.ip, &answer.quoted_ip, IPPROTO_ICMPV6, sizeof(answer) - sizeof(answer.ip));
	answer.type = ICMPV6_DEST_UNREACH;
	answer.code = ICMPV6_PORT_UNREACH_CODE;
	sum = pseudo_sum6(&answer.ip, IPPROTO_ICMPV6, sizeof(answer) - sizeof(answer.ip));
	if (answer.quoted_ip.nexthdr == IPPROTO_UDP && check_is_partial(skb, L3_OFFSET + sizeof(answer.ip) + UDP_CHECK))
		answer.balance = sum_fold(sum);
	answer.check = ~sum_fold(sum + (__u32)bpf_csum_diff(NULL, 0, (__be32 *)&answer.type, sizeof(answer) - sizeof(answer.ip), 0));
	return send_back(skb, &answer, sizeof(answer));
}

/* Returns the program's result. The drop is counted and told already. */
static __always_inline int reject4(struct __sk_buff *skb)
{
	struct iphdr *ip = (void *)(long)skb->data + L3_OFFSET;

	if ((void *)(ip + 1) > (void *)(long)skb->data_end || *(__u8 *)ip != 0x45 ||
	    (ip->frag_off & (IP_MORE_FRAGMENTS | IP_FRAGMENT_OFFSET)))
		return TC_ACT_SHOT;
	if (ip->protocol == IPPROTO_TCP)
		return reject_tcp4(skb);
	return ip->protocol == IPPROTO_UDP || ip->protocol == IPPROTO_SCTP ? reject_icmp4(skb) : TC_ACT_SHOT;
}

static __always_inline int reject6(struct __sk_buff *skb)
{
	struct ipv6hdr *ip = (void *)(long)skb->data + L3_OFFSET;

	if ((void *)(ip + 1) > (void *)(long)skb->data_end)
		return TC_ACT_SHOT;
	if (ip->nexthdr == IPPROTO_TCP)
		return reject_tcp6(skb);
	return ip->nexthdr == IPPROTO_UDP || ip->nexthdr == IPPROTO_SCTP ? reject_icmp6(skb) : TC_ACT_SHOT;
}

/* A frontend does not take the packet. Told as the drop that it is, and answered if no backend is why. */
GLOBAL int refuse(struct __sk_buff *skb, struct packet *packet, __u32 reason, __u32 family)
{
	struct lxc_row *row;

	if (!packet)
		return TC_ACT_SHOT;
	row = endpoint_row(packet->from_lxc_id);
	if (row)
		packet->src_sec_id = row->sec_id;
	drop(skb, packet, reason);
	if (reason != DROP_NO_SERVICE || packet->shape)
		return TC_ACT_SHOT;
	return family == FAMILY_V6 ? reject6(skb) : reject4(skb);
}
