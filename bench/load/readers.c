/* Readers of an event stream, each on a connection of its own.
 *
 * Arguments: port, path, readers; then, to measure, the port of the publisher, its path, and how many events.
 * Without those, it prints `ready` when every reader has the first event, and holds all until it is ended.
 * With them, it has events published one by one, and prints {"events", "p50", "worst"}: milliseconds from asking the
 * publisher to the moment the last reader had the event.
 */
#include "net.h"

enum { BATCH = 512, IN_BYTES = 1 << 16, PAUSE_US = 50000 };

static char in[IN_BYTES + 1];

/* Every event has one `!`, and neither the rest of it nor a gateway's framing has any. */
static size_t events_in(size_t got)
{
    size_t events = 0;
    for (char *at = in; (at = memchr(at, '!', (size_t)(in + got - at))); at++)
        events++;
    return events;
}

/* Connect, and block until the head and the first event are there. */
static int open_reader(const char *port, const char *path)
{
    char request[1024];
    int fd = connect_to(port), size = snprintf(request, sizeof request,
                                               "GET %s HTTP/1.1\r\nhost: 127.0.0.1:%s\r\n"
                                               "accept: text/event-stream\r\n\r\n",
                                               path, port);
    if (!send_all(fd, request, (size_t)size))
        fail("no request: %s", strerror(errno));
    for (size_t total = 0;;) {
        ssize_t got = recv(fd, in + total, IN_BYTES - total, 0);
        if (got <= 0)
            fail("a stream did not begin");
        total += (size_t)got;
        in[total] = 0;
        if (total >= 13 && strncmp(in, "HTTP/1.1 200 ", 13))
            fail("%.60s", in);
        if (events_in(total))
            return fd;
    }
}

static uint64_t publish(int poller, int publisher, const char *request, size_t readers)
{
    struct epoll_event happened[BATCH];
    uint64_t start = now_ns();
    if (!send_all(publisher, request, strlen(request)))
        fail("no publisher");
    for (size_t events = 0; events < readers;) {
        int number = epoll_wait(poller, happened, BATCH, STALLED_MS);
        if (number <= 0)
            fail("%zu of %zu readers did not get an event", readers - events, readers);
        for (int at = 0; at < number; at++) {
            ssize_t got = recv(happened[at].data.fd, in, IN_BYTES, 0);
            if (got == 0 || (got < 0 && errno != EAGAIN))
                fail("a stream ended");
            events += got > 0 ? events_in((size_t)got) : 0;
        }
    }
    uint64_t took = now_ns() - start;
    if (recv(publisher, in, IN_BYTES, 0) <= 0)
        fail("the publisher did not answer");
    return took;
}

int main(int count, char **arguments)
{
    if (count != 4 && count != 7)
        fail("usage: readers PORT PATH READERS [PUBLISHER_PORT PUBLISHER_PATH EVENTS]");
    size_t readers = strtoul(arguments[3], NULL, 10);
    int poller = epoll_create1(0);
    for (size_t at = 0; at < readers; at++) {
        int fd = open_reader(arguments[1], arguments[2]);
        struct epoll_event wanted = {.events = EPOLLIN, .data.fd = fd};
        fcntl(fd, F_SETFL, O_NONBLOCK);
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &wanted);
    }
    if (count == 4) {
        printf("ready\n");
        fflush(stdout);
        for (;;)
            pause();
    }
    char request[1024];
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nhost: publisher\r\n\r\n", arguments[5]);
    size_t events = strtoul(arguments[6], NULL, 10);
    uint64_t *took = calloc(events, sizeof *took);
    int publisher = connect_to(arguments[4]);
    for (size_t event = 0; event < events; event++) {
        took[event] = publish(poller, publisher, request, readers);
        usleep(PAUSE_US);
    }
    qsort(took, events, sizeof *took, by_value);
    printf("{\"events\": %zu, \"p50\": %.3f, \"worst\": %.3f}\n", events, (double)took[events / 2] / 1e6,
           (double)took[events - 1] / 1e6);
    free(took);
}
