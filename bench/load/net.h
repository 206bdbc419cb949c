/* What the C programs of the load share: sockets on the loopback address, one clock, and how they give up.
 *
 * A program that gives up prints one line and exits with 1; the benchmark shows the line and measures nothing.
 */
#ifndef BENCH_NET_H
#define BENCH_NET_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { STALLED_MS = 10000 };

__attribute__((noreturn, format(printf, 1, 2))) static inline void fail(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    vprintf(format, values);
    va_end(values);
    printf("\n");
    exit(1);
}

static inline uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static inline struct sockaddr_in loopback(const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static inline void send_at_once(int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* A connected socket; it blocks, ten seconds at the most. */
static inline int connect_to(const char *port)
{
    struct sockaddr_in address = loopback(port);
    struct timeval patience = {.tv_sec = STALLED_MS / 1000};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0)
        fail("no socket: %s", strerror(errno));
    if (connect(fd, (struct sockaddr *)&address, sizeof address))
        fail("no connection to port %s: %s", port, strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    send_at_once(fd);
    return fd;
}

static inline int listen_on(const char *port)
{
    struct sockaddr_in address = loopback(port);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096))
        fail("cannot listen on port %s: %s", port, strerror(errno));
    return fd;
}

/* Watch a socket for reading, which does not block from here on. */
static inline void watch(int poller, int fd, void *owner)
{
    struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = owner};
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &wanted))
        fail("cannot watch a socket: %s", strerror(errno));
}

/* Write all of it, waiting for a peer that is slow. False when the peer has gone or takes nothing for ten seconds. */
static inline int send_all(int fd, const void *data, size_t size)
{
    const char *at = data;
    while (size) {
        ssize_t sent = send(fd, at, size, MSG_NOSIGNAL);
        if (sent > 0) {
            at += sent;
            size -= (size_t)sent;
            continue;
        }
        struct pollfd writable = {.fd = fd, .events = POLLOUT};
        if (errno != EAGAIN || poll(&writable, 1, STALLED_MS) != 1)
            return 0;
    }
    return 1;
}

static inline int by_value(const void *one, const void *other)
{
    uint64_t a = *(const uint64_t *)one, b = *(const uint64_t *)other;
    return (a > b) - (a < b);
}

#endif
