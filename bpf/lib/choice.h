/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Which backend a client of a frontend is given: the one that it had, or one of a slot. */
#pragma once

#include "kernel.h"
#include "conntrack.h"
#include "drop.h"
#include "endpoint.h"
#include "lb.h"
#include "nat.h"
#include "packet.h"
#include "runtime.h"

/* What else than the reason of a drop comes of a packet. */
#define SERVICE_NONE 0 /* not for a frontend */
#define SERVICE_TRANSLATED -1
#define SERVICE_ANEW -2 /* to be chosen: nobody answered before, or whoever did does so no more */

/* A client, the frontend that it speaks to, and who answers. */
struct service {
	struct nat_end client;
	struct nat_end frontend;
	struct ct_service to; /* begins as a nat_end does */
	__u8 protocol;
	__u8 family;
	__u8 client_is_1; /* end of the key */
	__u8 loopback;
	__u32 epoch; /* of backends */
	__u16 id;
	__u16 pad;
};

static __always_inline const struct nat_end *service_end(const struct service *service)
{
	return (const struct nat_end *)&service->to;
}

/* Fills the backend's address. False: it is gone. */
static __noinline bool service_backend(struct ct_service *to, __u32 id, __u8 family)
{
	struct lb4_backend *backend4;
	struct lb6_backend *backend6;

	if (family == FAMILY_V6) {
		backend6 = bpf_map_lookup_elem(&cilium_lb6_backends, &id);
		if (!backend6)
			return false;
		copy_ip6(to->addr, backend6->addr);
		to->port = backend6->port;
	} else {
		backend4 = bpf_map_lookup_elem(&cilium_lb4_backends, &id);
		if (!backend4)
			return false;
		to->addr[0] = backend4->addr;
		to->addr[1] = to->addr[2] = to->addr[3] = 0;
		to->port = backend4->port;
	}
	to->backend = id;
	return true;
}

static __always_inline __u32 service_mix(__u32 hash, __u32 word)
{
	hash = (hash ^ word) * 0x9e3779b1;
	return hash ^ hash >> 15;
}

/* The same on every node, for who is moved from one to another: no node's random seed is in it. */
static __always_inline __u32 service_hash(const struct service *service)
{
	__u32 hash = service->protocol;
	int i;

	for (i = 0; i < 4; i++)
		hash = service_mix(hash, service->client.addr[i]);
	for (i = 0; i < 4; i++)
		hash = service_mix(hash, service->frontend.addr[i]);
	return service_mix(hash, (__u32)service->client.port << 16 | service->frontend.port);
}

/* Whom this client had last, if that was not too long ago and it is still there. */
static __always_inline bool service_affine(struct service *service, struct lb_affinity_key *key, __u32 timeout)
{
	struct lb_affinity *last = bpf_map_lookup_elem(&cilium_lb_affinity, key);

	if (!last || clock_seconds() - last->last_used_s >= timeout || !service_backend(&service->to, last->backend, service->family))
		return false;
	last->last_used_s = clock_seconds();
	return true;
}

static __always_inline bool service_pick(struct service *service, const struct lb_frontend *frontend)
{
	__u32 number = lb_config.maglev ? service_hash(service) : bpf_get_prandom_u32();
	int i;

	/* A service that shrinks has an empty slot for a moment, but not its first. */
	for (i = 0; i < 2; i++) {
		if (service_backend(&service->to, lb_slot(frontend, i ? 0 : number), service->family))
			return true;
	}
	return false;
}

/* Fills frontend with the row that the packet meets. False: there is none for it. The row is copied, and what belongs together in it in one
 * word: its memory may be another's before all of it is read. */
static __noinline bool service_frontend(const struct service *service, __u32 hook, struct lb_frontend *frontend)
{
	__u8 scope = hook == HOOK_CONTAINER ? LB_SCOPE_INTERNAL : LB_SCOPE_EXTERNAL;
	struct lb_frontend *found;
	__u64 words[2];
	struct lb4_key key4 = {};
	struct lb6_key key6 = {};

	if (service->family == FAMILY_V6) {
		copy_ip6(key6.addr, service->frontend.addr);
		key6.port = service->frontend.port;
		key6.protocol = service->protocol;
		found = lb6_find(&key6, scope);
	} else {
		key4.addr = service->frontend.addr[0];
		key4.port = service->frontend.port;
		key4.protocol = service->protocol;
		found = lb4_find(&key4, scope);
	}
	if (!found)
		return false;
	words[0] = ((volatile __u64 *)found)[0];
	words[1] = ((volatile __u64 *)found)[1];
	__builtin_memcpy(frontend, words, sizeof(*frontend));
	return hook == HOOK_CONTAINER || frontend->flags & LB_EXTERNAL;
}

/* Does the client have an address of this node, or of a pod of it? */
static __noinline bool service_client_is_here(const struct service *service)
{
	struct endpoint_key key = { .family = service->family };

	copy_ip6(key.ip6, service->client.addr);
	return !!bpf_map_lookup_elem(&cilium_lxc, &key);
}

/* Chooses who answers. SERVICE_NONE, SERVICE_TRANSLATED, or the reason of a drop. */
GLOBAL int service_choose(struct service *service, __u32 hook)
{
	struct lb_affinity_key client = {};
	struct lb_affinity affinity = {};
	struct lb_frontend frontend = {};
	__u32 timeout;

	if (!service)
		return DROP_INVALID;
	if (!service_frontend(service, hook, &frontend))
		return SERVICE_NONE;
	/* Whom the network cannot speak for, it chooses nobody for: the pod's own packets would find that. */
	if (hook == HOOK_NETDEV && service_client_is_here(service))
		return DROP_INVALID_SIP;
	service->id = frontend.id;
	if (unlikely(frontend.flags & LB_SOURCE_RANGES) && !lb_admits(frontend.id, service->client.addr, service->family == FAMILY_V6))
		return DROP_NOT_IN_SOURCE_RANGE;
	timeout = frontend.affinity_timeout_s;
	if (timeout) {
		copy_ip6(client.client, service->client.addr);
		client.id = frontend.id;
		if (service_affine(service, &client, timeout))
			return SERVICE_TRANSLATED;
	}
	if (!service_pick(service, &frontend))
		return DROP_NO_SERVICE;
	if (timeout) {
		affinity.last_used_s = clock_seconds();
		affinity.backend = service->to.backend;
		/* Without it the client's next connection is chosen as any other. */
		bpf_map_update_elem(&cilium_lb_affinity, &client, &affinity, BPF_ANY);
	}
	return SERVICE_TRANSLATED;
}
