/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Services at sockets: a connection is made to the backend at once, so that its packets need no translation. What is left to remember is
 * which frontend the socket's owner believes that it speaks to. */
#pragma once

#include "kernel.h"
#include "lb.h"

/* A socket, and the backend that it speaks to. A cookie is never given twice. */
struct lb4_socket_key {
	__u64 cookie;
	__be32 addr;
	__be16 port;
	__u16 pad;
};
ABI_SIZE(struct lb4_socket_key, 16);

struct lb6_socket_key {
	__u64 cookie;
	__be32 addr[4];
	__be16 port;
	__u16 pad;
	__u32 pad2;
};
ABI_SIZE(struct lb6_socket_key, 32);

/* The frontend. */
struct lb4_socket {
	__be32 addr;
	__be16 port;
	__u16 id;
};
ABI_SIZE(struct lb4_socket, 8);

struct lb6_socket {
	__be32 addr[4];
	__be16 port;
	__u16 id;
};
ABI_SIZE(struct lb6_socket, 20);

/* The loader sets the sizes. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, struct lb4_socket_key);
	__type(value, struct lb4_socket);
} cilium_lb4_reverse_sk SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, struct lb6_socket_key);
	__type(value, struct lb6_socket);
} cilium_lb6_reverse_sk SEC(".maps");

enum sock_verdict {
	SOCK_PASS, /* no service */
	SOCK_TRANSLATED,
	SOCK_REFUSED, /* a service without backends */
	SOCK_NOT_ADMITTED, /* a service that is not for this client */
	SOCK_FAILED, /* no memory for what must be remembered */
};

/* Whose socket, and what for. */
struct sock_client {
	__u64 cookie;
	__u64 netns;
	__be32 addr[4]; /* that it is bound to, an IPv4 address as the first; 0: none yet */
	__u8 protocol;
	__u8 connects; /* once; otherwise for each datagram */
};

static __always_inline bool sock_is_mapped(const __be32 *addr)
{
	return !addr[0] && !addr[1] && addr[2] == bpf_htonl(0xffff);
}

static __always_inline bool sock_is_loopback4(__be32 addr)
{
	return (addr & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
}

static __always_inline bool sock_is_loopback6(const __be32 *addr)
{
	return !addr[0] && !addr[1] && !addr[2] && addr[3] == bpf_htonl(1);
}

/* Of the socket and its destination: the same for all datagrams of a socket, which thus stay with their backend while the slots stay. */
static __always_inline __u32 sock_hash(__u64 cookie, __be32 addr, __be16 port)
{
	__u64 hash = cookie * 0x9e3779b97f4a7c15ULL ^ ((__u64)addr << 16 | port);

	hash = (hash ^ (hash >> 32)) * 0xd6e8feb86659fd93ULL;
	hash = (hash ^ (hash >> 32)) * 0xd6e8feb86659fd93ULL;
	return hash >> 32;
}

/* How often a frontend is looked up again whose slot or backend went in between: once is enough unless the agent writes as fast as we read. */
#define SOCK_ATTEMPTS 4

static __always_inline void sock_affinity_key(struct lb_affinity_key *key, __u64 netns, __u16 id)
{
	key->client[0] = (__u32)netns;
	key->client[1] = netns >> 32;
	key->client[2] = key->client[3] = 0;
	key->id = id;
	key->by_netns = 1;
	key->pad = 0;
}

/* The backend that a client had last, which it has used again now; or 0. */
static __always_inline __u32 sock_affinity(const struct lb_affinity_key *key, __u32 timeout_s)
{
	struct lb_affinity *affinity = bpf_map_lookup_elem(&cilium_lb_affinity, key);
	__u32 now = clock_seconds();

	if (!affinity || now - affinity->last_used_s > timeout_s)
		return 0;
	affinity->last_used_s = now;
	return affinity->backend;
}

static __always_inline void sock_set_affinity(const struct lb_affinity_key *key, __u32 backend)
{
	struct lb_affinity affinity = { .last_used_s = clock_seconds(), .backend = backend };

	bpf_map_update_elem(&cilium_lb_affinity, key, &affinity, BPF_ANY);
}

/* By what a new connection chooses a slot. */
static __always_inline __u32 sock_number(const struct sock_client *client, __be32 addr, __be16 port)
{
	if (client->connects && !lb_config.maglev)
		return bpf_get_prandom_u32();
	return sock_hash(client->cookie, addr, port);
}

static __always_inline bool sock_same6(const __be32 *one, const __be32 *other)
{
	return one[0] == other[0] && one[1] == other[1] && one[2] == other[2] && one[3] == other[3];
}

/* A frontend with source ranges. SOCK_TRANSLATED: for this client. What address a pod's packets will have is not known here, so that they are
 * judged as packets (SOCK_PASS). The node's process is who it is bound to be, or else the node. */
static __always_inline enum sock_verdict sock_judge(const struct sock_client *client, __u16 id, bool ipv6)
{
	__be32 addr[4];
	bool bound = client->addr[0] || client->addr[1] || client->addr[2] || client->addr[3];
	int i;

	if (client->netns != lb_config.host_netns_cookie)
		return SOCK_PASS;
	for (i = 0; i < 4; i++)
		addr[i] = bound ? client->addr[i] : lb_config.node6[i];
	if (!bound && !ipv6)
		addr[0] = lb_config.node4;
	return lb_admits(id, addr, ipv6) ? SOCK_TRANSLATED : SOCK_NOT_ADMITTED;
}

/* Chooses a backend for a frontend. */
static __always_inline enum sock_verdict sock4_choose(const struct sock_client *client, const struct lb4_key *to, struct lb4_backend *chosen,
						      __u16 *id)
{
	for (int i = 0; i < SOCK_ATTEMPTS; i++) {
		struct lb_affinity_key affinity = {};
		struct lb4_backend *backend = NULL;
		struct lb_frontend *found, frontend;
		struct lb4_key key = *to;
		__u32 backend_id;

		found = lb4_find(&key, LB_SCOPE_INTERNAL);
		if (!found)
			return SOCK_PASS;
		/* The row's memory may be another's before all of it is read. */
		frontend = *found;
		*id = frontend.id;
		if (frontend.flags & LB_SOURCE_RANGES) {
			enum sock_verdict verdict = sock_judge(client, frontend.id, false);

			if (verdict != SOCK_TRANSLATED)
				return verdict;
		}
		if (!frontend.count)
			return SOCK_REFUSED;
		if (frontend.affinity_timeout_s) {
			sock_affinity_key(&affinity, client->netns, frontend.id);
			backend_id = sock_affinity(&affinity, frontend.affinity_timeout_s);
			if (backend_id)
				backend = bpf_map_lookup_elem(&cilium_lb4_backends, &backend_id);
		}
		if (!backend) {
			backend_id = lb_slot(&frontend, sock_number(client, to->addr, to->port) + i);
			if (!backend_id)
				continue;
			backend = bpf_map_lookup_elem(&cilium_lb4_backends, &backend_id);
			if (!backend)
				continue;
			if (frontend.affinity_timeout_s)
				sock_set_affinity(&affinity, backend_id);
		}
		*chosen = *backend;
		return SOCK_TRANSLATED;
	}
	return SOCK_REFUSED;
}

static __always_inline void sock4_key(struct lb4_socket_key *key, __u64 cookie, const struct lb4_key *to)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->cookie = cookie;
	key->addr = to->addr;
	key->port = to->port;
}

/* Puts a backend in the place of the frontend in *to. */
static __always_inline enum sock_verdict sock4_translate(const struct sock_client *client, struct lb4_key *to)
{
	struct lb4_socket socket = {}, *known;
	struct lb4_backend backend = {};
	struct lb4_socket_key key;
	enum sock_verdict verdict;

	verdict = sock4_choose(client, to, &backend, &socket.id);
	if (verdict == SOCK_PASS && client->connects) {
		/* What the socket was connected to before would be taken for this. */
		sock4_key(&key, client->cookie, to);
		if (bpf_map_lookup_elem(&cilium_lb4_reverse_sk, &key))
			bpf_map_delete_elem(&cilium_lb4_reverse_sk, &key);
	}
	if (verdict != SOCK_TRANSLATED)
		return verdict;
	socket.addr = to->addr;
	socket.port = to->port;
	to->addr = backend.addr;
	to->port = backend.port;
	sock4_key(&key, client->cookie, to);
	if (!client->connects) {
		known = bpf_map_lookup_elem(&cilium_lb4_reverse_sk, &key);
		if (known && known->addr == socket.addr && known->port == socket.port && known->id == socket.id)
			return SOCK_TRANSLATED;
	}
	/* Without it, answers to an unconnected socket would come from a stranger. */
	if (bpf_map_update_elem(&cilium_lb4_reverse_sk, &key, &socket, BPF_ANY) && client->protocol != IPPROTO_TCP)
		return SOCK_FAILED;
	return SOCK_TRANSLATED;
}

/* Puts the frontend in the place of the backend in *from. frontend_remains: only if it is still there. */
static __always_inline bool sock4_restore(__u64 cookie, struct lb4_key *from, bool frontend_remains)
{
	struct lb4_reverse *reverse;
	struct lb4_socket_key key;
	struct lb4_socket *socket;
	__u32 id;

	sock4_key(&key, cookie, from);
	socket = bpf_map_lookup_elem(&cilium_lb4_reverse_sk, &key);
	if (!socket)
		return false;
	id = socket->id;
	reverse = bpf_map_lookup_elem(&cilium_lb4_reverse_nat_v2, &id);
	if (frontend_remains && (!reverse || reverse->addr != socket->addr || reverse->port != socket->port))
		return false;
	from->addr = socket->addr;
	from->port = socket->port;
	return true;
}

/* Chooses a backend for a frontend. */
static __always_inline enum sock_verdict sock6_choose(const struct sock_client *client, const struct lb6_key *to, struct lb6_backend *chosen,
						      __u16 *id)
{
	for (int i = 0; i < SOCK_ATTEMPTS; i++) {
		struct lb_affinity_key affinity = {};
		struct lb6_backend *backend = NULL;
		struct lb_frontend *found, frontend;
		struct lb6_key key = *to;
		__u32 backend_id;

		found = lb6_find(&key, LB_SCOPE_INTERNAL);
		if (!found)
			return SOCK_PASS;
		/* The row's memory may be another's before all of it is read. */
		frontend = *found;
		*id = frontend.id;
		if (frontend.flags & LB_SOURCE_RANGES) {
			enum sock_verdict verdict = sock_judge(client, frontend.id, true);

			if (verdict != SOCK_TRANSLATED)
				return verdict;
		}
		if (!frontend.count)
			return SOCK_REFUSED;
		if (frontend.affinity_timeout_s) {
			sock_affinity_key(&affinity, client->netns, frontend.id);
			backend_id = sock_affinity(&affinity, frontend.affinity_timeout_s);
			if (backend_id)
				backend = bpf_map_lookup_elem(&cilium_lb6_backends, &backend_id);
		}
		if (!backend) {
			backend_id = lb_slot(&frontend, sock_number(client, to->addr[3], to->port) + i);
			if (!backend_id)
				continue;
			backend = bpf_map_lookup_elem(&cilium_lb6_backends, &backend_id);
			if (!backend)
				continue;
			if (frontend.affinity_timeout_s)
				sock_set_affinity(&affinity, backend_id);
		}
		*chosen = *backend;
		return SOCK_TRANSLATED;
	}
	return SOCK_REFUSED;
}

static __always_inline void sock6_key(struct lb6_socket_key *key, __u64 cookie, const struct lb6_key *to)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->cookie = cookie;
	copy_ip6(key->addr, to->addr);
	key->port = to->port;
}

/* Puts a backend in the place of the frontend in *to. */
static __always_inline enum sock_verdict sock6_translate(const struct sock_client *client, struct lb6_key *to)
{
	struct lb6_socket socket = {}, *known;
	struct lb6_backend backend = {};
	struct lb6_socket_key key;
	enum sock_verdict verdict;

	verdict = sock6_choose(client, to, &backend, &socket.id);
	if (verdict == SOCK_PASS && client->connects) {
		/* What the socket was connected to before would be taken for this. */
		sock6_key(&key, client->cookie, to);
		if (bpf_map_lookup_elem(&cilium_lb6_reverse_sk, &key))
			bpf_map_delete_elem(&cilium_lb6_reverse_sk, &key);
	}
	if (verdict != SOCK_TRANSLATED)
		return verdict;
	copy_ip6(socket.addr, to->addr);
	socket.port = to->port;
	copy_ip6(to->addr, backend.addr);
	to->port = backend.port;
	sock6_key(&key, client->cookie, to);
	if (!client->connects) {
		known = bpf_map_lookup_elem(&cilium_lb6_reverse_sk, &key);
		if (known && sock_same6(known->addr, socket.addr) && known->port == socket.port && known->id == socket.id)
			return SOCK_TRANSLATED;
	}
	/* Without it, answers to an unconnected socket would come from a stranger. */
	if (bpf_map_update_elem(&cilium_lb6_reverse_sk, &key, &socket, BPF_ANY) && client->protocol != IPPROTO_TCP)
		return SOCK_FAILED;
	return SOCK_TRANSLATED;
}

/* Puts the frontend in the place of the backend in *from. frontend_remains: only if it is still there. */
static __always_inline bool sock6_restore(__u64 cookie, struct lb6_key *from, bool frontend_remains)
{
	struct lb6_reverse *reverse;
	struct lb6_socket_key key;
	struct lb6_socket *socket;
	__u32 id;

	sock6_key(&key, cookie, from);
	socket = bpf_map_lookup_elem(&cilium_lb6_reverse_sk, &key);
	if (!socket)
		return false;
	id = socket->id;
	reverse = bpf_map_lookup_elem(&cilium_lb6_reverse_nat_v2, &id);
	if (frontend_remains && (!reverse || !sock_same6(reverse->addr, socket->addr) || reverse->port != socket->port))
		return false;
	copy_ip6(from->addr, socket->addr);
	from->port = socket->port;
	return true;
}
