/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Identity of an address that is not an endpoint of this node: longest prefix wins. */
#pragma once

#include "kernel.h"

#define IDENTITY_HOST 1
#define IDENTITY_WORLD 2
#define IDENTITY_LOCAL_SCOPE (1 << 24) /* identities of CIDRs, allocated by this node alone */

#define IPCACHE_STATIC_BITS 32 /* of the key before its address */

struct ipcache_key {
	__u32 prefixlen;
	__u16 pad1;
	__u8 pad2;
	__u8 family;
	union {
		struct {
			__be32 ip4;
			__u32 pad4[3];
		};
		__be32 ip6[4];
	};
};
ABI_SIZE(struct ipcache_key, 24);

struct ipcache_entry {
	__u32 sec_label;
	__be32 tunnel_endpoint;
};
ABI_SIZE(struct ipcache_entry, 8);

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 512000);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, struct ipcache_key);
	__type(value, struct ipcache_entry);
} cilium_ipcache SEC(".maps");

/* addr: 4 words; an IPv4 address is the first, the others are zero. */
static __always_inline __u32 ipcache_identity(const __be32 *addr, __u8 family)
{
	struct ipcache_key key = {
		.prefixlen = IPCACHE_STATIC_BITS + (family == FAMILY_V4 ? 32 : 128),
		.family = family,
	};
	struct ipcache_entry *entry;

	copy_ip6(key.ip6, addr);
	entry = bpf_map_lookup_elem(&cilium_ipcache, &key);
	return entry ? entry->sec_label : IDENTITY_WORLD;
}

static __always_inline bool identity_is_outside(__u32 identity)
{
	return identity == IDENTITY_WORLD || (identity & IDENTITY_LOCAL_SCOPE);
}
