/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The node's devices: its own traffic to pods, and the network's in both directions. */
#include "kernel.h"
#include "config.h"
#include "connection.h"
#include "delivery.h"
#include "drop.h"
#include "dsr.h"
#include "hostbackend.h"
#include "lb.h"
#include "nat.h"
#include "nodename.h"
#include "packet.h"
#include "ranges.h"
#include "reject.h"
#include "runtime.h"
#include "service.h"
#include "toobig.h"

const volatile struct host_config host_config;
const volatile struct lb_config lb_config;

/* Reads the runtime; false without it, which the kernel's verifier asks for and an array of one never does. */
static __always_inline bool begins(struct packet *packet)
{
	struct runtime_config *runtime = runtime_config();

	if (!runtime)
		return false;
	/* Before every lookup that a verdict comes from: a change in between makes the verdict old, never new by mistake. */
	packet->epoch = *(volatile __u32 *)&runtime->epoch;
	packet->monitor = runtime->monitor;
	packet->external = lb_config.enabled && runtime->lb_external;
	return true;
}

static __always_inline int host_ipv4(struct __sk_buff *skb, struct packet *packet)
{
	struct ct_key4 key = {};
	__be32 daddr[4];
	int reason;

	if (!host_config.enable_ipv4 || !destination4(skb, daddr) || !is_pod_address4(daddr[0]))
		return TC_ACT_OK;
	if (unlikely(packet->monitor))
		trace(skb, packet, TRACE_FROM_HOST);
	reason = parse4(skb, packet, &key);
	if (unlikely(reason))
		return drop(skb, packet, reason);
	reason = connect4(skb, packet, &key, ct_find4(&key), HOOK_HOST);
	if (unlikely(reason))
		return drop(skb, packet, reason);
	if (unlikely(!packet->to_lxc_id))
		return drop(skb, packet, DROP_UNKNOWN_TARGET);
	if (unlikely(packet->reverse)) {
		reason = reverse4(skb, packet, &key);
		if (unlikely(reason))
			return drop(skb, packet, reason);
	}
	return deliver4(skb, packet, HOOK_HOST);
}

static __always_inline int host_ipv6(struct __sk_buff *skb, struct packet *packet)
{
	struct ct_key6 key = {};
	__be32 daddr[4];
	int reason;

	if (!host_config.enable_ipv6 || !destination6(skb, daddr) || !is_pod_address6(daddr))
		return TC_ACT_OK;
	if (unlikely(packet->monitor))
		trace(skb, packet, TRACE_FROM_HOST);
	reason = parse6(skb, packet, &key);
	if (unlikely(reason))
		return drop(skb, packet, reason);
	reason = connect6(skb, packet, &key, ct_find6(&key), HOOK_HOST);
	if (unlikely(reason))
		return drop(skb, packet, reason);
	if (unlikely(!packet->to_lxc_id))
		return drop(skb, packet, DROP_UNKNOWN_TARGET);
	if (unlikely(packet->reverse)) {
		reason = reverse6(skb, packet, &key);
		if (unlikely(reason))
			return drop(skb, packet, reason);
	}
	return deliver6(skb, packet, HOOK_HOST);
}

/* The node's stack sends to pods, or forwards to them: at the egress of cilium_host. */
SEC("tcx/egress")
int from_host(struct __sk_buff *skb)
{
	struct packet packet = { .hook = HOOK_HOST, .direction = DIRECTION_INGRESS };

	if (!begins(&packet))
		return TC_ACT_SHOT;
	switch (skb->protocol) {
	case bpf_htons(ETH_P_IP):
		return host_ipv4(skb, &packet);
	case bpf_htons(ETH_P_IPV6):
		return host_ipv6(skb, &packet);
	default:
		return TC_ACT_OK;
	}
}

/* May a packet for a pod say which frontend it was sent to? Most are plain, and not asked further. */
static __always_inline bool has_options4(struct __sk_buff *skb)
{
	struct iphdr *ip = (void *)(long)skb->data + L3_OFFSET;

	return (void *)(ip + 1) > (void *)(long)skb->data_end || *(__u8 *)ip != 0x45;
}

static __always_inline bool has_options6(struct __sk_buff *skb)
{
	struct ipv6hdr *ip = (void *)(long)skb->data + L3_OFFSET;

	return (void *)(ip + 1) > (void *)(long)skb->data_end || ip->nexthdr == IPPROTO_DSTOPTS;
}

/* Is the backend to which a packet goes asked with the client's address? Only where a pod can be is a node that understands, and answers from the frontend. */
static __noinline int is_direct4(struct __sk_buff *skb, __u32 protocol)
{
	__be32 daddr;

	return lb_config.dsr && dsr_is_spoken(protocol) && destination4(skb, &daddr) && is_native4(daddr);
}

static __noinline int is_direct6(struct __sk_buff *skb, __u32 protocol)
{
	__be32 daddr[4];

	return lb_config.dsr && dsr_is_spoken(protocol) && destination6(skb, daddr) && is_native6(daddr);
}

/* What is for no pod and cannot be read is the stack's. */
static __always_inline int leave_unread(struct __sk_buff *skb, int reason)
{
	if (reason == DROP_FRAGMENT)
		metrics_count(REASON_FRAGMENT_PASSED, DIRECTION_INGRESS, skb->len);
	return TC_ACT_OK;
}

static __always_inline int netdev_ipv4(struct __sk_buff *skb, struct packet *packet, struct ct_key4 *key)
{
	struct ct_entry *entry;
	bool direct;
	int reason;

	if (!host_config.enable_ipv4)
		return TC_ACT_OK;
	reason = for_pod4(skb);
	if (reason < 0 || (!reason && !packet->external))
		return TC_ACT_OK;
	packet->to_pod = reason;
	if (packet->to_pod && unlikely(packet->monitor))
		trace(skb, packet, TRACE_FROM_STACK);
	if (lb_config.dsr && packet->to_pod && unlikely(has_options4(skb))) {
		reason = dsr_take4(skb);
		if (reason > 0)
			return drop(skb, packet, reason);
		packet->dsr = !!reason;
	}
	reason = parse4(skb, packet, key);
	if (unlikely(reason))
		return packet->to_pod ? drop(skb, packet, reason) : leave_unread(skb, reason);
	entry = ct_find4(key);
	if (!packet->to_pod && !packet->unmasked) {
		if (entry ? !service_is_asked(entry, packet) : !is_frontend4(packet, key))
			return leave_to_stack(skb, entry, packet, FAMILY_V4);
		reason = service4(skb, packet, key, entry);
		if (unlikely(reason > 0))
			return refuse(skb, packet, reason, FAMILY_V4);
		entry = reason == SERVICE_TRANSLATED ? ct_find4(key) : service_leaves(entry);
		if (!packet->service)
			return leave_to_stack(skb, entry, packet, FAMILY_V4);
	}
	reason = connect4(skb, packet, key, entry, HOOK_NETDEV);
	if (unlikely(reason))
		return drop(skb, packet, reason);
	if (unlikely(packet->reverse)) {
		reason = reverse4(skb, packet, key);
		if (unlikely(reason))
			return drop(skb, packet, reason);
	}
	if (lb_config.dsr && unlikely(packet->dsr)) {
		reason = dsr_remember4(skb, packet, key);
		if (reason)
			return drop(skb, packet, reason);
	}
	if (likely(packet->to_lxc_id))
		return deliver4(skb, packet, HOOK_NETDEV);
	if (packet->to_pod)
		return drop(skb, packet, DROP_UNKNOWN_TARGET);
	/* A connection that is no longer known has no frontend to answer for. */
	if (packet->unmasked && !packet->reverse)
		return drop(skb, packet, DROP_NO_SERVICE);
	if (!packet->reverse) {
		if (for_node(skb, FAMILY_V4))
			return deliver_to_stack(skb, packet);
		if (is_direct4(skb, key->protocol))
			reason = dsr_is_told(packet) ? dsr_tell4(skb, packet) : 0;
		else
			reason = snat_service(skb, FAMILY_V4);
		if (unlikely(reason))
			return drop(skb, packet, reason);
	}
	direct = packet->service && is_direct4(skb, key->protocol);
	return pass_on4(skb, packet, key, direct && dsr_is_told(packet) ? sizeof(struct dsr4) : 0, !direct);
}

static __always_inline int netdev_ipv6(struct __sk_buff *skb, struct packet *packet, struct ct_key6 *key)
{
	struct ct_entry *entry;
	bool direct;
	int reason;

	if (!host_config.enable_ipv6)
		return TC_ACT_OK;
	reason = for_pod6(skb);
	if (reason < 0 || (!reason && !packet->external))
		return TC_ACT_OK;
	packet->to_pod = reason;
	if (packet->to_pod && unlikely(packet->monitor))
		trace(skb, packet, TRACE_FROM_STACK);
	if (lb_config.dsr && packet->to_pod && unlikely(has_options6(skb))) {
		reason = dsr_take6(skb);
		if (reason > 0)
			return drop(skb, packet, reason);
		packet->dsr = !!reason;
	}
	reason = parse6(skb, packet, key);
	if (unlikely(reason))
		return packet->to_pod ? drop(skb, packet, reason) : leave_unread(skb, reason);
	entry = ct_find6(key);
	if (!packet->to_pod && !packet->unmasked) {
		if (entry ? !service_is_asked(entry, packet) : !is_frontend6(packet, key))
			return leave_to_stack(skb, entry, packet, FAMILY_V6);
		reason = service6(skb, packet, key, entry);
		if (unlikely(reason > 0))
			return refuse(skb, packet, reason, FAMILY_V6);
		entry = reason == SERVICE_TRANSLATED ? ct_find6(key) : service_leaves(entry);
		if (!packet->service)
			return leave_to_stack(skb, entry, packet, FAMILY_V6);
	}
	reason = connect6(skb, packet, key, entry, HOOK_NETDEV);
	if (unlikely(reason))
		return drop(skb, packet, reason);
	if (unlikely(packet->reverse)) {
		reason = reverse6(skb, packet, key);
		if (unlikely(reason))
			return drop(skb, packet, reason);
	}
	if (lb_config.dsr && unlikely(packet->dsr)) {
		reason = dsr_remember6(skb, packet, key);
		if (reason)
			return drop(skb, packet, reason);
	}
	if (likely(packet->to_lxc_id))
		return deliver6(skb, packet, HOOK_NETDEV);
	if (packet->to_pod)
		return drop(skb, packet, DROP_UNKNOWN_TARGET);
	/* A connection that is no longer known has no frontend to answer for. */
	if (packet->unmasked && !packet->reverse)
		return drop(skb, packet, DROP_NO_SERVICE);
	if (!packet->reverse) {
		if (for_node(skb, FAMILY_V6))
			return deliver_to_stack(skb, packet);
		if (is_direct6(skb, key->protocol))
			reason = dsr_is_told(packet) ? dsr_tell6(skb, packet) : 0;
		else
			reason = snat_service(skb, FAMILY_V6);
		if (unlikely(reason))
			return drop(skb, packet, reason);
	}
	direct = packet->service && is_direct6(skb, key->protocol);
	return pass_on6(skb, packet, key, direct && dsr_is_told(packet) ? sizeof(struct dsr6) : 0);
}

/* From the network: at the ingress of a native device. */
SEC("tcx/ingress")
int from_netdev(struct __sk_buff *skb)
{
	struct packet packet = { .hook = HOOK_NETDEV, .direction = DIRECTION_INGRESS };
	/* One memory: two keys would be too much for the frames of all that is called from here. */
	union {
		struct ct_key4 of4;
		struct ct_key6 of6;
	} key = {};
	int reason;

	/* Frames for others, which a promiscuous device or a bridge shows, and broadcasts are not for pods. */
	if (skb->pkt_type != PACKET_HOST)
		return TC_ACT_OK;
	if (!begins(&packet))
		return TC_ACT_SHOT;
	if ((host_config.enable_masquerade || packet.external) && for_masquerade(skb)) {
		reason = unmasquerade(skb);
		if (unlikely(reason > 0))
			return drop(skb, &packet, reason);
		packet.unmasked = reason == MASQUERADE_TO_POD;
	}
	switch (skb->protocol) {
	case bpf_htons(ETH_P_IP):
		return netdev_ipv4(skb, &packet, &key.of4);
	case bpf_htons(ETH_P_IPV6):
		return netdev_ipv6(skb, &packet, &key.of6);
	default:
		return TC_ACT_OK;
	}
}

static __noinline int drop_of_netdev(struct __sk_buff *skb, __u32 reason, __u8 direction)
{
	struct packet packet = { .hook = HOOK_NETDEV, .direction = direction };

	return drop(skb, &packet, reason);
}

/* To the network: at the egress of a native device. Pods that speak to the world take the node's address. */
SEC("tcx/egress")
int to_netdev(struct __sk_buff *skb)
{
	struct snat_packet masked = { .key.direction = SNAT_OUT };
	struct nat_end to = {};
	int reason = 0;
	__u32 service;

	if (lb_config.enabled) {
		if (skb->mark == MARK_TRANSLATED) {
			skb->mark = 0;
			return TC_ACT_OK;
		}
		if (unlikely(skb->mark == MARK_PIECES)) {
			skb->mark = 0;
			reason = snat_piece4(skb, &masked, &to);
			return unlikely(reason) ? drop_of_netdev(skb, reason, DIRECTION_EGRESS) : TC_ACT_OK;
		}
		service = host_answers(skb);
		if (unlikely(service)) {
			reason = answer_as(skb, service);
			return unlikely(reason) ? drop_of_netdev(skb, reason, DIRECTION_EGRESS) : TC_ACT_OK;
		}
	}
	if (!host_config.enable_masquerade)
		return TC_ACT_OK;
	if (skb->protocol == bpf_htons(ETH_P_IP) && host_config.enable_ipv4)
		reason = masquerade4(skb, &masked, &to);
	else if (skb->protocol == bpf_htons(ETH_P_IPV6) && host_config.enable_ipv6)
		reason = masquerade6(skb, &masked, &to);
	return unlikely(reason) ? drop_of_netdev(skb, reason, DIRECTION_EGRESS) : TC_ACT_OK;
}

char _license[] SEC("license") = "Dual BSD/GPL";
