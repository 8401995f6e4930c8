/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A packet and its connection: one lookup, and nothing more if the entry's verdict is of this epoch. */
#pragma once

#include "kernel.h"
#include "conntrack.h"
#include "delivery.h"
#include "ipv4.h"
#include "ipv6.h"
#include "packet.h"

/* Is the entry's verdict of an older epoch, and the connection still alive? A dead one is no connection to judge again. */
static __always_inline bool ct_is_stale(const struct ct_entry *entry, const struct packet *packet)
{
	return entry->epoch != packet->epoch && ct_is_alive(entry);
}

/* Does the other end open a connection of its own on the same ports? What became of the first one is not asked then. */
static __always_inline bool ct_begins_anew(const struct ct_entry *entry, const struct packet *packet)
{
	return (packet->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN && !ct_is_forward(entry, packet);
}

/* What the network sends does not come from a pod of this node. Asked before the entry is touched. */
static __always_inline bool packet_is_spoofed(const struct packet *packet, const struct ct_entry *entry, enum hook hook)
{
	bool from_initiator = ct_is_forward(entry, packet) != (packet->shape == SHAPE_ERROR);

	return hook == HOOK_NETDEV && (from_initiator ? entry->src_lxc_id : entry->dst_lxc_id);
}

/* Does a client of a frontend find that its server has begun? It has: after the entry of what the client began was gone, by speaking first.
 * Answers are the server's packets only if the client is who began. Of TCP, and of what only the packet itself says, what was answered the
 * other way stays: it is another connection. */
static __always_inline bool ct_is_turned(const struct ct_entry *entry, const struct packet *packet)
{
	if (packet->shape == SHAPE_ERROR || ct_is_forward(entry, packet))
		return false;
	return !(entry->flags & CT_REPLY_SEEN) || (packet->service && packet->protocol != IPPROTO_TCP);
}

/* entry: the key's, or NULL. 0, or the reason of a drop; packet then knows where to go. */
static __always_inline int connect4(struct __sk_buff *skb, struct packet *packet, const struct ct_key4 *key,
				    struct ct_entry *entry, enum hook hook)
{
	int reason;

	if (likely(entry)) {
		if (unlikely(ct_is_service(entry))) {
			if (ct_is_alive(entry))
				return DROP_CT_CANNOT_CREATE;
			goto judge;
		}
		if (unlikely(packet->service | packet->dsr) && ct_is_turned(entry, packet))
			goto judge;
		if (unlikely(entry->epoch != packet->epoch) && ct_is_stale(entry, packet)) {
			if (ct_begins_anew(entry, packet))
				goto judge;
			reason = judge4(skb, packet, key, entry);
			if (reason)
				return reason;
		}
		if (unlikely(packet_is_spoofed(packet, entry, hook)))
			return DROP_INVALID_SIP;
		packet->status = ct_advance(entry, packet, skb->len);
		if (likely(packet->status != CT_NEW)) {
			packet_reads_entry(packet, entry, hook);
			return 0;
		}
	}
judge:
	packet->report = 1;
	return judge4(skb, packet, key, NULL);
}

static __always_inline int connect6(struct __sk_buff *skb, struct packet *packet, const struct ct_key6 *key,
				    struct ct_entry *entry, enum hook hook)
{
	int reason;

	if (likely(entry)) {
		if (unlikely(ct_is_service(entry))) {
			if (ct_is_alive(entry))
				return DROP_CT_CANNOT_CREATE;
			goto judge;
		}
		if (unlikely(packet->service | packet->dsr) && ct_is_turned(entry, packet))
			goto judge;
		if (unlikely(entry->epoch != packet->epoch) && ct_is_stale(entry, packet)) {
			if (ct_begins_anew(entry, packet))
				goto judge;
			reason = judge6(skb, packet, key, entry);
			if (reason)
				return reason;
		}
		if (unlikely(packet_is_spoofed(packet, entry, hook)))
			return DROP_INVALID_SIP;
		packet->status = ct_advance(entry, packet, skb->len);
		if (likely(packet->status != CT_NEW)) {
			packet_reads_entry(packet, entry, hook);
			return 0;
		}
	}
judge:
	packet->report = 1;
	return judge6(skb, packet, key, NULL);
}
