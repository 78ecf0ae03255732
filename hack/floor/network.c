/* network.c - a pod's place on a bridge: the same links, addresses, routes and settings that podlet's built-in network makes, in its order. */
#include "floor.h"

#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define BRIDGE "floor0"
#define CONF6 "/proc/sys/net/ipv6/conf/"
#define OPER_UP 6	/* IF_OPER_UP of linux/if.h, which net/if.h excludes */

static int bridge_index;

/* Requests of rtnetlink(7), one behind the other: all are sent at once. */
struct batch {
	int n;		/* how many */
	size_t used;
	struct nlmsghdr *last;
	char bytes[1024] __attribute__((aligned(NLMSG_ALIGNTO)));
};

static void *grow(struct batch *b, size_t size)
{
	void *at = b->bytes + b->used;

	if (b->used + size > sizeof(b->bytes)) {
		errno = ENOBUFS;
		die("netlink");
	}
	memset(at, 0, size);
	b->used += size;
	if (b->last != 0)
		b->last->nlmsg_len += (uint32_t)size;
	return at;
}

static void *request(struct batch *b, uint16_t type, uint16_t flags, size_t body)
{
	b->last = 0;
	b->last = grow(b, NLMSG_HDRLEN);
	b->last->nlmsg_len = NLMSG_HDRLEN;
	b->last->nlmsg_type = type;
	b->last->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	b->last->nlmsg_seq = (uint32_t)++b->n;
	return grow(b, NLMSG_ALIGN(body));
}

static struct rtattr *attribute(struct batch *b, uint16_t type, const void *value, size_t size)
{
	struct rtattr *a = grow(b, RTA_SPACE(size));

	a->rta_type = type;
	a->rta_len = (uint16_t)RTA_LENGTH(size);
	if (size > 0)
		memcpy(RTA_DATA(a), value, size);
	return a;
}

static void number(struct batch *b, uint16_t type, uint32_t value) { attribute(b, type, &value, sizeof(value)); }
static void string(struct batch *b, uint16_t type, const char *value) { attribute(b, type, value, strlen(value) + 1); }

/* end closes an attribute that holds all that came after it. */
static void end(struct batch *b, struct rtattr *a) { a->rta_len = (uint16_t)(b->bytes + b->used - (char *)a); }

static void switch_on(struct batch *b, const char *link)
{
	struct ifinfomsg *m = request(b, RTM_NEWLINK, 0, sizeof(*m));

	m->ifi_flags = m->ifi_change = IFF_UP;
	string(b, IFLA_IFNAME, link);
}

static void add_address(struct batch *b, int link, int family, const void *address, size_t size, uint8_t bits)
{
	struct ifaddrmsg *m = request(b, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof(*m));

	m->ifa_family = (uint8_t)family;
	m->ifa_prefixlen = bits;
	m->ifa_index = (uint32_t)link;
	attribute(b, IFA_LOCAL, address, size);
	attribute(b, IFA_ADDRESS, address, size);
	if (family == AF_INET6)
		number(b, IFA_FLAGS, IFA_F_NODAD);
}

static void default_route(struct batch *b, int link, int family, const void *gateway, size_t size)
{
	struct rtmsg *m = request(b, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof(*m));

	m->rtm_family = (uint8_t)family;
	m->rtm_table = RT_TABLE_MAIN;
	m->rtm_protocol = RTPROT_BOOT;
	m->rtm_scope = RT_SCOPE_UNIVERSE;
	m->rtm_type = RTN_UNICAST;
	attribute(b, RTA_GATEWAY, gateway, size);
	number(b, RTA_OIF, (uint32_t)link);
}

/* What a socket has heard: that a link and the bridge carry packets, and that the IPv6 address that is waited for is ready. */
struct news {
	int socket, link_up, bridge_up, ready;
	struct in6_addr address;
};

static int route_socket(void) { return (int)must(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), "netlink socket"); }

static void watch(int s)
{
	const struct sockaddr_nl own = {.nl_family = AF_NETLINK};
	const int groups[] = {RTNLGRP_LINK, RTNLGRP_IPV6_IFADDR};

	must(bind(s, (const struct sockaddr *)&own, sizeof(own)), "bind a netlink socket");
	for (int i = 0; i < 2; i++)
		must(setsockopt(s, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i], sizeof(groups[i])), "join a netlink group");
}

static void hear_link(struct news *n, const char *link, struct nlmsghdr *m)
{
	struct rtattr *a = IFLA_RTA(NLMSG_DATA(m));
	int left = (int)IFLA_PAYLOAD(m), up = 0;
	const char *name = "";

	for (; RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		if (a->rta_type == IFLA_IFNAME)
			name = RTA_DATA(a);
		if (a->rta_type == IFLA_OPERSTATE)
			up = *(uint8_t *)RTA_DATA(a) == OPER_UP;
	}
	if (strcmp(name, link) == 0)
		n->link_up = up;
	if (strcmp(name, BRIDGE) == 0)
		n->bridge_up = up;
}

static void hear_address(struct news *n, struct nlmsghdr *m)
{
	struct rtattr *a = IFA_RTA(NLMSG_DATA(m));

	for (int left = (int)IFA_PAYLOAD(m); RTA_OK(a, left); a = RTA_NEXT(a, left))
		if (a->rta_type == IFA_ADDRESS && RTA_PAYLOAD(a) == sizeof(n->address))
			n->ready |= memcmp(RTA_DATA(a), &n->address, sizeof(n->address)) == 0;
}

/* hear takes one packet and gives the number of requests that it answers. */
static int hear(struct news *n, const char *link)
{
	char bytes[16384] __attribute__((aligned(NLMSG_ALIGNTO)));
	long left = must(recv(n->socket, bytes, sizeof(bytes), 0), "hear from netlink");
	int answers = 0;

	for (struct nlmsghdr *m = (struct nlmsghdr *)bytes; NLMSG_OK(m, left); m = NLMSG_NEXT(m, left)) {
		if (m->nlmsg_type == NLMSG_ERROR) {
			errno = -((struct nlmsgerr *)NLMSG_DATA(m))->error;
			if (errno != 0)
				die("netlink");
			answers++;
		} else if (m->nlmsg_type == RTM_NEWLINK) {
			hear_link(n, link, m);
		} else if (m->nlmsg_type == RTM_NEWADDR) {
			hear_address(n, m);
		}
	}
	return answers;
}

static void carry_through(struct news *n, const char *link, const struct batch *b)
{
	must(send(n->socket, b->bytes, b->used, 0), "send to netlink");
	for (int answers = 0; answers < b->n;)
		answers += hear(n, link);
}

static void setting(int dir, const char *link, const char *name, const char *value)
{
	char path[128];
	int file;

	snprintf(path, sizeof(path), "%s/%s", link, name);
	file = (int)must(openat(dir, path, O_WRONLY | O_CLOEXEC), path);
	must(write(file, value, 1), path);
	close(file);
}

/* 10.99.0.0/16 and fd00:99::/64; the bridge has 1. */
static struct in_addr address4(unsigned n) { return (struct in_addr){htonl(0x0a630000 + n)}; }
static struct in6_addr address6(unsigned n)
{
	struct in6_addr a = {{{0xfd, 0x00, 0x00, 0x99}}};

	a.s6_addr[14] = (uint8_t)(n >> 8);
	a.s6_addr[15] = (uint8_t)n;
	return a;
}

static void add_addresses(struct batch *b, int link, unsigned n)
{
	struct in_addr a4 = address4(n);
	struct in6_addr a6 = address6(n);

	add_address(b, link, AF_INET, &a4, sizeof(a4), 16);
	add_address(b, link, AF_INET6, &a6, sizeof(a6), 64);
}

static void quiet(int conf, const char *link)
{
	static const char *const names[] = {"accept_ra", "autoconf", "accept_redirects", "accept_dad"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		setting(conf, link, names[i], "0");
}

static int open_conf(void) { return (int)must(open(CONF6, O_PATH | O_DIRECTORY | O_CLOEXEC), CONF6); }

/* make_bridge makes the bridge in the network namespace that the floor runs in. */
void make_bridge(void)
{
	struct news n = {.socket = route_socket()};
	struct batch made = {0}, set = {0};
	struct rtattr *info;
	int conf = open_conf();

	request(&made, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
	string(&made, IFLA_IFNAME, BRIDGE);
	attribute(&made, IFLA_ADDRESS, "\x0a\x58\x0a\x63\x00\x01", 6);
	info = attribute(&made, IFLA_LINKINFO, 0, 0);
	string(&made, IFLA_INFO_KIND, "bridge");
	end(&made, info);
	carry_through(&n, BRIDGE, &made);
	quiet(conf, BRIDGE);
	bridge_index = (int)if_nametoindex(BRIDGE);
	add_addresses(&set, bridge_index, 1);
	switch_on(&set, BRIDGE);
	carry_through(&n, BRIDGE, &set);
	close(conf);
	close(n.socket);
}

/* remove_bridge removes what make_bridge made, if it did. */
void remove_bridge(void)
{
	struct news n = {.socket = route_socket()};
	struct batch b = {0};
	struct ifinfomsg *m;

	if (bridge_index != 0) {
		m = request(&b, RTM_DELLINK, 0, sizeof(*m));
		m->ifi_index = bridge_index;
		carry_through(&n, BRIDGE, &b);
	}
	close(n.socket);
}

static void make_veth(struct batch *b, const char *link, unsigned n, int netns)
{
	struct rtattr *info, *data, *peer;
	uint8_t mac[] = {0x0a, 0x58, 0x0a, 0x63, (uint8_t)(n >> 8), (uint8_t)n};

	request(b, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
	string(b, IFLA_IFNAME, link);
	number(b, IFLA_MTU, 1500);
	number(b, IFLA_MASTER, (uint32_t)bridge_index);
	number(b, IFLA_NUM_TX_QUEUES, 1);
	number(b, IFLA_NUM_RX_QUEUES, 1);
	info = attribute(b, IFLA_LINKINFO, 0, 0);
	string(b, IFLA_INFO_KIND, "veth");
	data = attribute(b, IFLA_INFO_DATA, 0, 0);
	peer = attribute(b, VETH_INFO_PEER, 0, 0);
	grow(b, sizeof(struct ifinfomsg));
	string(b, IFLA_IFNAME, "eth0");
	number(b, IFLA_MTU, 1500);
	attribute(b, IFLA_ADDRESS, mac, sizeof(mac));
	number(b, IFLA_NUM_TX_QUEUES, 1);
	number(b, IFLA_NUM_RX_QUEUES, 1);
	number(b, IFLA_NET_NS_FD, (uint32_t)netns);
	end(b, peer);
	end(b, data);
	end(b, info);
}

static void port_on(struct batch *b, const char *link)
{
	struct rtattr *info, *data;

	switch_on(b, link);
	info = attribute(b, IFLA_LINKINFO, 0, 0);
	string(b, IFLA_INFO_SLAVE_KIND, "bridge");
	data = attribute(b, IFLA_INFO_SLAVE_DATA, 0, 0);
	attribute(b, IFLA_BRPORT_MODE, "\1", 1);
	end(b, data);
	end(b, info);
}

static struct ifreq ask(int s, unsigned long what, const char *link)
{
	struct ifreq r = {0};

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", link);
	must(ioctl(s, what, &r), link);
	return r;
}

/* plug puts the pod with the network namespace netns on the bridge; it returns when packets get through. */
void plug(int netns)
{
	static unsigned count = 1;
	struct news node = {.socket = route_socket()}, port = {0}, pod = {0};
	struct batch made = {0}, set = {0}, on = {0};
	struct in_addr gateway4 = address4(1);
	struct in6_addr gateway6 = address6(1);
	char link[IFNAMSIZ];
	int own = (int)must(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), "own namespace"), conf, index;
	/* 60,000 pods, then from the start: each is gone before the next one comes. */
	unsigned n = ++count % 60000 + 2;

	pod.address = address6(n);
	snprintf(link, sizeof(link), "floor%u", n);
	must(setns(netns, CLONE_NEWNET), "enter the pod's network namespace");
	pod.socket = route_socket();
	conf = open_conf();
	must(setns(own, CLONE_NEWNET), "come home");
	close(own);

	make_veth(&made, link, n, netns);
	carry_through(&node, link, &made);
	own = open_conf();
	setting(own, link, "disable_ipv6", "1");
	close(own);

	watch(pod.socket);
	index = ask(pod.socket, SIOCGIFINDEX, "eth0").ifr_ifindex;
	quiet(conf, "eth0");
	close(conf);
	add_addresses(&set, index, n);
	switch_on(&set, "eth0");
	default_route(&set, index, AF_INET, &gateway4, sizeof(gateway4));
	default_route(&set, index, AF_INET6, &gateway6, sizeof(gateway6));
	carry_through(&pod, "eth0", &set);

	port.socket = route_socket();
	watch(port.socket);
	port.bridge_up = (ask(port.socket, SIOCGIFFLAGS, BRIDGE).ifr_flags & IFF_RUNNING) != 0;
	port_on(&on, link);
	carry_through(&node, link, &on);
	while (!port.link_up || !port.bridge_up)
		hear(&port, link);
	while (!pod.link_up || !pod.ready)
		hear(&pod, "eth0");
	close(port.socket);
	close(node.socket);
	close(pod.socket);
}
