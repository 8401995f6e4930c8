/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A process of the node as a backend: its answers carry the frontend's address when they leave, unless it was spoken to itself. */
#pragma once

#include "kernel.h"
#include "conntrack.h"
#include "drop.h"
#include "ipv4.h"
#include "ipv6.h"
#include "nat.h"
#include "packet.h"
#include "ranges.h"
#include "runtime.h"

/* The frontend in whose place a process of this node answers, or 0. */
GLOBAL int host_answers4(struct __sk_buff *skb)
{
	struct packet packet = { .hook = HOOK_HOST };
	struct ct_key4 key = {};
	struct ct_entry *entry;

	if (parse4(skb, &packet, &key))
		return 0;
	entry = ct_find4(&key);
	if (!entry || !entry->rev_nat_index || ct_is_service(entry) ||
	    ct_is_forward(entry, &packet) != (packet.shape == SHAPE_ERROR) || ct_advance(entry, &packet, skb->len) == CT_NEW)
		return 0;
	if (unlikely(packet.heard)) {
		packet.reverse = entry->rev_nat_index;
		service_heard4(&packet, &key);
	}
	return entry->rev_nat_index;
}

GLOBAL int host_answers6(struct __sk_buff *skb)
{
	struct packet packet = { .hook = HOOK_HOST };
	struct ct_key6 key = {};
	struct ct_entry *entry;

	if (parse6(skb, &packet, &key))
		return 0;
	entry = ct_find6(&key);
	if (!entry || !entry->rev_nat_index || ct_is_service(entry) ||
	    ct_is_forward(entry, &packet) != (packet.shape == SHAPE_ERROR) || ct_advance(entry, &packet, skb->len) == CT_NEW)
		return 0;
	if (unlikely(packet.heard)) {
		packet.reverse = entry->rev_nat_index;
		service_heard6(&packet, &key);
	}
	return entry->rev_nat_index;
}

/* Of what the node sends itself. */
static __always_inline int host_answers(struct __sk_buff *skb)
{
	struct runtime_config *runtime = runtime_config();

	if (!runtime || !runtime->lb_external)
		return 0;
	if (skb->protocol == bpf_htons(ETH_P_IP) && host_config.enable_ipv4)
		return from_pod4(skb) ? 0 : host_answers4(skb);
	if (skb->protocol == bpf_htons(ETH_P_IPV6) && host_config.enable_ipv6)
		return from_pod6(skb) ? 0 : host_answers6(skb);
	return 0;
}

/* 0 or the reason of a drop. */
static __noinline int answer_as(struct __sk_buff *skb, __u32 service)
{
	__u32 family = skb->protocol == bpf_htons(ETH_P_IP) ? FAMILY_V4 : FAMILY_V6;
	struct nat_end end = {};

	if (!frontend_end(service, family, &end))
		return DROP_NO_SERVICE;
	return family == FAMILY_V4 ? nat4(skb, &end, SNAT_OUT) : nat6(skb, &end, SNAT_OUT);
}

/* A client that a process of the node has answered in a frontend's name now speaks to the process itself. Datagrams are answered by the
 * way that was taken last; of TCP, what opens a connection after the frontend's is over. */
GLOBAL int forget_service(struct __sk_buff *skb, struct ct_entry *entry, const struct packet *packet, __u32 family)
{
	if (!entry || !packet || packet->shape || ct_is_service(entry) || !ct_is_forward(entry, packet))
		return 0;
	if (packet->protocol == IPPROTO_TCP &&
	    ((packet->tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN || (ct_is_alive(entry) && !ct_is_closed(entry))))
		return 0;
	/* What is only forwarded here can be a mapped connection's, whose answers come back to it. */
	if (for_node(skb, family))
		entry->rev_nat_index = 0;
	return 0;
}

/* The network's packet is for no frontend, nor for a pod. */
static __always_inline int leave_to_stack(struct __sk_buff *skb, struct ct_entry *entry, const struct packet *packet, __u32 family)
{
	if (unlikely(entry && entry->rev_nat_index))
		forget_service(skb, entry, packet, family);
	return TC_ACT_OK;
}
