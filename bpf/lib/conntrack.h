/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Connection tracking: one entry per connection on the node, for both of its ends (impl/adr/0004). */
#pragma once

#include "kernel.h"
#include "lb.h"
#include "packet.h"
#include "runtime.h"

/* End [0] is the smaller (address, port) in network order, so that both directions have one key. ICMP echo: the asking end's
 * port is the id, the answering end's is 0. */
struct ct_key4 {
	__be32 addr[2];
	__be16 port[2];
	__u8 protocol;
	__u8 pad[3];
};
ABI_SIZE(struct ct_key4, 16);

struct ct_key6 {
	__be32 addr[2][4];
	__be16 port[2];
	__u8 protocol;
	__u8 pad[3];
};
ABI_SIZE(struct ct_key6, 40);

#define CT_INITIATOR_IS_1 1
#define CT_TX_CLOSING 2 /* the initiator said FIN */
#define CT_RX_CLOSING 4
#define CT_SEEN_NON_SYN 8
#define CT_REPLY_SEEN 16
#define CT_VIA_STACK 32 /* between two pods, seen at cilium_host: the host's stack translated it, answers must go there too */

struct ct_entry {
	__u64 tx_packets; /* tx: from the initiator */
	__u64 tx_bytes;
	__u64 rx_packets;
	__u64 rx_bytes;
	__u32 lifetime; /* CLOCK_MONOTONIC seconds after which the entry is dead */
	__u32 epoch; /* the verdict is that of this epoch */
	__u32 src_sec_id; /* initiator */
	__u32 dst_sec_id; /* responder */
	__u16 src_lxc_id; /* 0: not a pod of this node */
	__u16 dst_lxc_id;
	__u16 rev_nat_index;
	__u16 flags;
	__u8 tx_flags_seen;
	__u8 rx_flags_seen;
	__u16 pad;
	__u32 last_report; /* seconds; of a trace event, for aggregation */
	__u32 tick; /* clock_tick() when lifetime was last written */
	__u32 pad2;
};
ABI_SIZE(struct ct_entry, 72);

#define CT_ACCOUNTING 64 /* an endpoint at one of its ends wants packets and bytes counted */
#define CT_SERVICE 128 /* the responder is a service's frontend: the entry says which backend stands for it */
#define CT_LOOPBACK 256 /* a pod that reaches itself through a service, as a client of the loopback address */

#define CT_DSR 512 /* the responder is a pod that answers for a frontend of another node: which, a mapping says (dsr.h) */

/* rev_nat_index with CT_DSR: no frontend's here, but not 0. Where mappings are not asked, such an answer has no frontend. */
#define CT_DSR_INDEX 0xffff

/* In the place of the counters of an entry with CT_SERVICE. rev_nat_index is the frontend's id, epoch counts removals of
 * backends and frontends (runtime_config.lb_epoch). addr: 4 words; an IPv4 address is the first. */
struct ct_service {
	__be32 addr[4];
	__be16 port;
	__u16 pad;
	__u32 backend;
	__u64 pad2;
};
ABI_SIZE(struct ct_service, 32);

static __always_inline struct ct_service *ct_service(struct ct_entry *entry)
{
	return (struct ct_service *)&entry->tx_packets;
}

#define CT_LIFETIME_TCP 21600
#define CT_LIFETIME_SYN 60
#define CT_LIFETIME_ANY 60
#define CT_LIFETIME_CLOSE 10
#define CT_LIFETIME_UNHEARD 60 /* after a FIN, of a connection whose other half is never heard */
#define CT_REPORT_INTERVAL 5

/* What a packet is to its connection; also the reason in trace events. */
enum ct_status {
	CT_NEW = 0,
	CT_ESTABLISHED,
	CT_REPLY,
	CT_RELATED,
};

/* The loader sets the sizes. */
#define CT_MAP(name, key_type)                       \
	struct {                                     \
		__uint(type, BPF_MAP_TYPE_LRU_HASH); \
		__uint(max_entries, 65536);          \
		__uint(pinning, LIBBPF_PIN_BY_NAME); \
		__type(key, key_type);               \
		__type(value, struct ct_entry);      \
	} name SEC(".maps")

CT_MAP(cilium_ct4_global, struct ct_key4);
CT_MAP(cilium_ct6_global, struct ct_key6);
CT_MAP(cilium_ct_any4_global, struct ct_key4);
CT_MAP(cilium_ct_any6_global, struct ct_key6);

/* Returns whether the source is end [1]. */
static __always_inline bool ct_key4_fill(struct ct_key4 *key, __be32 saddr, __be32 daddr, __be16 sport, __be16 dport,
					 __u8 protocol)
{
	bool swapped = saddr == daddr ? bpf_ntohs(sport) > bpf_ntohs(dport) : bpf_ntohl(saddr) > bpf_ntohl(daddr);

	key->addr[0] = swapped ? daddr : saddr;
	key->addr[1] = swapped ? saddr : daddr;
	key->port[0] = swapped ? dport : sport;
	key->port[1] = swapped ? sport : dport;
	*(__u32 *)&key->protocol = 0;
	key->protocol = protocol;
	return swapped;
}

/* Compared as a network orders them. */
static __always_inline bool ip6_is_greater(const __be32 *a, const __be32 *b)
{
	if (a[0] != b[0])
		return bpf_ntohl(a[0]) > bpf_ntohl(b[0]);
	if (a[1] != b[1])
		return bpf_ntohl(a[1]) > bpf_ntohl(b[1]);
	if (a[2] != b[2])
		return bpf_ntohl(a[2]) > bpf_ntohl(b[2]);
	return bpf_ntohl(a[3]) > bpf_ntohl(b[3]);
}

static __always_inline bool ip6_is_equal(const __be32 *a, const __be32 *b)
{
	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3];
}

static __always_inline bool ct_key6_fill(struct ct_key6 *key, const __be32 *saddr, const __be32 *daddr, __be16 sport,
					 __be16 dport, __u8 protocol)
{
	bool swapped = ip6_is_equal(saddr, daddr) ? bpf_ntohs(sport) > bpf_ntohs(dport) : ip6_is_greater(saddr, daddr);

	if (swapped) {
		copy_ip6(key->addr[0], daddr);
		copy_ip6(key->addr[1], saddr);
		key->port[0] = dport;
		key->port[1] = sport;
	} else {
		copy_ip6(key->addr[0], saddr);
		copy_ip6(key->addr[1], daddr);
		key->port[0] = sport;
		key->port[1] = dport;
	}
	*(__u32 *)&key->protocol = 0;
	key->protocol = protocol;
	return swapped;
}

/* Two calls, each with a map that the verifier knows: only then it inlines the lookup. The barrier keeps clang from making
 * one call of them. */
static __always_inline struct ct_entry *ct_find4(const struct ct_key4 *key)
{
	struct ct_entry *entry;

	if (key->protocol == IPPROTO_TCP) {
		entry = bpf_map_lookup_elem(&cilium_ct4_global, key);
		barrier_var(entry);
		return entry;
	}
	return bpf_map_lookup_elem(&cilium_ct_any4_global, key);
}

static __always_inline struct ct_entry *ct_find6(const struct ct_key6 *key)
{
	struct ct_entry *entry;

	if (key->protocol == IPPROTO_TCP) {
		entry = bpf_map_lookup_elem(&cilium_ct6_global, key);
		barrier_var(entry);
		return entry;
	}
	return bpf_map_lookup_elem(&cilium_ct_any6_global, key);
}

static __always_inline long ct_store4(const struct ct_key4 *key, const struct ct_entry *entry)
{
	if (key->protocol == IPPROTO_TCP)
		return bpf_map_update_elem(&cilium_ct4_global, key, entry, BPF_ANY);
	return bpf_map_update_elem(&cilium_ct_any4_global, key, entry, BPF_ANY);
}

static __always_inline long ct_store6(const struct ct_key6 *key, const struct ct_entry *entry)
{
	if (key->protocol == IPPROTO_TCP)
		return bpf_map_update_elem(&cilium_ct6_global, key, entry, BPF_ANY);
	return bpf_map_update_elem(&cilium_ct_any6_global, key, entry, BPF_ANY);
}

/* Is the packet's sender the initiator? For an ICMP error: is the sender of the packet that it is about? */
static __always_inline bool ct_is_forward(const struct ct_entry *entry, const struct packet *packet)
{
	return (entry->flags & CT_INITIATOR_IS_1) == packet->swapped;
}

static __always_inline bool ct_is_alive(const struct ct_entry *entry)
{
	return (__s32)(entry->lifetime - clock_seconds()) >= 0;
}

/* Is this an entry of a frontend, which only its clients' packets may find? */
static __always_inline bool ct_is_service(const struct ct_entry *entry)
{
	return entry->flags & CT_SERVICE;
}

static __always_inline bool ct_is_closed(const struct ct_entry *entry)
{
	return (entry->flags & (CT_TX_CLOSING | CT_RX_CLOSING)) == (CT_TX_CLOSING | CT_RX_CLOSING);
}

/* With direct server return a backend elsewhere answers past this node: the initiator's FIN is all that is seen of the end. */
static __always_inline bool ct_ends_unheard(const struct ct_entry *entry)
{
	return lb_config.dsr && (entry->flags & (CT_TX_CLOSING | CT_REPLY_SEEN)) == CT_TX_CLOSING && entry->rev_nat_index && !entry->dst_lxc_id;
}

static __always_inline __u32 ct_lifetime(const struct ct_entry *entry, __u8 protocol)
{
	if (protocol != IPPROTO_TCP)
		return CT_LIFETIME_ANY;
	if (ct_is_closed(entry))
		return CT_LIFETIME_CLOSE;
	if (ct_ends_unheard(entry))
		return CT_LIFETIME_UNHEARD;
	return entry->flags & CT_SEEN_NON_SYN ? CT_LIFETIME_TCP : CT_LIFETIME_SYN;
}

/* A SYN, FIN or RST, the first that acknowledges or answers, or the clock has ticked. False: the entry is not this packet's connection
 * (dead, closed and opened again, opened from the other end, an echo asked where answers were expected).
 * Two CPUs may write flags at once and one may lose a bit: the entry then lives as long as an open connection, until its
 * lifetime ends or the LRU takes it. */
GLOBAL int ct_settle(struct ct_entry *entry, struct packet *packet, bool forward)
{
	__u32 now = clock_seconds();
	__u32 lifetime;
	__u8 tcp_flags;

	if (!entry || !packet)
		return false;
	tcp_flags = packet->tcp_flags;
	if ((__s32)(entry->lifetime - now) < 0)
		return false;
	if (packet->shape == SHAPE_ERROR)
		return true;
	if (packet->shape == (forward ? SHAPE_ECHO_REPLY : SHAPE_ECHO_REQUEST))
		return false;
	if ((tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN &&
	    (!forward || entry->flags & (CT_TX_CLOSING | CT_RX_CLOSING)))
		return false;

	if (tcp_flags & TCP_RST)
		entry->flags |= CT_TX_CLOSING | CT_RX_CLOSING;
	else if (tcp_flags & TCP_FIN)
		entry->flags |= forward ? CT_TX_CLOSING : CT_RX_CLOSING;
	if (packet->protocol == IPPROTO_TCP && !(tcp_flags & TCP_SYN))
		entry->flags |= CT_SEEN_NON_SYN;
	if (!forward) {
		entry->flags |= CT_REPLY_SEEN;
		packet->heard = ct_is_closed(entry) ? HEARD_CLOSED : HEARD_OPEN;
	}

	lifetime = now + ct_lifetime(entry, packet->protocol);
	/* What a closed connection's last packets say does not keep it. */
	if (!ct_is_closed(entry) || (__s32)(lifetime - entry->lifetime) < 0)
		entry->lifetime = lifetime;
	entry->tick = clock_tick();
	return true;
}

/* The fast path: what the packet is to the entry, CT_NEW if nothing. Writes no more than it must. */
static __always_inline enum ct_status ct_advance(struct ct_entry *entry, struct packet *packet, __u32 length)
{
	bool forward = ct_is_forward(entry, packet);
	__u8 seen = forward ? entry->tx_flags_seen : entry->rx_flags_seen;
	__u16 wanted = 0;

	if (packet->protocol == IPPROTO_TCP)
		wanted |= CT_SEEN_NON_SYN;
	if (!forward)
		wanted |= CT_REPLY_SEEN;
	if (unlikely(entry->tick != clock_tick() || (entry->flags & wanted) != wanted || packet->shape ||
		     (packet->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST))))
		if (!ct_settle(entry, packet, forward))
			return CT_NEW;
	if (unlikely(packet->tcp_flags & ~seen) && packet->shape != SHAPE_ERROR) {
		if (forward)
			entry->tx_flags_seen = seen | packet->tcp_flags;
		else
			entry->rx_flags_seen = seen | packet->tcp_flags;
	}
	if (packet->shape == SHAPE_ERROR)
		return CT_RELATED;
	if (entry->flags & CT_ACCOUNTING) {
		if (forward) {
			__sync_fetch_and_add(&entry->tx_packets, 1);
			__sync_fetch_and_add(&entry->tx_bytes, length);
		} else {
			__sync_fetch_and_add(&entry->rx_packets, 1);
			__sync_fetch_and_add(&entry->rx_bytes, length);
		}
	}
	return forward ? CT_ESTABLISHED : CT_REPLY;
}

/* For aggregation: is this packet's trace event due? Asked only when somebody listens. */
static __always_inline bool ct_report_is_due(struct ct_entry *entry, const struct packet *packet)
{
	__u32 now = clock_seconds();

	if (!(packet->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST)) && now - entry->last_report < CT_REPORT_INTERVAL)
		return false;
	entry->last_report = now;
	return true;
}
