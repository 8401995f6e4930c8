/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Neighbour discovery: as ARP, for IPv6. */
#pragma once

#include "kernel.h"
#include "config.h"
#include "drop.h"
#include "packet.h"

#define ND_ROUTER_SOLICITATION 133
#define ND_ROUTER_ADVERTISEMENT 134
#define ND_NEIGHBOUR_SOLICITATION 135
#define ND_NEIGHBOUR_ADVERTISEMENT 136
#define ND_REDIRECT 137
#define MLD_FIRST 130
#define MLD_LAST 132
#define MLD2_REPORT 143

#define ND_TARGET_LINK_ADDRESS 2
#define ND_FLAGS bpf_htonl(0xe0000000) /* router, solicited, override */

/* An answer to a solicitation: what is written behind the IPv6 header. */
struct nd_advertisement {
	struct icmp6hdr icmp;
	__be32 target[4];
	__u8 option;
	__u8 option_units;
	__u8 mac[ETH_ALEN];
};

static __always_inline bool is_neighbour_discovery(__u8 type)
{
	return (type >= ND_ROUTER_SOLICITATION && type <= ND_REDIRECT) || (type >= MLD_FIRST && type <= MLD_LAST) ||
	       type == MLD2_REPORT;
}

/* ICMPv6 type of a packet with nothing between the headers, or of one behind the hop-by-hop header that MLD has. */
static __always_inline int icmp6_type_of(struct __sk_buff *skb)
{
	__u32 offset = L3_OFFSET + sizeof(struct ipv6hdr);
	__u8 type, next[2];

	if (bpf_skb_load_bytes(skb, L3_OFFSET + offsetof(struct ipv6hdr, nexthdr), &next[0], 1))
		return -1;
	if (next[0] == IPPROTO_HOPOPTS) {
		if (bpf_skb_load_bytes(skb, offset, next, 2))
			return -1;
		offset += (next[1] + 1) * 8;
	}
	if (next[0] != IPPROTO_ICMPV6 || bpf_skb_load_bytes(skb, offset, &type, 1))
		return -1;
	return type;
}

static __always_inline __be16 icmp6_checksum(const struct ipv6hdr *ip, const struct nd_advertisement *message)
{
	__u32 length = bpf_htonl(sizeof(*message)), next = bpf_htonl(IPPROTO_ICMPV6);
	__s64 sum = bpf_csum_diff(NULL, 0, (__be32 *)ip->saddr.in6_u.u6_addr32, 32, 0);

	sum = bpf_csum_diff(NULL, 0, &length, 4, sum);
	sum = bpf_csum_diff(NULL, 0, &next, 4, sum);
	sum = bpf_csum_diff(NULL, 0, (__be32 *)message, sizeof(*message), sum);
	sum = (sum & 0xffff) + ((__u32)sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* A solicitation of the router is answered with the node's MAC. The pod's other neighbour discovery and group management (its own
 * duplicate address detection, router solicitations, MLD) has nobody to reach: it is counted and ends here, untold, since
 * every pod's kernel says it. */
static __noinline int answer_nd(struct __sk_buff *skb, struct packet *packet, const struct lxc_config *config)
{
	struct nd_advertisement message = {};
	struct ipv6hdr ip;
	struct ethhdr eth;
	int i;

	if (bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth)) || bpf_skb_load_bytes(skb, L3_OFFSET, &ip, sizeof(ip)))
		return drop(skb, packet, DROP_INVALID);
	if (ip.nexthdr != IPPROTO_ICMPV6 || bpf_skb_load_bytes(skb, L3_OFFSET + sizeof(ip), &message, 24) ||
	    message.icmp.icmp6_type != ND_NEIGHBOUR_SOLICITATION)
		goto consumed;
	for (i = 0; i < 4; i++)
		if (message.target[i] != config->router_ipv6[i])
			goto consumed;
	/* RFC 4861, 7.1.1: such a packet has crossed no router. From "::" it asks whether the address is taken. */
	if (ip.hop_limit != 255)
		return drop(skb, packet, DROP_INVALID);

	message.icmp = (struct icmp6hdr){ .icmp6_type = ND_NEIGHBOUR_ADVERTISEMENT };
	message.icmp.icmp6_dataun.un_data32[0] = ND_FLAGS;
	message.option = ND_TARGET_LINK_ADDRESS;
	message.option_units = 1;
	for (i = 0; i < ETH_ALEN; i++) {
		eth.h_dest[i] = eth.h_source[i];
		eth.h_source[i] = message.mac[i] = config->node_mac[i];
	}
	ip.daddr = ip.saddr;
	for (i = 0; i < 4; i++)
		ip.saddr.in6_u.u6_addr32[i] = config->router_ipv6[i];
	ip.payload_len = bpf_htons(sizeof(message));
	message.icmp.icmp6_cksum = icmp6_checksum(&ip, &message);

	if (bpf_skb_change_tail(skb, sizeof(eth) + sizeof(ip) + sizeof(message), 0) ||
	    bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0) ||
	    bpf_skb_store_bytes(skb, sizeof(eth), &ip, sizeof(ip), 0) ||
	    bpf_skb_store_bytes(skb, sizeof(eth) + sizeof(ip), &message, sizeof(message), 0))
		return drop(skb, packet, DROP_WRITE_ERROR);
	metrics_count(REASON_FORWARDED, DIRECTION_INGRESS, skb->len);
	return bpf_redirect(config->ifindex, 0);
consumed:
	metrics_count(DROP_UNKNOWN_TARGET, DIRECTION_EGRESS, skb->len);
	return TC_ACT_SHOT;
}
