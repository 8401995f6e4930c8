/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Drops: counted always, told when the endpoint's options say so. */
#pragma once

#include "kernel.h"
#include "endpoint.h"
#include "events.h"
#include "metrics.h"
#include "packet.h"

#define DROP_INVALID_SMAC 130
#define DROP_INVALID_DMAC 131
#define DROP_INVALID_SIP 132
#define DROP_POLICY_L3 133
#define DROP_INVALID 134
#define DROP_CT_INVALID_HEADER 135
#define DROP_CT_MISSING_ACK 136
#define DROP_CT_UNKNOWN_PROTOCOL 137
#define DROP_CT_CANNOT_CREATE 138
#define DROP_UNSUPPORTED_L3 139
#define DROP_WRITE_ERROR 141
#define DROP_UNKNOWN_TARGET 150
#define DROP_NO_CONTAINER 152
#define DROP_L3_CHECKSUM 153
#define DROP_L4_CHECKSUM 154
#define DROP_CT_INSERT 155
#define DROP_INVALID_EXTENSION_HEADER 156
#define DROP_FRAGMENT 157
#define DROP_NO_SERVICE 158
#define DROP_POLICY_L4 159
#define DROP_POLICY_CIDR 162
#define DROP_NO_CONFIGURATION 165
#define DROP_SNAT_NO_PORT 166 /* not in 1.4, which left masquerading to iptables */
#define DROP_NO_ROUTE 167 /* nor this: it left forwarding to the stack */
#define DROP_TOO_BIG 168 /* nor this: for the way's MTU */
#define DROP_NOT_IN_SOURCE_RANGE 177 /* nor this: the number is a later Cilium's */

/* An endpoint decides whether its drops are told; the node's own are. */
static __always_inline bool drop_is_told(const struct packet *packet)
{
	__u32 speaker = packet->hook == HOOK_CONTAINER ? packet->from_lxc_id : packet->to_lxc_id;

	return !speaker || (endpoint_options(speaker) & OPTION_DROP_NOTIFICATION);
}

/* Not inlined: a program has many ways to end here. Returns the program's result. */
GLOBAL int drop(struct __sk_buff *skb, const struct packet *packet, __u32 reason)
{
	struct drop_event *event;

	if (!packet)
		return TC_ACT_SHOT;
	metrics_count(reason, packet->direction, skb->len);
	if (!drop_is_told(packet))
		return TC_ACT_SHOT;
	event = event_reserve(sizeof(*event));
	if (!event)
		return TC_ACT_SHOT;
	event_head(skb, &event->header, EVENT_DROP, reason,
		   packet->hook == HOOK_CONTAINER ? packet->from_lxc_id : packet->to_lxc_id);
	event->len_orig = skb->len;
	event->len_cap = event_capture(skb, event->data);
	event->src_label = packet->src_sec_id;
	event->dst_label = packet->dst_sec_id;
	event->dst_id = packet->to_lxc_id;
	event->ifindex = skb->ifindex;
	event->direction = packet->direction;
	event->pad[0] = event->pad[1] = event->pad[2] = 0;
	event->rule = packet->rule;
	bpf_ringbuf_submit(event, 0);
	return TC_ACT_SHOT;
}
