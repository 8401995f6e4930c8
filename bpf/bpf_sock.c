/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Sockets of a control group's processes: what they connect and send to is a service's frontend for them and a backend for the kernel. */
#include <linux/errno.h>

#include "kernel.h"
#include "lb.h"
#include "metrics.h"

const volatile struct lb_config lb_config;

#include "sock.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

/* A socket of several TCP connections finds the services of TCP. 0: no protocol of services. */
static __always_inline __u8 service_protocol(__u32 protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		return protocol;
	case IPPROTO_MPTCP:
		return IPPROTO_TCP;
	default:
		return 0;
	}
}

/* DROP_NO_SERVICE and DROP_NOT_IN_SOURCE_RANGE of drop.h, which is for packets. */
#define REASON_NO_SERVICE 158
#define REASON_NOT_IN_SOURCE_RANGE 177

/* A packet's program may come in between, on the same CPU. */
static __always_inline void count_refused(__u32 reason)
{
	__u32 index = reason * 4 + DIRECTION_EGRESS;
	struct metrics_value *value = bpf_map_lookup_elem(&cilium_metrics, &index);

	if (value)
		__sync_fetch_and_add(&value->count, 1);
}

/* What the system call returns is 1 where it goes on. */
static __always_inline int verdict_of(enum sock_verdict verdict)
{
	switch (verdict) {
	case SOCK_REFUSED:
		count_refused(REASON_NO_SERVICE);
		bpf_set_retval(-ECONNREFUSED);
		return 0;
	case SOCK_NOT_ADMITTED:
		count_refused(REASON_NOT_IN_SOURCE_RANGE);
		bpf_set_retval(-EPERM);
		return 0;
	case SOCK_FAILED:
		bpf_set_retval(-ENOMEM);
		return 0;
	default:
		return 1;
	}
}

static __always_inline bool client_of(struct bpf_sock_addr *ctx, struct sock_client *client, bool connects)
{
	client->protocol = service_protocol(ctx->protocol);
	client->connects = connects;
	if (!client->protocol)
		return false;
	client->cookie = bpf_get_socket_cookie(ctx);
	client->netns = bpf_get_netns_cookie(ctx);
	return true;
}

/* A pod's loopback is its own; the node's has its NodePorts. */
static __always_inline bool may_be_service4(const struct sock_client *client, __be32 addr)
{
	return !sock_is_loopback4(addr) || client->netns == lb_config.host_netns_cookie;
}

static __always_inline bool may_be_service6(const struct sock_client *client, const __be32 *addr)
{
	return !sock_is_loopback6(addr) || client->netns == lb_config.host_netns_cookie;
}

/* What the socket is bound to. A datagram may say another source, which is not asked for here: it must be the node's as well. */
static __always_inline void bound4(struct bpf_sock_addr *ctx, struct sock_client *client)
{
	struct bpf_sock *sk = ctx->sk;

	if (sk)
		client->addr[0] = sk->src_ip4;
}

static __always_inline void bound6(struct bpf_sock_addr *ctx, struct sock_client *client)
{
	struct bpf_sock *sk = ctx->sk;

	if (!sk)
		return;
	client->addr[0] = sk->src_ip6[0];
	client->addr[1] = sk->src_ip6[1];
	client->addr[2] = sk->src_ip6[2];
	client->addr[3] = sk->src_ip6[3];
}

static __always_inline void destination6(struct bpf_sock_addr *ctx, struct lb6_key *to)
{
	to->addr[0] = ctx->user_ip6[0];
	to->addr[1] = ctx->user_ip6[1];
	to->addr[2] = ctx->user_ip6[2];
	to->addr[3] = ctx->user_ip6[3];
	to->port = ctx->user_port;
}

static __always_inline void set_destination6(struct bpf_sock_addr *ctx, const struct lb6_key *to)
{
	ctx->user_ip6[0] = to->addr[0];
	ctx->user_ip6[1] = to->addr[1];
	ctx->user_ip6[2] = to->addr[2];
	ctx->user_ip6[3] = to->addr[3];
	ctx->user_port = to->port;
}

static __always_inline int forward4(struct bpf_sock_addr *ctx, bool connects)
{
	struct lb4_key to = { .addr = ctx->user_ip4, .port = ctx->user_port };
	struct sock_client client = {};
	enum sock_verdict verdict;

	if (!client_of(ctx, &client, connects) || !may_be_service4(&client, to.addr))
		return 1;
	bound4(ctx, &client);
	to.protocol = client.protocol;
	verdict = sock4_translate(&client, &to);
	if (verdict == SOCK_TRANSLATED) {
		ctx->user_ip4 = to.addr;
		ctx->user_port = to.port;
	}
	return verdict_of(verdict);
}

static __always_inline int forward6(struct bpf_sock_addr *ctx, bool connects)
{
	struct lb6_key to = {};
	struct sock_client client = {};
	enum sock_verdict verdict;

	if (!client_of(ctx, &client, connects))
		return 1;
	destination6(ctx, &to);
	if (sock_is_mapped(to.addr)) {
		struct lb4_key to4 = { .addr = to.addr[3], .port = to.port, .protocol = client.protocol };

		if (!may_be_service4(&client, to4.addr))
			return 1;
		bound4(ctx, &client);
		verdict = sock4_translate(&client, &to4);
		if (verdict == SOCK_TRANSLATED) {
			ctx->user_ip6[3] = to4.addr;
			ctx->user_port = to4.port;
		}
		return verdict_of(verdict);
	}
	if (!may_be_service6(&client, to.addr))
		return 1;
	bound6(ctx, &client);
	to.protocol = client.protocol;
	verdict = sock6_translate(&client, &to);
	if (verdict == SOCK_TRANSLATED)
		set_destination6(ctx, &to);
	return verdict_of(verdict);
}

static __always_inline int back4(struct bpf_sock_addr *ctx, bool frontend_remains)
{
	struct lb4_key from = { .addr = ctx->user_ip4, .port = ctx->user_port };

	if (sock4_restore(bpf_get_socket_cookie(ctx), &from, frontend_remains)) {
		ctx->user_ip4 = from.addr;
		ctx->user_port = from.port;
	}
	return 1;
}

static __always_inline int back6(struct bpf_sock_addr *ctx, bool frontend_remains)
{
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct lb6_key from = {};

	destination6(ctx, &from);
	if (sock_is_mapped(from.addr)) {
		struct lb4_key from4 = { .addr = from.addr[3], .port = from.port };

		if (sock4_restore(cookie, &from4, frontend_remains)) {
			ctx->user_ip6[3] = from4.addr;
			ctx->user_port = from4.port;
		}
		return 1;
	}
	if (sock6_restore(cookie, &from, frontend_remains))
		set_destination6(ctx, &from);
	return 1;
}

SEC("cgroup/connect4")
int sock_connect4(struct bpf_sock_addr *ctx)
{
	return forward4(ctx, true);
}

SEC("cgroup/connect6")
int sock_connect6(struct bpf_sock_addr *ctx)
{
	return forward6(ctx, true);
}

/* A datagram with a destination, also of a socket that is connected; and over IPv4 those of IPv6 sockets. */
SEC("cgroup/sendmsg4")
int sock_sendmsg4(struct bpf_sock_addr *ctx)
{
	return forward4(ctx, false);
}

SEC("cgroup/sendmsg6")
int sock_sendmsg6(struct bpf_sock_addr *ctx)
{
	return forward6(ctx, false);
}

SEC("cgroup/recvmsg4")
int sock_recvmsg4(struct bpf_sock_addr *ctx)
{
	return back4(ctx, true);
}

SEC("cgroup/recvmsg6")
int sock_recvmsg6(struct bpf_sock_addr *ctx)
{
	return back6(ctx, true);
}

/* What a connection was made to does not change when the service goes. */
SEC("cgroup/getpeername4")
int sock_getpeername4(struct bpf_sock_addr *ctx)
{
	return back4(ctx, false);
}

SEC("cgroup/getpeername6")
int sock_getpeername6(struct bpf_sock_addr *ctx)
{
	return back6(ctx, false);
}

/* Whether a NodePort has this address of the node, or, for any address, one of them: each has the loopback's too. */
static __always_inline bool is_taken4(__be32 addr, __be16 port, __u8 protocol)
{
	struct lb4_key key = { .addr = addr ?: bpf_htonl(0x7f000001), .port = port, .protocol = protocol };
	struct lb_frontend *frontend = bpf_map_lookup_elem(&cilium_lb4_services_v2, &key);

	return frontend && frontend->flags & LB_NODE_PORT;
}

static __always_inline bool is_taken6(const __be32 *addr, __be16 port, __u8 protocol)
{
	struct lb6_key key = { .port = port, .protocol = protocol };
	struct lb_frontend *frontend;

	copy_ip6(key.addr, addr);
	if (!addr[0] && !addr[1] && !addr[2] && !addr[3])
		key.addr[3] = bpf_htonl(1);
	frontend = bpf_map_lookup_elem(&cilium_lb6_services_v2, &key);
	return frontend && frontend->flags & LB_NODE_PORT;
}

static __always_inline int bind_verdict(bool taken)
{
	if (!taken)
		return 1;
	bpf_set_retval(-EADDRINUSE);
	return 0;
}

SEC("cgroup/post_bind4")
int sock_post_bind4(struct bpf_sock *ctx)
{
	__u8 protocol = service_protocol(ctx->protocol);

	if (!protocol || bpf_get_netns_cookie(ctx) != lb_config.host_netns_cookie)
		return 1;
	return bind_verdict(is_taken4(ctx->src_ip4, bpf_htons(ctx->src_port), protocol));
}

SEC("cgroup/post_bind6")
int sock_post_bind6(struct bpf_sock *ctx)
{
	__be32 addr[4] = { ctx->src_ip6[0], ctx->src_ip6[1], ctx->src_ip6[2], ctx->src_ip6[3] };
	__u8 protocol = service_protocol(ctx->protocol);
	__be16 port = bpf_htons(ctx->src_port);
	bool any = !addr[0] && !addr[1] && !addr[2] && !addr[3];

	if (!protocol || bpf_get_netns_cookie(ctx) != lb_config.host_netns_cookie)
		return 1;
	if (sock_is_mapped(addr))
		return bind_verdict(is_taken4(addr[3], port, protocol));
	/* A socket at any address takes IPv4 as well; of one that does not, the kernel tells programs nothing here. */
	return bind_verdict(is_taken6(addr, port, protocol) || (any && is_taken4(0, port, protocol)));
}

char _license[] SEC("license") = "Dual BSD/GPL";
