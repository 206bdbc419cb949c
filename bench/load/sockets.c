/* WebSocket clients of an echo server, each with messages of one size.
 *
 * Arguments: port, path, clients, bytes a message, seconds, rate.
 *   rate 0      closed loop: every client sends its next message when the last one has come back;
 *   rate N      open loop: N messages a second in all, on schedule whatever comes back; a latency counts from when
 *               the message was due, so that waiting to send it is not forgotten;
 *   seconds 0   every client sends one message; then `ready` is printed, and all are held until the program is ended.
 *
 * Prints {"messages", "seconds", "p50", "p99"}, latencies in microseconds.
 */
#include "net.h"
#include "websocket.h"
#include <sys/timerfd.h>

enum { BATCH = 256, HEAD_ROOM = 16, RESPONSE_BYTES = 4096 };

/* The key of RFC 6455's own example, and the answer it gives to it. */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

struct client {
    int fd;
    uint64_t due; /* closed loop: when its message was sent; open loop: when the one to come back next was due */
    size_t got;
    unsigned char *in;
};

static struct {
    const char *port, *path;
    size_t clients, bytes;
    uint64_t seconds, rate;
} asked;

static struct client *clients;
static unsigned char *message, *payload; /* the frame every client sends, and what comes back of it */
static size_t message_bytes, in_bytes;
static uint64_t *latencies;
static size_t received, sent, room;

static void make_message(void)
{
    static const unsigned char mask[MASK_BYTES] = {0x12, 0xa4, 0x3b, 0x77};
    message = malloc(asked.bytes + HEAD_ROOM);
    payload = malloc(asked.bytes);
    for (size_t at = 0; at < asked.bytes; at++)
        payload[at] = (unsigned char)(at * 7);
    size_t head = put_head(message, FIN_BINARY, MASKED, asked.bytes);
    memcpy(message + head, mask, MASK_BYTES);
    memcpy(message + head + MASK_BYTES, payload, asked.bytes);
    apply_mask(message + head + MASK_BYTES, asked.bytes, mask);
    message_bytes = head + MASK_BYTES + asked.bytes;
    in_bytes = asked.bytes + HEAD_ROOM < RESPONSE_BYTES ? RESPONSE_BYTES : asked.bytes + HEAD_ROOM;
}

static void send_message(struct client *client)
{
    if (!send_all(client->fd, message, message_bytes))
        fail("a connection was closed after %zu messages", received);
    sent++;
}

static void note(uint64_t latency)
{
    if (received == room) {
        room = room ? 2 * room : 1 << 16;
        latencies = realloc(latencies, room * sizeof *latencies);
        if (!latencies)
            fail("no memory for %zu latencies", room);
    }
    latencies[received++] = latency;
}

/* Read what there is; the messages that came back whole and are what was sent. */
static size_t receive(struct client *client)
{
    struct frame frame;
    size_t at = 0, messages = 0;
    ssize_t got = recv(client->fd, client->in + client->got, in_bytes - client->got, 0);
    if (got < 0 && errno == EAGAIN)
        return 0;
    if (got <= 0)
        fail("a connection was closed after %zu messages", received);
    client->got += (size_t)got;
    for (; whole_frame(client->in + at, client->got - at, &frame); at += frame.head + frame.size) {
        if (frame.opcode >= FIRST_CONTROL && frame.opcode != CLOSE)
            continue;
        if (frame.size != asked.bytes || memcmp(client->in + at + frame.head, payload, frame.size))
            fail("a message came back changed, after %zu messages", received);
        messages++;
    }
    client->got -= at;
    memmove(client->in, client->in + at, client->got);
    return messages;
}

/* Connect, switch to WebSocket, and have one message echoed; blocking, one client after the other. */
static void open_client(struct client *client)
{
    char request[1024];
    int size = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nhost: 127.0.0.1:%s\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
                        "sec-websocket-version: 13\r\nsec-websocket-key: " KEY "\r\n\r\n",
                        asked.path, asked.port);
    client->fd = connect_to(asked.port);
    client->in = malloc(in_bytes);
    if (!client->in || !send_all(client->fd, request, (size_t)size))
        fail("no handshake: %s", strerror(errno));
    for (client->got = 0;;) {
        ssize_t got = recv(client->fd, client->in + client->got, RESPONSE_BYTES - 1 - client->got, 0);
        if (got <= 0)
            fail("no answer to a handshake");
        client->got += (size_t)got;
        client->in[client->got] = 0;
        if (strstr((char *)client->in, "\r\n\r\n"))
            break;
    }
    if (strncmp((char *)client->in, "HTTP/1.1 101 ", 13) || !strstr((char *)client->in, ACCEPT))
        fail("%.60s", (char *)client->in);
    client->got = 0;
    send_message(client);
    while (!receive(client))
        ;
}

static void closed_loop(int poller, uint64_t until)
{
    struct epoll_event happened[BATCH];
    for (size_t at = 0; at < asked.clients; at++) {
        clients[at].due = now_ns();
        send_message(&clients[at]);
    }
    while (now_ns() < until) {
        int number = epoll_wait(poller, happened, BATCH, STALLED_MS);
        if (number <= 0)
            fail("nothing came back for ten seconds");
        for (int at = 0; at < number; at++) {
            struct client *client = happened[at].data.ptr;
            if (!receive(client))
                continue;
            uint64_t now = now_ns();
            note(now - client->due);
            client->due = now;
            send_message(client);
        }
    }
}

/* A descriptor that is readable when the next message is due. */
static int metronome(uint64_t interval)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct timespec each = {.tv_sec = (time_t)(interval / 1000000000u), .tv_nsec = (long)(interval % 1000000000u)};
    struct itimerspec beat = {.it_interval = each, .it_value = each};
    if (timerfd_settime(fd, 0, &beat, NULL))
        fail("no timer: %s", strerror(errno));
    return fd;
}

/* Message n of the run is due at start + n intervals, and belongs to client n modulo clients. */
static void open_loop(int poller, uint64_t start)
{
    struct epoll_event happened[BATCH];
    uint64_t interval = 1000000000u / asked.rate, beats;
    size_t total = (size_t)(asked.seconds * asked.rate);
    int timer = metronome(interval);
    watch(poller, timer, NULL);
    for (size_t at = 0; at < asked.clients; at++)
        clients[at].due = start + at * interval;
    while (received < total) {
        int number = epoll_wait(poller, happened, BATCH, STALLED_MS);
        for (int at = 0; at < number; at++) {
            struct client *client = happened[at].data.ptr;
            if (!client) {
                (void)!read(timer, &beats, sizeof beats);
                continue;
            }
            uint64_t now;
            size_t messages = receive(client);
            for (now = now_ns(); messages; messages--, client->due += interval * asked.clients)
                note(now - client->due);
        }
        while (sent < total && start + sent * interval <= now_ns())
            send_message(&clients[sent % asked.clients]);
        if (now_ns() > start + asked.seconds * 1000000000u + STALLED_MS * 1000000ull)
            fail("%zu of %zu messages did not come back", total - received, total);
    }
}

static void run(void)
{
    int poller = epoll_create1(0);
    for (size_t at = 0; at < asked.clients; at++)
        watch(poller, clients[at].fd, &clients[at]);
    sent = received = 0;
    uint64_t start = now_ns();
    if (asked.rate)
        open_loop(poller, start);
    else
        closed_loop(poller, start + asked.seconds * 1000000000u);
    double seconds = (double)(now_ns() - start) / 1e9;
    qsort(latencies, received, sizeof *latencies, by_value);
    printf("{\"messages\": %zu, \"seconds\": %.6f, \"p50\": %.1f, \"p99\": %.1f}\n", received, seconds,
           (double)latencies[received / 2] / 1e3, (double)latencies[received * 99 / 100] / 1e3);
}

int main(int count, char **arguments)
{
    if (count != 7)
        fail("usage: sockets PORT PATH CLIENTS BYTES SECONDS RATE");
    asked.port = arguments[1];
    asked.path = arguments[2];
    asked.clients = strtoul(arguments[3], NULL, 10);
    asked.bytes = strtoul(arguments[4], NULL, 10);
    asked.seconds = strtoul(arguments[5], NULL, 10);
    asked.rate = strtoul(arguments[6], NULL, 10);
    clients = calloc(asked.clients, sizeof *clients);
    make_message();
    for (size_t at = 0; at < asked.clients; at++)
        open_client(&clients[at]);
    if (asked.seconds) {
        run();
        return 0;
    }
    printf("ready\n");
    fflush(stdout);
    for (;;)
        pause();
}
