/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The slow path: who speaks to whom, and may they? Both ends' policies at once, for the ends that are on this node. */
#pragma once

#include "kernel.h"
#include "conntrack.h"
#include "drop.h"
#include "endpoint.h"
#include "ipcache.h"
#include "packet.h"
#include "policy.h"
#include "trace.h"

/* A connection as its initiator sees it. Addresses are 4 words; an IPv4 address is the first. */
struct flow {
	__be32 saddr[4];
	__be32 daddr[4];
	__be16 dport;
	__u8 protocol;
	__u8 family;
	/* answers */
	__u32 src_sec_id;
	__u32 dst_sec_id;
	__u16 src_lxc_id;
	__u16 dst_lxc_id;
	__u32 rule;
	__u8 direction; /* whose policy denied */
	__u8 accounting;
	__u8 src_is_host;
	__u8 dst_is_host;
};

static __always_inline void locate(const __be32 *addr, __u8 family, __u32 *sec_id, __u16 *lxc_id, __u8 *is_host)
{
	struct endpoint_key key = { .family = family };
	struct endpoint_info *info;

	copy_ip6(key.ip6, addr);
	info = bpf_map_lookup_elem(&cilium_lxc, &key);
	if (info) {
		*sec_id = info->sec_id;
		*lxc_id = info->lxc_id;
		*is_host = info->flags & ENDPOINT_HOST;
		return;
	}
	*sec_id = ipcache_identity(addr, family);
	*lxc_id = 0;
	*is_host = *sec_id == IDENTITY_HOST;
}

static __always_inline void tell_verdict(struct __sk_buff *skb, const struct flow *flow, const struct policy_query *query,
					  __u16 lxc_id, bool allowed)
{
	struct verdict_event *event;

	if (!(endpoint_options(lxc_id) & OPTION_POLICY_VERDICT_NOTIFICATION))
		return;
	event = event_reserve(sizeof(*event));
	if (!event)
		return;
	event_head(skb, &event->header, EVENT_POLICY_VERDICT, allowed, lxc_id);
	event->len_orig = skb->len;
	event->len_cap = event_capture(skb, event->data);
	event->src_label = flow->src_sec_id;
	event->dst_label = flow->dst_sec_id;
	event->dst_id = flow->dst_lxc_id;
	event->direction = query->egress ? DIRECTION_EGRESS : DIRECTION_INGRESS;
	event->match = query->match;
	event->pad[0] = event->pad[1] = 0;
	event->rule = query->rule;
	event->pad2 = 0;
	bpf_ringbuf_submit(event, 0);
}

/* One end's policy. */
GLOBAL int flow_ask(struct __sk_buff *skb, struct flow *flow, __u32 egress, __u32 monitor)
{
	struct policy_query query = {};
	__u16 lxc_id;
	int reason;

	if (!flow)
		return DROP_NO_CONFIGURATION;
	lxc_id = egress ? flow->src_lxc_id : flow->dst_lxc_id;
	query.peer = egress ? flow->dst_sec_id : flow->src_sec_id;
	query.dport = flow->dport;
	query.protocol = flow->protocol;
	query.egress = !!egress;
	query.bytes = skb->len;
	reason = policy_lookup(lxc_id, &query);
	flow->direction = egress ? DIRECTION_EGRESS : DIRECTION_INGRESS;
	flow->rule = query.rule;
	if (endpoint_options(lxc_id) & OPTION_CONNTRACK_ACCOUNTING)
		flow->accounting = 1;
	if (monitor) {
		tell_verdict(skb, flow, &query, lxc_id, reason == 0);
		debug(skb, lxc_id, DEBUG_POLICY, lxc_id, query.peer, reason);
	}
	return reason;
}

/* 0, or the reason of the drop. A caller that knows the initiator's endpoint (src_lxc_id) spares a lookup. */
GLOBAL int flow_verdict(struct __sk_buff *skb, struct flow *flow, __u32 monitor)
{
	struct lxc_row *row;
	int reason;

	if (!flow)
		return DROP_NO_CONFIGURATION;
	if (flow->src_lxc_id) {
		row = endpoint_row(flow->src_lxc_id);
		if (!row)
			return DROP_NO_CONFIGURATION;
		flow->src_sec_id = row->sec_id;
	} else {
		locate(flow->saddr, flow->family, &flow->src_sec_id, &flow->src_lxc_id, &flow->src_is_host);
	}
	locate(flow->daddr, flow->family, &flow->dst_sec_id, &flow->dst_lxc_id, &flow->dst_is_host);
	/* A pod may reach itself. */
	if (flow->src_lxc_id && flow->src_lxc_id == flow->dst_lxc_id)
		return 0;

	if (flow->src_lxc_id) {
		reason = flow_ask(skb, flow, 1, monitor);
		if (reason)
			return reason;
	}
	if (flow->dst_lxc_id) {
		reason = flow_ask(skb, flow, 0, monitor);
		if (reason)
			return reason;
	}
	return 0;
}

/* Copies the flow's answers into what is known of the packet; forward: its sender is the initiator. */
static __always_inline void packet_learns(struct packet *packet, const struct flow *flow, bool forward)
{
	packet->src_sec_id = forward ? flow->src_sec_id : flow->dst_sec_id;
	packet->dst_sec_id = forward ? flow->dst_sec_id : flow->src_sec_id;
	packet->from_lxc_id = forward ? flow->src_lxc_id : flow->dst_lxc_id;
	packet->to_lxc_id = forward ? flow->dst_lxc_id : flow->src_lxc_id;
	/* No policy was asked between ends that are not on this node: the hook's own direction stays. */
	if (flow->direction)
		packet->direction = flow->direction;
	packet->rule = flow->rule;
}

/* What comes from the network does not speak for a pod of this node, nor for the node. */
static __always_inline bool flow_is_spoofed(const struct packet *packet, const struct flow *flow, bool forward)
{
	if (packet->hook != HOOK_NETDEV)
		return false;
	return forward ? flow->src_lxc_id || flow->src_is_host : flow->dst_lxc_id || flow->dst_is_host;
}

/* Is the packet's sender the connection's initiator? An error travels against the packet that it is about; one about no
 * connection that we know (no entry) is a flow of its own. */
static __always_inline bool packet_is_from(const struct packet *packet, const struct ct_entry *entry, bool initiator_is_1)
{
	bool forward = initiator_is_1 == packet->swapped;

	return packet->shape == SHAPE_ERROR && entry ? !forward : forward;
}

/* The flow's verdict, applied to this packet. */
static __always_inline int flow_judge(struct __sk_buff *skb, struct packet *packet, struct flow *flow,
				      bool sender_is_initiator)
{
	int reason;

	if (packet->hook == HOOK_CONTAINER && sender_is_initiator)
		flow->src_lxc_id = packet->from_lxc_id;
	reason = flow_verdict(skb, flow, packet->monitor);
	packet_learns(packet, flow, sender_is_initiator);
	return flow_is_spoofed(packet, flow, sender_is_initiator) ? DROP_INVALID_SIP : reason;
}

/* Fills a new entry's fields that the verdict decides; revalidation fills them again. */
static __always_inline void ct_entry_learns(struct ct_entry *entry, const struct flow *flow, const struct packet *packet)
{
	entry->src_sec_id = flow->src_sec_id;
	entry->dst_sec_id = flow->dst_sec_id;
	entry->src_lxc_id = flow->src_lxc_id;
	entry->dst_lxc_id = flow->dst_lxc_id;
	if (flow->accounting)
		entry->flags |= CT_ACCOUNTING;
	else
		entry->flags &= ~CT_ACCOUNTING;
	/* Last: from here on the fast path believes the entry. */
	barrier();
	*(volatile __u32 *)&entry->epoch = packet->epoch;
}

/* A connection's first packet. */
static __always_inline void ct_entry_begins(struct ct_entry *entry, const struct flow *flow, const struct packet *packet,
					    __u32 bytes)
{
	__u32 now = clock_seconds();

	entry->flags = packet->swapped ? CT_INITIATOR_IS_1 : 0;
	if (packet->protocol == IPPROTO_TCP && !(packet->tcp_flags & TCP_SYN))
		entry->flags |= CT_SEEN_NON_SYN;
	if (packet->tcp_flags & TCP_FIN)
		entry->flags |= CT_TX_CLOSING;
	if (packet->hook == HOOK_HOST && flow->src_lxc_id)
		entry->flags |= CT_VIA_STACK;
	if (packet->loopback)
		entry->flags |= CT_LOOPBACK;
	entry->rev_nat_index = packet->service;
	entry->tx_flags_seen = packet->tcp_flags;
	entry->lifetime = now + ct_lifetime(entry, packet->protocol);
	entry->tick = clock_tick();
	entry->last_report = now;
	ct_entry_learns(entry, flow, packet);
	if (entry->flags & CT_ACCOUNTING) {
		entry->tx_packets = 1;
		entry->tx_bytes = bytes;
	}
}

/* May this packet, for which no entry was found, open one? 0, the reason why not, or CT_STATELESS: by policy alone. */
#define CT_STATELESS -1

static __always_inline int ct_may_open(const struct packet *packet)
{
	if (packet->shape == SHAPE_ERROR)
		return CT_STATELESS;
	if (packet->shape == SHAPE_ECHO_REPLY)
		return DROP_CT_CANNOT_CREATE;
	if (packet->protocol == IPPROTO_TCP) {
		if (packet->tcp_flags & TCP_RST)
			return CT_STATELESS;
		if (!(packet->tcp_flags & (TCP_SYN | TCP_ACK)))
			return DROP_CT_MISSING_ACK;
	}
	return 0;
}
