/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* ARP: the pod's gateway is whoever answers here. */
#pragma once

#include "kernel.h"
#include "config.h"
#include "drop.h"
#include "packet.h"

/* RFC 826 for Ethernet and IPv4; <linux/if_arp.h> wants the C library. */
#define ARPHRD_ETHER 1
#define ARPOP_REQUEST 1
#define ARPOP_REPLY 2

struct arp_ipv4 {
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_length;
	__u8 protocol_length;
	__be16 operation;
	__u8 sender_mac[ETH_ALEN];
	__be32 sender_ip;
	__u8 target_mac[ETH_ALEN];
	__be32 target_ip;
} __attribute__((packed));

/* A request for the router is answered with the node's MAC, back to the pod. No other ARP leaves a pod: its only neighbour is
 * the router. */
static __always_inline int answer_arp(struct __sk_buff *skb, struct packet *packet, const struct lxc_config *config)
{
	struct ethhdr *eth;
	struct arp_ipv4 *arp;
	void *end;
	__be32 asked;
	int i;

	if (bpf_skb_pull_data(skb, sizeof(*eth) + sizeof(*arp)))
		return drop(skb, packet, DROP_INVALID);
	eth = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	arp = (void *)(eth + 1);
	if ((void *)(arp + 1) > end || arp->hardware != bpf_htons(ARPHRD_ETHER) ||
	    arp->protocol != bpf_htons(ETH_P_IP) || arp->hardware_length != ETH_ALEN || arp->protocol_length != 4)
		return drop(skb, packet, DROP_INVALID);
	if (arp->operation != bpf_htons(ARPOP_REQUEST) || arp->target_ip != config->router_ipv4)
		return drop(skb, packet, DROP_UNKNOWN_TARGET);

	asked = arp->target_ip;
	arp->operation = bpf_htons(ARPOP_REPLY);
	arp->target_ip = arp->sender_ip;
	arp->sender_ip = asked;
	for (i = 0; i < ETH_ALEN; i++) {
		__u8 node = config->node_mac[i];

		eth->h_dest[i] = eth->h_source[i];
		arp->target_mac[i] = arp->sender_mac[i];
		eth->h_source[i] = node;
		arp->sender_mac[i] = node;
	}
	metrics_count(REASON_FORWARDED, DIRECTION_INGRESS, skb->len);
	return bpf_redirect(config->ifindex, 0);
}
