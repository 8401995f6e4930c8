/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Ports of fragmented packets: the first fragment leaves them for the later ones. */
#pragma once

#include "kernel.h"

struct frag_key4 {
	__be32 saddr;
	__be32 daddr;
	__be16 id;
	__u8 protocol;
	__u8 pad;
};
ABI_SIZE(struct frag_key4, 12);

struct frag_key6 {
	__be32 saddr[4];
	__be32 daddr[4];
	__be32 id;
	__u8 protocol;
	__u8 pad[3];
};
ABI_SIZE(struct frag_key6, 40);

struct frag_ports {
	__be16 sport;
	__be16 dport;
};
ABI_SIZE(struct frag_ports, 4);

#define FRAGMENT_MAP(name, key_type)                 \
	struct {                                     \
		__uint(type, BPF_MAP_TYPE_LRU_HASH); \
		__uint(max_entries, 8192);           \
		__uint(pinning, LIBBPF_PIN_BY_NAME); \
		__type(key, key_type);               \
		__type(value, struct frag_ports);    \
	} name SEC(".maps")

FRAGMENT_MAP(cilium_frag4, struct frag_key4);
FRAGMENT_MAP(cilium_frag6, struct frag_key6);
