/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What answers say to the entry of a frontend: it is to live as long as its connection. Once a tick, and with what ends it. */
#pragma once

#include "kernel.h"
#include "conntrack.h"
#include "lb.h"
#include "packet.h"
#include "rewrite.h"

/* After both ends' FIN, or a RST. */
#define SERVICE_LIFETIME_CLOSING 60

/* The address that answers carry. False: there is no such frontend any more. */
static __always_inline bool frontend_end(__u32 id, __u8 family, struct nat_end *end)
{
	struct lb4_reverse *frontend4;
	struct lb6_reverse *frontend6;

	if (family == FAMILY_V6) {
		frontend6 = bpf_map_lookup_elem(&cilium_lb6_reverse_nat_v2, &id);
		if (!frontend6 || !frontend6->port)
			return false;
		copy_ip6(end->addr, frontend6->addr);
		end->port = frontend6->port;
	} else {
		frontend4 = bpf_map_lookup_elem(&cilium_lb4_reverse_nat_v2, &id);
		if (!frontend4 || !frontend4->port)
			return false;
		end->addr[0] = frontend4->addr;
		end->port = frontend4->port;
	}
	return true;
}

/* Is the key's end [1] the initiator's, when the packet is for that one? */
static __always_inline bool initiator_is_1(const struct packet *packet)
{
	return packet->shape == SHAPE_ERROR ? packet->swapped : !packet->swapped;
}

/* entry: of client and frontend. by_1: the client is the key's end [1]. server: who has answered. */
static __always_inline void service_hears(struct ct_entry *entry, const struct packet *packet, bool by_1, const struct nat_end *server)
{
	const struct ct_service *to = ct_service(entry);

	/* The client may have begun again, with another backend. */
	if (!ct_is_service(entry) || !!(entry->flags & CT_INITIATOR_IS_1) != by_1 || entry->rev_nat_index != packet->reverse ||
	    to->port != server->port || !ip6_is_equal(to->addr, server->addr))
		return;
	entry->lifetime = clock_seconds() + (packet->heard == HEARD_CLOSED ? SERVICE_LIFETIME_CLOSING : ct_lifetime(entry, packet->protocol));
}

/* packet: an answer for whom began, whose key this is, not yet translated; its reverse is the frontend's id. */
GLOBAL int service_heard4(const struct packet *packet, const struct ct_key4 *key)
{
	struct nat_end frontend = {}, server = {};
	struct ct_key4 own = {};
	struct ct_entry *entry;
	__be32 addr0, addr1, client;
	__be16 port0, port1;
	bool is_1, swapped;

	if (!packet || !key || !frontend_end(packet->reverse, FAMILY_V4, &frontend))
		return 0;
	is_1 = initiator_is_1(packet);
	addr0 = key->addr[0];
	addr1 = key->addr[1];
	port0 = key->port[0];
	port1 = key->port[1];
	barrier();
	server.addr[0] = is_1 ? addr0 : addr1;
	server.port = is_1 ? port0 : port1;
	client = packet->loopback ? server.addr[0] : is_1 ? addr1 : addr0;
	swapped = ct_key4_fill(&own, client, frontend.addr[0], is_1 ? port1 : port0, frontend.port, packet->protocol);
	entry = ct_find4(&own);
	if (entry)
		service_hears(entry, packet, swapped, &server);
	return 0;
}

GLOBAL int service_heard6(const struct packet *packet, const struct ct_key6 *key)
{
	struct nat_end frontend = {}, server = {};
	struct ct_key6 own = {};
	struct ct_entry *entry;
	__be32 client[4];
	__be16 port0, port1;
	bool is_1, swapped;

	if (!packet || !key || !frontend_end(packet->reverse, FAMILY_V6, &frontend))
		return 0;
	is_1 = initiator_is_1(packet);
	port0 = key->port[0];
	port1 = key->port[1];
	barrier();
	server.port = is_1 ? port0 : port1;
	if (is_1) {
		copy_ip6(server.addr, key->addr[0]);
		copy_ip6(client, key->addr[1]);
	} else {
		copy_ip6(server.addr, key->addr[1]);
		copy_ip6(client, key->addr[0]);
	}
	if (packet->loopback)
		copy_ip6(client, server.addr);
	swapped = ct_key6_fill(&own, client, frontend.addr, is_1 ? port1 : port0, frontend.port, packet->protocol);
	entry = ct_find6(&own);
	if (entry)
		service_hears(entry, packet, swapped, &server);
	return 0;
}
