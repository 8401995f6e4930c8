/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Counters per reason and direction. */
#pragma once

#include "kernel.h"

#define DIRECTION_INGRESS 1
#define DIRECTION_EGRESS 2

#define REASON_FORWARDED 0
#define REASON_EVENT_LOST 1
#define REASON_FRAGMENT_PASSED 2 /* a later one before its first: not known whether for a service, and passed as it is */

struct metrics_value {
	__u64 count;
	__u64 bytes;
};
ABI_SIZE(struct metrics_value, 16);

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1024); /* 256 reasons, 4 directions */
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, struct metrics_value);
} cilium_metrics SEC(".maps");

static __always_inline void metrics_count(__u8 reason, __u32 direction, __u32 bytes)
{
	__u32 index = reason * 4 + direction;
	struct metrics_value *value = bpf_map_lookup_elem(&cilium_metrics, &index);

	/* A CPU's own value, and programs of one hook do not interrupt each other. */
	if (value) {
		value->count += 1;
		value->bytes += bytes;
	}
}
