/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What changes while programs run: the policy epoch, and whether somebody listens. */
#pragma once

#include "kernel.h"

struct runtime_config {
	__u32 epoch; /* the agent adds one after each batch of changes to policy, ipcache or endpoints */
	__u32 monitor; /* 0 nobody listens; otherwise 1 + aggregation level */
	__u32 lb_epoch; /* the agent adds one after backends or ids of frontends have gone */
	__u32 lb_external; /* frontends that the network may reach: without any, its packets are not asked for services */
};
ABI_SIZE(struct runtime_config, 16);

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, struct runtime_config);
} cilium_runtime SEC(".maps");

static __always_inline struct runtime_config *runtime_config(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&cilium_runtime, &zero);
}

/* Monotonic seconds, as coarse as the timer tick: what lifetimes are counted in. */
static __always_inline __u32 clock_seconds(void)
{
	return bpf_ktime_get_coarse_ns() / 1000000000ULL;
}

/* A number that changes every 0.25 (HZ=1000) to 2.6 (HZ=100) seconds. The verifier replaces the helper by a load, so that a
 * packet learns for nothing whether its flow's lifetime is due for writing. */
static __always_inline __u32 clock_tick(void)
{
	return bpf_jiffies64() >> 8;
}
