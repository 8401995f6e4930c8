/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Services by packet: who answers in a frontend's place, and that it stays the same one. */
#pragma once

#include "kernel.h"
#include "choice.h"
#include "conntrack.h"
#include "drop.h"
#include "lb.h"
#include "nat.h"
#include "packet.h"
#include "runtime.h"
#include "snat.h"

static __noinline long service_store(const struct service *service, const struct ct_entry *entry)
{
	struct ct_key4 key4 = {};
	struct ct_key6 key6 = {};

	if (service->family == FAMILY_V6) {
		ct_key6_fill(&key6, service->client.addr, service->frontend.addr, service->client.port, service->frontend.port,
			     service->protocol);
		return ct_store6(&key6, entry);
	}
	ct_key4_fill(&key4, service->client.addr[0], service->frontend.addr[0], service->client.port, service->frontend.port,
		     service->protocol);
	return ct_store4(&key4, entry);
}

/* Remembers who was chosen. SERVICE_TRANSLATED, or the reason of a drop. */
GLOBAL int service_begins(const struct packet *packet, struct service *service)
{
	struct ct_entry created = {};

	if (!packet || !service)
		return DROP_INVALID;
	/* A reset opens nothing. */
	if (packet->tcp_flags & TCP_RST)
		return SERVICE_TRANSLATED;
	service->loopback = packet->hook == HOOK_CONTAINER && ip6_is_equal(service->to.addr, service->client.addr);
	created.flags = CT_SERVICE;
	if (service->client_is_1)
		created.flags |= CT_INITIATOR_IS_1;
	if (service->loopback)
		created.flags |= CT_LOOPBACK;
	if (service->protocol == IPPROTO_TCP && !(packet->tcp_flags & TCP_SYN))
		created.flags |= CT_SEEN_NON_SYN;
	created.src_lxc_id = packet->from_lxc_id;
	created.rev_nat_index = service->id;
	created.epoch = service->epoch;
	created.tx_flags_seen = packet->tcp_flags;
	created.lifetime = clock_seconds() + ct_lifetime(&created, service->protocol);
	created.last_report = clock_seconds();
	created.tick = clock_tick();
	__builtin_memcpy(ct_service(&created), &service->to, sizeof(service->to));
	return service_store(service, &created) ? DROP_CT_INSERT : SERVICE_TRANSLATED;
}

static __noinline void service_loopback(__u8 family, __be32 *addr)
{
	int i;

	if (family == FAMILY_V4) {
		addr[0] = lb_config.loopback4;
		return;
	}
	for (i = 0; i < 4; i++)
		addr[i] = lb_config.loopback6[i];
}

/* The connection of the client's address and port with the backend, or NULL. *by_client: that end began it. */
static __always_inline struct ct_entry *service_connection(const struct service *service, bool *by_client)
{
	struct snat_key6 key = { .sport = service->client.port, .dport = service->to.port, .protocol = service->protocol };
	struct ct_entry *entry;
	bool swapped;

	copy_ip6(key.saddr, service->client.addr);
	copy_ip6(key.daddr, service->to.addr);
	/* A pod that reaches itself is asked by the loopback address. */
	if (unlikely(ip6_is_equal(key.saddr, key.daddr)))
		service_loopback(service->family, key.saddr);
	entry = snat_connection(&key, service->family, &swapped);
	*by_client = entry && !!(entry->flags & CT_INITIATOR_IS_1) == swapped;
	return entry;
}

#define OWNER_NONE 0
#define OWNER_SAME 1
#define OWNER_OTHER 2

/* Whose a frontend's id is: nobody's any more, this frontend's, or another's, as is what has none. */
static __noinline int service_owner(const struct service *service, __u32 id)
{
	struct lb4_reverse *reverse4;
	struct lb6_reverse *reverse6;

	if (!id || id == CT_DSR_INDEX)
		return OWNER_OTHER;
	if (service->family == FAMILY_V6) {
		reverse6 = bpf_map_lookup_elem(&cilium_lb6_reverse_nat_v2, &id);
		if (!reverse6 || !reverse6->port)
			return OWNER_NONE;
		return reverse6->port == service->frontend.port && ip6_is_equal(reverse6->addr, service->frontend.addr) ? OWNER_SAME :
															   OWNER_OTHER;
	}
	reverse4 = bpf_map_lookup_elem(&cilium_lb4_reverse_nat_v2, &id);
	if (!reverse4 || !reverse4->port)
		return OWNER_NONE;
	return reverse4->port == service->frontend.port && reverse4->addr == service->frontend.addr[0] ? OWNER_SAME : OWNER_OTHER;
}

/* Has the client's port a connection with this backend already, by another frontend or directly? What came there too would end it. Of
 * datagrams none is ended: each is answered by the way that the client took last. What the backend began is one if it was answered:
 * otherwise it has spoken first after the client's entry was gone (ct_is_turned). */
GLOBAL int service_is_taken(const struct service *service)
{
	struct ct_entry *connection;
	bool by_client;

	if (!service || service->protocol != IPPROTO_TCP)
		return false;
	connection = service_connection(service, &by_client);
	if (!connection || !ct_is_alive(connection) || ct_is_closed(connection) || ct_ends_unheard(connection))
		return false;
	if (!by_client)
		return !!(connection->flags & CT_REPLY_SEEN);
	return connection->rev_nat_index != service->id && service_owner(service, connection->rev_nat_index) == OWNER_OTHER;
}

/* Is the connection itself over? */
static __always_inline bool service_is_closed(const struct service *service)
{
	bool by_client;
	struct ct_entry *connection = service_connection(service, &by_client);

	return connection && (ct_is_closed(connection) || !ct_is_alive(connection));
}

/* May a connection go on to a backend that no service names any more? To a pod of this node, or the node, that is still there. */
static __noinline bool service_pod_remains(const struct service *service)
{
	struct endpoint_key key = { .family = service->family };

	copy_ip6(key.ip6, service->to.addr);
	return !!bpf_map_lookup_elem(&cilium_lxc, &key);
}

/* Is the entry's backend still there? */
static __noinline bool service_backend_remains(const struct service *service)
{
	struct ct_service now = {};

	return service_backend(&now, service->to.backend, service->family) && now.port == service->to.port &&
	       ip6_is_equal(now.addr, service->to.addr);
}

/* Something has gone since the entry's epoch. Its backend, or its frontend's id, under which answers find their address? Of a connection
 * that goes on, the frontend may have another id by now. Answers as service_settle. */
GLOBAL int service_reviews(struct ct_entry *entry, const struct packet *packet, struct service *service)
{
	struct lb_frontend frontend = {};
	bool backend, goes_on;

	if (!entry || !packet || !service)
		return DROP_INVALID;
	goes_on = packet->shape || (service->protocol == IPPROTO_TCP && (packet->tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN);
	backend = service_backend_remains(service);
	if (backend && service_owner(service, service->id) == OWNER_SAME)
		return SERVICE_TRANSLATED;
	if (!goes_on)
		return SERVICE_ANEW;
	if (service->protocol != IPPROTO_TCP || (!backend && !service_pod_remains(service)))
		return DROP_NO_SERVICE;
	if (service_owner(service, service->id) == OWNER_SAME)
		return SERVICE_TRANSLATED;
	if (!service_frontend(service, packet->hook, &frontend))
		return DROP_NO_SERVICE;
	service->id = frontend.id;
	entry->rev_nat_index = frontend.id;
	return SERVICE_TRANSLATED;
}

/* Has the client, which has said that it ends, nothing more to wait for? What a backend elsewhere returns directly, nobody hears here. */
static __noinline bool service_ends(const struct service *service)
{
	bool by_client;
	struct ct_entry *connection = service_connection(service, &by_client);

	return !connection || connection->flags & CT_RX_CLOSING || (lb_config.dsr && !connection->dst_lxc_id);
}

/* A packet after which the entry is not what it was, or the clock has ticked, or backends or frontends have gone. SERVICE_TRANSLATED: the
 * entry holds; SERVICE_ANEW; or the reason of a drop. service: with the entry's backend and id. */
GLOBAL int service_settle(struct ct_entry *entry, const struct packet *packet, struct service *service)
{
	bool opens, ends;
	int answer;

	if (!entry || !packet || !service)
		return DROP_INVALID;
	opens = service->protocol == IPPROTO_TCP && (packet->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
	if (!ct_is_alive(entry))
		return packet->shape ? DROP_NO_SERVICE : SERVICE_ANEW;
	if (entry->epoch != service->epoch) {
		answer = service_reviews(entry, packet, service);
		if (answer != SERVICE_TRANSLATED)
			return answer;
		entry->epoch = service->epoch;
	}
	if (packet->shape)
		return SERVICE_TRANSLATED;
	if (opens && (entry->flags & CT_TX_CLOSING || service_is_closed(service)))
		return SERVICE_ANEW;
	if (packet->tcp_flags & (TCP_FIN | TCP_RST))
		entry->flags |= CT_TX_CLOSING;
	if (service->protocol == IPPROTO_TCP && !(packet->tcp_flags & TCP_SYN))
		entry->flags |= CT_SEEN_NON_SYN;
	ends = entry->flags & CT_TX_CLOSING && (packet->tcp_flags & TCP_RST || service_ends(service));
	entry->lifetime = clock_seconds() + (ends ? SERVICE_LIFETIME_CLOSING : ct_lifetime(entry, service->protocol));
	entry->tick = clock_tick();
	return SERVICE_TRANSLATED;
}

/* Does the packet change nothing in the entry, nor ask whether the backend is still there? */
static __always_inline bool service_is_settled(const struct ct_entry *entry, const struct packet *packet, __u32 epoch)
{
	return entry->epoch == epoch && entry->tick == clock_tick() && !packet->shape &&
	       !(packet->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST)) &&
	       (packet->protocol != IPPROTO_TCP || entry->flags & CT_SEEN_NON_SYN);
}

/* Must services be asked about a packet with this entry? Of a connection that was answered without one, never. */
static __always_inline bool service_is_asked(const struct ct_entry *entry, const struct packet *packet)
{
	if (likely((entry->flags & (CT_SERVICE | CT_REPLY_SEEN)) == CT_REPLY_SEEN))
		return false;
	/* A client that nobody has answered may have begun before its service. */
	return ct_is_service(entry) ||
	       (ct_is_forward(entry, packet) &&
		(entry->tick != clock_tick() || (packet->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN));
}

/* Is a packet without entry for a frontend? Most are not, and spared all that follows. */
GLOBAL int is_frontend4(const struct packet *packet, const struct ct_key4 *key)
{
	struct lb4_key frontend = {};
	__be32 addr0, addr1;
	__be16 port0, port1;

	if (!packet || !key || packet->shape || !has_ports(key->protocol))
		return false;
	addr0 = key->addr[0];
	addr1 = key->addr[1];
	port0 = key->port[0];
	port1 = key->port[1];
	barrier();
	frontend.addr = packet->swapped ? addr0 : addr1;
	frontend.port = packet->swapped ? port0 : port1;
	frontend.protocol = key->protocol;
	return !!bpf_map_lookup_elem(&cilium_lb4_services_v2, &frontend);
}

GLOBAL int is_frontend6(const struct packet *packet, const struct ct_key6 *key)
{
	struct lb6_key frontend = {};
	__be16 port0, port1;

	if (!packet || !key || packet->shape || !has_ports(key->protocol))
		return false;
	port0 = key->port[0];
	port1 = key->port[1];
	barrier();
	frontend.port = packet->swapped ? port0 : port1;
	if (packet->swapped)
		copy_ip6(frontend.addr, key->addr[0]);
	else
		copy_ip6(frontend.addr, key->addr[1]);
	frontend.protocol = key->protocol;
	return !!bpf_map_lookup_elem(&cilium_lb6_services_v2, &frontend);
}

/* What the entry says: SERVICE_TRANSLATED, SERVICE_ANEW, SERVICE_NONE, or the reason of a drop. */
static __always_inline int service_answers(const struct packet *packet, struct ct_entry *entry, struct service *service)
{
	struct runtime_config *runtime = runtime_config();

	if (!runtime)
		return DROP_NO_CONFIGURATION;
	/* Before anything is looked up: a backend that goes in between is asked for again. */
	service->epoch = *(volatile __u32 *)&runtime->lb_epoch;
	if (!entry || !ct_is_service(entry))
		return SERVICE_ANEW;
	/* Nobody else speaks in a frontend's name. */
	if (!!(entry->flags & CT_INITIATOR_IS_1) != service->client_is_1)
		return ct_is_alive(entry) ? DROP_CT_CANNOT_CREATE : SERVICE_NONE;
	if (packet->hook == HOOK_NETDEV && entry->src_lxc_id)
		return DROP_INVALID_SIP;
	service->id = entry->rev_nat_index;
	service->loopback = !!(entry->flags & CT_LOOPBACK);
	__builtin_memcpy(&service->to, ct_service(entry), sizeof(service->to));
	if (likely(service_is_settled(entry, packet, service->epoch)))
		return SERVICE_TRANSLATED;
	return service_settle(entry, packet, service);
}

/* Whom the packet of this key is for, if for a frontend. entry: the key's, or NULL; service: empty. As service_answers. */
GLOBAL int service4_find(const struct packet *packet, const struct ct_key4 *key, struct ct_entry *entry, struct service *service)
{
	bool is_1;

	if (!packet || !key || !service)
		return DROP_INVALID;
	/* The tuple's source, unless an error is about what the frontend has answered. */
	is_1 = packet->shape == SHAPE_ERROR ? !packet->swapped : packet->swapped;
	service->client_is_1 = is_1;
	service->client.addr[0] = is_1 ? key->addr[1] : key->addr[0];
	service->frontend.addr[0] = is_1 ? key->addr[0] : key->addr[1];
	service->client.port = is_1 ? key->port[1] : key->port[0];
	service->frontend.port = is_1 ? key->port[0] : key->port[1];
	service->family = FAMILY_V4;
	service->protocol = key->protocol;
	return service_answers(packet, entry, service);
}

GLOBAL int service6_find(const struct packet *packet, const struct ct_key6 *key, struct ct_entry *entry, struct service *service)
{
	bool is_1;

	if (!packet || !key || !service)
		return DROP_INVALID;
	/* The tuple's source, unless an error is about what the frontend has answered. */
	is_1 = packet->shape == SHAPE_ERROR ? !packet->swapped : packet->swapped;
	service->client_is_1 = is_1;
	copy_ip6(service->client.addr, is_1 ? key->addr[1] : key->addr[0]);
	copy_ip6(service->frontend.addr, is_1 ? key->addr[0] : key->addr[1]);
	service->client.port = is_1 ? key->port[1] : key->port[0];
	service->frontend.port = is_1 ? key->port[0] : key->port[1];
	service->family = FAMILY_V6;
	service->protocol = key->protocol;
	return service_answers(packet, entry, service);
}

/* Packet and key get who answers. 0 or the reason of a drop. */
static __always_inline int service4_translate(struct __sk_buff *skb, struct packet *packet, struct ct_key4 *key,
					     struct service *service)
{
	int reason = nat4(skb, service_end(service), SNAT_IN);

	if (unlikely(reason))
		return reason;
	if (unlikely(service->loopback)) {
		service->client.addr[0] = lb_config.loopback4;
		reason = nat4(skb, &service->client, SNAT_OUT);
		if (reason)
			return reason;
	}
	packet->service = service->id;
	packet->loopback = service->loopback;
	if (unlikely(packet->shape == SHAPE_ERROR))
		packet->swapped = ct_key4_fill(key, service->to.addr[0], service->client.addr[0], service->to.port, service->client.port, service->protocol);
	else
		packet->swapped = ct_key4_fill(key, service->client.addr[0], service->to.addr[0], service->client.port, service->to.port, service->protocol);
	return 0;
}

/* A connection's first packet, or the first after its backend has gone. SERVICE_NONE, SERVICE_TRANSLATED, or the reason of a drop. */
static __always_inline int service_opens(const struct packet *packet, struct service *service)
{
	int answer, i;

	if (packet->shape || !has_ports(service->protocol))
		return SERVICE_NONE;
	/* Another backend may have room for the client's port where the first has not. */
	for (i = 0; i < 2; i++) {
		answer = service_choose(service, packet->hook);
		if (answer != SERVICE_TRANSLATED)
			return answer;
		if (!service_is_taken(service))
			return service_begins(packet, service);
	}
	return DROP_CT_CANNOT_CREATE;
}

/* A packet for a frontend, and its key, get who answers there. entry: the key's, or NULL. SERVICE_NONE, SERVICE_TRANSLATED, or the reason
 * of a drop. */
GLOBAL int service4(struct __sk_buff *skb, struct packet *packet, struct ct_key4 *key, struct ct_entry *entry)
{
	struct service service = {};
	int answer;

	if (!packet || !key)
		return DROP_INVALID;
	answer = service4_find(packet, key, entry, &service);
	if (answer == SERVICE_ANEW)
		answer = service_opens(packet, &service);
	if (answer != SERVICE_TRANSLATED)
		return answer;
	answer = service4_translate(skb, packet, key, &service);
	return answer ? answer : SERVICE_TRANSLATED;
}

static __always_inline int service6_translate(struct __sk_buff *skb, struct packet *packet, struct ct_key6 *key,
					     struct service *service)
{
	int reason = nat6(skb, service_end(service), SNAT_IN);

	if (unlikely(reason))
		return reason;
	if (unlikely(service->loopback)) {
		service->client.addr[0] = lb_config.loopback6[0];
		service->client.addr[1] = lb_config.loopback6[1];
		service->client.addr[2] = lb_config.loopback6[2];
		service->client.addr[3] = lb_config.loopback6[3];
		reason = nat6(skb, &service->client, SNAT_OUT);
		if (reason)
			return reason;
	}
	packet->service = service->id;
	packet->loopback = service->loopback;
	if (unlikely(packet->shape == SHAPE_ERROR))
		packet->swapped = ct_key6_fill(key, service->to.addr, service->client.addr, service->to.port, service->client.port, service->protocol);
	else
		packet->swapped = ct_key6_fill(key, service->client.addr, service->to.addr, service->client.port, service->to.port, service->protocol);
	return 0;
}

GLOBAL int service6(struct __sk_buff *skb, struct packet *packet, struct ct_key6 *key, struct ct_entry *entry)
{
	struct service service = {};
	int answer;

	if (!packet || !key)
		return DROP_INVALID;
	answer = service6_find(packet, key, entry, &service);
	if (answer == SERVICE_ANEW)
		answer = service_opens(packet, &service);
	if (answer != SERVICE_TRANSLATED)
		return answer;
	answer = service6_translate(skb, packet, key, &service);
	return answer ? answer : SERVICE_TRANSLATED;
}

/* What service4 or service6 has left of the entry that was found first: an entry of a frontend that is no more is none. */
static __always_inline struct ct_entry *service_leaves(struct ct_entry *entry)
{
	return entry && ct_is_service(entry) ? NULL : entry;
}
