/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Events: one ring buffer for the node. Whoever builds one has asked first whether somebody wants it. */
#pragma once

#include "kernel.h"
#include "metrics.h"

#define EVENT_DROP 1
#define EVENT_DEBUG 2
#define EVENT_TRACE 4
#define EVENT_POLICY_VERDICT 5

#define EVENT_CAPTURE 128

struct event_header {
	__u8 type;
	__u8 subtype;
	__u16 source; /* endpoint whose program speaks; 0 is the node */
	__u32 hash;
};

struct drop_event {
	struct event_header header; /* subtype: reason */
	__u32 len_orig;
	__u32 len_cap;
	__u32 src_label;
	__u32 dst_label;
	__u32 dst_id;
	__u32 ifindex;
	__u8 direction;
	__u8 pad[3];
	__u32 rule;
	__u8 data[EVENT_CAPTURE];
};
ABI_SIZE(struct drop_event, 40 + EVENT_CAPTURE);

struct trace_event {
	struct event_header header; /* subtype: observation point */
	__u32 len_orig;
	__u32 len_cap;
	__u32 src_label;
	__u32 dst_label;
	__u16 dst_id;
	__u8 reason;
	__u8 direction;
	__u32 ifindex;
	__u8 data[EVENT_CAPTURE];
};
ABI_SIZE(struct trace_event, 32 + EVENT_CAPTURE);

struct verdict_event {
	struct event_header header; /* subtype: 0 denied, 1 allowed */
	__u32 len_orig;
	__u32 len_cap;
	__u32 src_label;
	__u32 dst_label;
	__u32 dst_id;
	__u8 direction;
	__u8 match;
	__u8 pad[2];
	__u32 rule;
	__u32 pad2;
	__u8 data[EVENT_CAPTURE];
};
ABI_SIZE(struct verdict_event, 40 + EVENT_CAPTURE);

struct debug_event {
	struct event_header header; /* subtype: what happened */
	__u32 arg1;
	__u32 arg2;
	__u32 arg3;
	__u32 pad;
};
ABI_SIZE(struct debug_event, 24);

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_events SEC(".maps");

/* A full ring is counted, never waited for. */
static __always_inline void *event_reserve(__u32 size)
{
	void *event = bpf_ringbuf_reserve(&cilium_events, size, 0);

	if (!event)
		metrics_count(REASON_EVENT_LOST, DIRECTION_INGRESS, 0);
	return event;
}

static __always_inline void event_head(struct __sk_buff *skb, struct event_header *header, __u8 type, __u8 subtype,
				       __u16 source)
{
	header->type = type;
	header->subtype = subtype;
	header->source = source;
	header->hash = bpf_get_hash_recalc(skb);
}

/* Copies the packet's beginning, zeroes the rest, and returns how much is the packet's. */
static __always_inline __u32 event_capture(struct __sk_buff *skb, __u8 *data)
{
	__u32 length = skb->len;

	if (length > EVENT_CAPTURE)
		length = EVENT_CAPTURE;
	__builtin_memset(data, 0, EVENT_CAPTURE);
	/* The verifier wants to see that the length is not zero. */
	if (length == 0 || bpf_skb_load_bytes(skb, 0, data, ((length - 1) & (EVENT_CAPTURE - 1)) + 1))
		return 0;
	return length;
}
