/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Trace, verdict and debug events: nothing of this runs unless somebody listens. */
#pragma once

#include "kernel.h"
#include "endpoint.h"
#include "events.h"
#include "packet.h"

#define TRACE_TO_ENDPOINT 0
#define TRACE_TO_HOST 2
#define TRACE_TO_STACK 3
#define TRACE_FROM_ENDPOINT 5
#define TRACE_FROM_HOST 7
#define TRACE_FROM_STACK 8

/* runtime_config.monitor is 1 + aggregation level. */
#define MONITOR_HIDES_FROM 2 /* level 1 and above: one event per packet, where it goes */
#define MONITOR_BY_FLOW 4 /* level 3 and above: one per flow and interval, and on new TCP flags */

#define DEBUG_CT_CREATED 1 /* source identity, destination identity, ports */
#define DEBUG_CT_REVALIDATED 2
#define DEBUG_POLICY 3 /* endpoint, peer identity, answer */

GLOBAL int trace(struct __sk_buff *skb, const struct packet *packet, __u32 point)
{
	struct trace_event *event;
	__u16 speaker;

	if (!packet)
		return 0;
	speaker = packet->hook == HOOK_CONTAINER ? packet->from_lxc_id : packet->to_lxc_id;
	if (packet->monitor >= MONITOR_HIDES_FROM && point >= TRACE_FROM_ENDPOINT)
		return 0;
	if (packet->monitor >= MONITOR_BY_FLOW && !packet->report)
		return 0;
	if (speaker && !(endpoint_options(speaker) & OPTION_TRACE_NOTIFICATION))
		return 0;
	event = event_reserve(sizeof(*event));
	if (!event)
		return 0;
	event_head(skb, &event->header, EVENT_TRACE, point, speaker);
	event->len_orig = skb->len;
	event->len_cap = event_capture(skb, event->data);
	event->src_label = packet->src_sec_id;
	event->dst_label = packet->dst_sec_id;
	event->dst_id = packet->to_lxc_id;
	event->reason = packet->status;
	event->direction = point == TRACE_TO_ENDPOINT ? DIRECTION_INGRESS : DIRECTION_EGRESS;
	event->ifindex = skb->ifindex;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

static __always_inline void debug(struct __sk_buff *skb, __u16 lxc_id, __u8 what, __u32 arg1, __u32 arg2, __u32 arg3)
{
	struct debug_event *event;

	if (!(endpoint_options(lxc_id) & OPTION_DEBUG))
		return;
	event = event_reserve(sizeof(*event));
	if (!event)
		return;
	event_head(skb, &event->header, EVENT_DEBUG, what, lxc_id);
	event->arg1 = arg1;
	event->arg2 = arg2;
	event->arg3 = arg3;
	event->pad = 0;
	bpf_ringbuf_submit(event, 0);
}
