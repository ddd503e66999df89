// The least that a WebSocket server can do: what is left when a gateway costs
// nothing, and so the measure of one. One thread, one epoll set, some bytes per
// connection, frames built once, one write(2) per socket. /echo answers, /sub
// listens, what is sent to /pub goes to all of /sub. Messages of up to 60 kB that
// arrive whole; a full socket is retried. An instrument, not a server.
//
//   gcc -O2 -o floor floor.c && ./floor 9300
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static void sha1(const uint8_t *m, size_t n, uint8_t out[20]) {
	uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0}, w[80];
	uint8_t buf[256] = {0};
	size_t total = ((n + 8) / 64 + 1) * 64;
	memcpy(buf, m, n);
	buf[n] = 0x80;
	for (int i = 0; i < 8; i++) buf[total - 1 - i] = (uint8_t)((uint64_t)n * 8 >> (8 * i));
	for (size_t o = 0; o < total; o += 64) {
		for (int i = 0; i < 16; i++)
			w[i] = (uint32_t)buf[o + 4 * i] << 24 | buf[o + 4 * i + 1] << 16 | buf[o + 4 * i + 2] << 8 | buf[o + 4 * i + 3];
		for (int i = 16; i < 80; i++) {
			uint32_t t = w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16];
			w[i] = t << 1 | t >> 31;
		}
		uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
		for (int i = 0; i < 80; i++) {
			uint32_t f, k;
			if (i < 20) f = (b & c) | (~b & d), k = 0x5a827999;
			else if (i < 40) f = b ^ c ^ d, k = 0x6ed9eba1;
			else if (i < 60) f = (b & c) | (b & d) | (c & d), k = 0x8f1bbcdc;
			else f = b ^ c ^ d, k = 0xca62c1d6;
			uint32_t t = (a << 5 | a >> 27) + f + e + k + w[i];
			e = d, d = c, c = b << 30 | b >> 2, b = a, a = t;
		}
		h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
	}
	for (int i = 0; i < 20; i++) out[i] = h[i / 4] >> (24 - 8 * (i % 4));
}

static void b64(const uint8_t *p, size_t n, char *o) {
	static const char t[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = p[i] << 16 | (i + 1 < n ? p[i + 1] : 0) << 8 | (i + 2 < n ? p[i + 2] : 0);
		*o++ = t[v >> 18], *o++ = t[v >> 12 & 63];
		*o++ = i + 1 < n ? t[v >> 6 & 63] : '=', *o++ = i + 2 < n ? t[v & 63] : '=';
	}
	*o = 0;
}

enum { NEW = 1, ECHO, SUB, PUB };
#define MAXFD (1 << 20)
static uint8_t role[MAXFD];
static int32_t place[MAXFD], subs[MAXFD], nsubs;
static int ep;

static void put(int fd, const uint8_t *b, size_t n) {
	while (n) {
		ssize_t k = write(fd, b, n);
		if (k < 0 && errno == EAGAIN) { usleep(50); continue; }
		if (k <= 0) return;
		b += k, n -= k;
	}
}

static void fan(const uint8_t *f, size_t n) {
	for (int i = 0; i < nsubs; i++) put(subs[i], f, n);
}

static void drop(int fd) {
	if (role[fd] == SUB) {
		int last = subs[--nsubs];
		subs[place[fd]] = last, place[last] = place[fd];
	}
	role[fd] = 0;
	close(fd);
}

static void upgrade(int fd, char *b, size_t n) {
	b[n] = 0;
	char *k = strcasestr(b, "\nSec-WebSocket-Key:");
	if (!k || !strstr(b, "\r\n\r\n")) { drop(fd); return; }
	k += 19;
	while (*k == ' ') k++;
	char in[128], acc[64], out[256];
	int kl = strcspn(k, "\r\n");
	if (kl > 60) { drop(fd); return; }
	int il = snprintf(in, sizeof in, "%.*s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", kl, k);
	uint8_t d[20];
	sha1((uint8_t *)in, il, d);
	b64(d, 20, acc);
	int ol = snprintf(out, sizeof out, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", acc);
	put(fd, (uint8_t *)out, ol);
	if (!strncmp(b, "GET /echo", 9)) role[fd] = ECHO;
	else if (!strncmp(b, "GET /pub", 8)) role[fd] = PUB;
	else role[fd] = SUB, place[fd] = nsubs, subs[nsubs++] = fd;
}

static uint8_t in[1 << 16], out[1 << 16];

static void data(int fd) {
	ssize_t n = read(fd, in, sizeof in - 1);
	if (n < 0 && errno == EAGAIN) return;
	if (n <= 0) { drop(fd); return; }
	if (role[fd] == NEW) { upgrade(fd, (char *)in, n); return; }
	uint8_t *p = in, *end = in + n, *o = out;
	while (end - p >= 6) {
		size_t len = p[1] & 127, h = 2;
		if (len == 126) len = p[2] << 8 | p[3], h = 4;
		if ((size_t)(end - p) < h + 4 + len || (p[0] & 15) == 8) { drop(fd); return; }
		uint8_t *key = p + h, *q = key + 4;
		*o++ = p[0];
		if (len < 126) *o++ = len;
		else *o++ = 126, *o++ = len >> 8, *o++ = len;
		for (size_t i = 0; i < len; i++) o[i] = q[i] ^ key[i & 3];
		o += len, p = q + len;
		if (role[fd] == PUB) fan(out, o - out), o = out;
	}
	if (role[fd] == ECHO) put(fd, out, o - out);
}

int main(int argc, char **argv) {
	int port = 9300;
	if (argc > 1) port = atoi(argv[1]);
	int l = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (bind(l, (void *)&a, sizeof a) || listen(l, 4096)) { perror("listen"); return 1; }
	ep = epoll_create1(0);
	struct epoll_event e = {.events = EPOLLIN, .data.fd = l}, ev[512];
	epoll_ctl(ep, EPOLL_CTL_ADD, l, &e);
	for (;;) {
		int n = epoll_wait(ep, ev, 512, -1);
		for (int i = 0; i < n; i++) {
			int fd = ev[i].data.fd;
			if (fd != l) { if (role[fd]) data(fd); continue; }
			for (int k = 0; k < 64; k++) {
				int c = accept4(l, 0, 0, SOCK_NONBLOCK);
				if (c < 0) break;
				setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
				role[c] = NEW;
				struct epoll_event x = {.events = EPOLLIN, .data.fd = c};
				epoll_ctl(ep, EPOLL_CTL_ADD, c, &x);
			}
		}
	}
}
