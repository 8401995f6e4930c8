/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Services: frontends, their slots, and backends by id. What sockets (bpf_sock.c) and packets (bpf_lxc.c, bpf_host.c) have alike. */
#pragma once

#include "kernel.h"
#include "runtime.h"

/* What programs must know of load balancing beyond the tables. In .rodata of each object. */
struct lb_config {
	__u64 host_netns_cookie; /* of the node's own network namespace */
	__u32 enabled;
	__u32 maglev; /* slots are a Maglev table: chosen by a hash of the connection; otherwise at random */
	__u32 node_port_min; /* host order, both inclusive */
	__u32 node_port_max;
	__u32 dsr; /* remote backends answer clients themselves */
	__be32 loopback4; /* whom a pod sees as its client when it reaches itself through a service */
	__be32 loopback6[4];
	__be32 node4; /* from whom the node's processes come where their sockets do not say it; 0: not known */
	__be32 node6[4];
	__u32 pad;
};
ABI_SIZE(struct lb_config, 72);

extern const volatile struct lb_config lb_config;

/* Where a connection comes from, for services whose external traffic stays on the node. */
#define LB_SCOPE_EXTERNAL 0 /* from outside; and, without LB_TWO_SCOPES, from everywhere */
#define LB_SCOPE_INTERNAL 1 /* from pods and from the node, if the frontend has LB_TWO_SCOPES */

struct lb4_key {
	__be32 addr;
	__be16 port;
	__u8 protocol;
	__u8 scope;
};
ABI_SIZE(struct lb4_key, 8);

struct lb6_key {
	__be32 addr[4];
	__be16 port;
	__u8 protocol;
	__u8 scope;
};
ABI_SIZE(struct lb6_key, 20);

#define LB_EXTERNAL 1 /* what the network sends to it is translated too: NodePort, external and load balancer addresses, HostPort */
#define LB_TWO_SCOPES 2 /* there is another row of this frontend with LB_SCOPE_INTERNAL */
#define LB_NODE_PORT 4 /* the address is the node's own, for all of the node's namespace the port is taken */
#define LB_SOURCE_RANGES 8 /* only who is in one of the frontend's source ranges is let in */

struct lb_frontend {
	__u16 id; /* never 0; rows of both scopes have different ones */
	__u16 flags;
	__u32 count; /* of slots, which are numbered from 1. 0: connections are refused */
	__u32 affinity_timeout_s; /* 0: none */
	__u32 pad;
};
ABI_SIZE(struct lb_frontend, 16);

struct lb_slot_key {
	__u16 id;
	__u16 slot;
};
ABI_SIZE(struct lb_slot_key, 4);

struct lb4_backend {
	__be32 addr;
	__be16 port;
	__u8 protocol;
	__u8 flags;
};
ABI_SIZE(struct lb4_backend, 8);

struct lb6_backend {
	__be32 addr[4];
	__be16 port;
	__u8 protocol;
	__u8 flags;
};
ABI_SIZE(struct lb6_backend, 20);

/* The address that answers carry, by the frontend's id. Without a port there is none. */
struct lb4_reverse {
	__be32 addr;
	__be16 port;
	__u16 pad;
};
ABI_SIZE(struct lb4_reverse, 8);

struct lb6_reverse {
	__be32 addr[4];
	__be16 port;
	__u16 pad;
};
ABI_SIZE(struct lb6_reverse, 20);

#define LB_SOURCE_STATIC_BITS 32 /* of the keys before their addresses */

/* A range of clients that may use the frontend of this id, as far as it has LB_SOURCE_RANGES. That of IPv6 begins as that of IPv4 does. */
struct lb4_source_key {
	__u32 prefixlen;
	__u16 id;
	__u16 pad;
	__be32 addr;
};
ABI_SIZE(struct lb4_source_key, 12);

struct lb6_source_key {
	__u32 prefixlen;
	__u16 id;
	__u16 pad;
	__be32 addr[4];
};
ABI_SIZE(struct lb6_source_key, 24);

/* An IPv4 address is the first of the client's words; a namespace's cookie the first two. */
struct lb_affinity_key {
	__be32 client[4];
	__u16 id;
	__u8 by_netns;
	__u8 pad;
};
ABI_SIZE(struct lb_affinity_key, 20);

struct lb_affinity {
	__u32 last_used_s; /* clock_seconds() */
	__u32 backend;
};
ABI_SIZE(struct lb_affinity, 8);

/* The agent alone writes these, so that they take memory by use. The loader sets the sizes. */
#define LB_MAP(name, key_type, value_type)           \
	struct {                                     \
		__uint(type, BPF_MAP_TYPE_HASH);     \
		__uint(max_entries, 65536);          \
		__uint(map_flags, BPF_F_NO_PREALLOC); \
		__uint(pinning, LIBBPF_PIN_BY_NAME); \
		__type(key, key_type);               \
		__type(value, value_type);           \
	} name SEC(".maps")

LB_MAP(cilium_lb4_services_v2, struct lb4_key, struct lb_frontend);
LB_MAP(cilium_lb6_services_v2, struct lb6_key, struct lb_frontend);
LB_MAP(cilium_lb_slots, struct lb_slot_key, __u32);
LB_MAP(cilium_lb4_backends, __u32, struct lb4_backend);
LB_MAP(cilium_lb6_backends, __u32, struct lb6_backend);

/* An answer asks these for each packet: arrays, whose lookup is part of the program. Row 0 is nobody's. */
#define LB_REVERSE_MAP(name, value_type)             \
	struct {                                     \
		__uint(type, BPF_MAP_TYPE_ARRAY);    \
		__uint(max_entries, 65536);          \
		__uint(pinning, LIBBPF_PIN_BY_NAME); \
		__type(key, __u32);                  \
		__type(value, value_type);           \
	} name SEC(".maps")

LB_REVERSE_MAP(cilium_lb4_reverse_nat_v2, struct lb4_reverse);
LB_REVERSE_MAP(cilium_lb6_reverse_nat_v2, struct lb6_reverse);

/* The value says nothing: a row is there or not. */
#define LB_SOURCE_MAP(name, key_type)                \
	struct {                                     \
		__uint(type, BPF_MAP_TYPE_LPM_TRIE); \
		__uint(max_entries, 65536);          \
		__uint(map_flags, BPF_F_NO_PREALLOC); \
		__uint(pinning, LIBBPF_PIN_BY_NAME); \
		__type(key, key_type);               \
		__type(value, __u32);                \
	} name SEC(".maps")

LB_SOURCE_MAP(cilium_lb4_source_range, struct lb4_source_key);
LB_SOURCE_MAP(cilium_lb6_source_range, struct lb6_source_key);

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, struct lb_affinity_key);
	__type(value, struct lb_affinity);
} cilium_lb_affinity SEC(".maps");

/* The frontend that a connection of this scope meets, or NULL. key: of the external scope. */
static __always_inline struct lb_frontend *lb4_find(struct lb4_key *key, __u8 scope)
{
	struct lb_frontend *frontend = bpf_map_lookup_elem(&cilium_lb4_services_v2, key);

	if (!frontend || scope == LB_SCOPE_EXTERNAL || !(frontend->flags & LB_TWO_SCOPES))
		return frontend;
	key->scope = scope;
	frontend = bpf_map_lookup_elem(&cilium_lb4_services_v2, key);
	if (frontend)
		return frontend;
	/* It went after its flag was read. */
	key->scope = LB_SCOPE_EXTERNAL;
	return bpf_map_lookup_elem(&cilium_lb4_services_v2, key);
}

static __always_inline struct lb_frontend *lb6_find(struct lb6_key *key, __u8 scope)
{
	struct lb_frontend *frontend = bpf_map_lookup_elem(&cilium_lb6_services_v2, key);

	if (!frontend || scope == LB_SCOPE_EXTERNAL || !(frontend->flags & LB_TWO_SCOPES))
		return frontend;
	key->scope = scope;
	frontend = bpf_map_lookup_elem(&cilium_lb6_services_v2, key);
	if (frontend)
		return frontend;
	/* It went after its flag was read. */
	key->scope = LB_SCOPE_EXTERNAL;
	return bpf_map_lookup_elem(&cilium_lb6_services_v2, key);
}

/* Is this client in a source range of the frontend of this id? addr: 4 words; an IPv4 address is the first. Not inlined, for the sake of the
 * callers' frames. */
static __noinline bool lb_admits(__u16 id, const __be32 *addr, bool ipv6)
{
	struct lb6_source_key key = { .id = id };

	if (ipv6) {
		key.prefixlen = LB_SOURCE_STATIC_BITS + 128;
		copy_ip6(key.addr, addr);
		return bpf_map_lookup_elem(&cilium_lb6_source_range, &key);
	}
	key.prefixlen = LB_SOURCE_STATIC_BITS + 32;
	key.addr[0] = addr[0];
	return bpf_map_lookup_elem(&cilium_lb4_source_range, &key);
}

/* The backend in the slot that number falls on. 0 if the slot is empty, which it is for a moment when a service shrinks. */
static __always_inline __u32 lb_slot(const struct lb_frontend *frontend, __u32 number)
{
	struct lb_slot_key key = { .id = frontend->id };
	__u32 count = *(volatile __u32 *)&frontend->count;
	__u32 *backend;

	if (!count)
		return 0;
	key.slot = 1 + number % count;
	backend = bpf_map_lookup_elem(&cilium_lb_slots, &key);
	return backend ? *backend : 0;
}
