/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What a pod sends: at the ingress of its device on the node. One program for all endpoints, which finds out by the device
 * whose packet it is: the verifier needs longer for a program than a pod may wait. */
#include "kernel.h"
#include "config.h"
#include "endpoint.h"
#include "lb.h"
#include "nat.h"
#include "runtime.h"
#include "arp.h"
#include "connection.h"
#include "delivery.h"
#include "drop.h"
#include "nd.h"
#include "packet.h"
#include "reject.h"
#include "service.h"
#include "toobig.h"

const volatile struct lb_config lb_config;

static __always_inline bool mac_is(const __u8 *mac, const __u8 *expected)
{
	const __u16 *words = (const __u16 *)expected;

	return ((const __u16 *)mac)[0] == words[0] && ((const __u16 *)mac)[1] == words[1] &&
	       ((const __u16 *)mac)[2] == words[2];
}

static __always_inline bool ip6_is_own(const struct lxc_config *config, const __be32 *addr)
{
	return addr[0] == config->ipv6[0] && addr[1] == config->ipv6[1] && addr[2] == config->ipv6[2] &&
	       addr[3] == config->ipv6[3];
}

/* The link layer: only the pod speaks here, and only to its gateway. */
static __always_inline int check_macs(const struct lxc_config *config, struct ethhdr *eth)
{
	if (!mac_is(eth->h_source, config->mac))
		return DROP_INVALID_SMAC;
	return mac_is(eth->h_dest, config->node_mac) ? 0 : DROP_INVALID_DMAC;
}

static __always_inline int container_ipv4(struct __sk_buff *skb, struct packet *packet, const struct lxc_config *config)
{
	void *data = (void *)(long)skb->data;
	struct iphdr *ip = data + L3_OFFSET;
	struct ct_key4 key = {};
	struct ct_entry *entry;
	int reason;

	if (!config->enable_ipv4)
		return drop(skb, packet, DROP_UNSUPPORTED_L3);
	if ((void *)(ip + 1) > (void *)(long)skb->data_end)
		return drop(skb, packet, DROP_INVALID);
	reason = check_macs(config, data);
	if (unlikely(reason))
		return drop(skb, packet, reason);
	if (unlikely(!config->ipv4 || ip->saddr != config->ipv4))
		return drop(skb, packet, DROP_INVALID_SIP);
	reason = parse4(skb, packet, &key);
	if (unlikely(reason))
		return drop(skb, packet, reason);
	entry = ct_find4(&key);
	if (lb_config.enabled && (likely(entry) ? service_is_asked(entry, packet) : is_frontend4(packet, &key))) {
		reason = service4(skb, packet, &key, entry);
		if (unlikely(reason > 0))
			return refuse(skb, packet, reason, FAMILY_V4);
		entry = reason == SERVICE_TRANSLATED ? ct_find4(&key) : service_leaves(entry);
	}
	reason = connect4(skb, packet, &key, entry, HOOK_CONTAINER);
	if (unlikely(reason))
		return drop(skb, packet, reason);
	if (unlikely(packet->reverse)) {
		reason = reverse4(skb, packet, &key);
		if (unlikely(reason))
			return drop(skb, packet, reason);
		/* The stack would not take it: it may say to be from an address of the node. */
		if (!packet->to_lxc_id)
			return pass_on4(skb, packet, &key, 0, false);
	}
	return deliver4(skb, packet, HOOK_CONTAINER);
}

static __always_inline int container_ipv6(struct __sk_buff *skb, struct packet *packet, const struct lxc_config *config)
{
	void *data = (void *)(long)skb->data;
	struct ipv6hdr *ip = data + L3_OFFSET;
	struct ct_key6 key = {};
	struct ct_entry *entry;
	int reason;

	if (!config->enable_ipv6)
		return drop(skb, packet, DROP_UNSUPPORTED_L3);
	if ((void *)(ip + 1) > (void *)(long)skb->data_end)
		return drop(skb, packet, DROP_INVALID);
	if (unlikely(!mac_is(((struct ethhdr *)data)->h_source, config->mac)))
		return drop(skb, packet, DROP_INVALID_SMAC);
	if (unlikely(ip->nexthdr == IPPROTO_ICMPV6 || ip->nexthdr == IPPROTO_HOPOPTS) &&
	    is_neighbour_discovery(icmp6_type_of(skb)))
		return answer_nd(skb, packet, config);
	if (unlikely(!mac_is(((struct ethhdr *)data)->h_dest, config->node_mac)))
		return drop(skb, packet, DROP_INVALID_DMAC);
	if (unlikely(!config->ipv6[0] || !ip6_is_own(config, ip->saddr.in6_u.u6_addr32)))
		return drop(skb, packet, DROP_INVALID_SIP);
	reason = parse6(skb, packet, &key);
	if (unlikely(reason))
		return drop(skb, packet, reason);
	entry = ct_find6(&key);
	if (lb_config.enabled && (likely(entry) ? service_is_asked(entry, packet) : is_frontend6(packet, &key))) {
		reason = service6(skb, packet, &key, entry);
		if (unlikely(reason > 0))
			return refuse(skb, packet, reason, FAMILY_V6);
		entry = reason == SERVICE_TRANSLATED ? ct_find6(&key) : service_leaves(entry);
	}
	reason = connect6(skb, packet, &key, entry, HOOK_CONTAINER);
	if (unlikely(reason))
		return drop(skb, packet, reason);
	if (unlikely(packet->reverse)) {
		reason = reverse6(skb, packet, &key);
		if (unlikely(reason))
			return drop(skb, packet, reason);
		/* The stack would not take it: it may say to be from an address of the node. */
		if (!packet->to_lxc_id)
			return pass_on6(skb, packet, &key, 0);
	}
	return deliver6(skb, packet, HOOK_CONTAINER);
}

SEC("tcx/ingress")
int from_container(struct __sk_buff *skb)
{
	struct packet packet = {
		.hook = HOOK_CONTAINER,
		.direction = DIRECTION_EGRESS,
	};
	struct runtime_config *runtime = runtime_config();
	const struct lxc_config *config = endpoint_config(skb->ifindex);

	if (!runtime || !config)
		return drop(skb, &packet, DROP_NO_CONFIGURATION);
	packet.from_lxc_id = config->lxc_id;
	/* Before every lookup that a verdict comes from: a change in between makes the verdict old, never new by mistake. */
	packet.epoch = *(volatile __u32 *)&runtime->epoch;
	packet.monitor = runtime->monitor;
	if (unlikely(packet.monitor))
		trace(skb, &packet, TRACE_FROM_ENDPOINT);

	switch (skb->protocol) {
	case bpf_htons(ETH_P_IP):
		return container_ipv4(skb, &packet, config);
	case bpf_htons(ETH_P_IPV6):
		return container_ipv6(skb, &packet, config);
	case bpf_htons(ETH_P_ARP):
		return answer_arp(skb, &packet, config);
	default:
		return drop(skb, &packet, DROP_UNSUPPORTED_L3);
	}
}

char _license[] SEC("license") = "Dual BSD/GPL";
