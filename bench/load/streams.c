/* The upstream of the stream scenarios: WebSockets that echo, and event streams that one request publishes to.
 *
 * Argument: the port. Whatever stands before them in the path,
 *   .../echo      becomes a WebSocket: each message comes back as it is;
 *   .../events    is an event stream: one event at once, then one for each publication;
 *   .../publish   sends one event to every open stream, then is answered;
 *   anything else is answered with the 12 bytes that a gateway is probed with.
 */
#define _GNU_SOURCE
#include "accept.h"
#include "net.h"
#include "websocket.h"

enum { IN_BYTES = 1 << 17, BATCH = 256, CONNECTIONS = 1 << 15 };

/* An event of 100 bytes in a chunk of its own. The clients count the `!`, which stands nowhere else. */
#define TEN "0123456789"
#define NINETY TEN TEN TEN TEN TEN TEN TEN TEN TEN
static const char EVENT[] = "64\r\ndata: " NINETY "0!\n\n\r\n";
static const char STREAM[] = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\n"
                             "transfer-encoding: chunked\r\n\r\n";
static const char SMALL[] = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 12\r\n\r\nHello World!";

enum kind { REQUEST, SOCKET, EVENTS };

struct connection {
    int fd;
    enum kind kind;
    size_t got;
    unsigned char in[IN_BYTES + 1];
};

static struct connection *open_connections[CONNECTIONS];

static void drop(struct connection *connection)
{
    open_connections[connection->fd] = NULL;
    close(connection->fd);
    free(connection);
}

/* Echo every message that has come whole. False when the connection is to be closed. */
static int echo(struct connection *connection)
{
    size_t at = 0;
    struct frame frame;
    while (whole_frame(connection->in + at, connection->got - at, &frame)) {
        unsigned char *payload = connection->in + at + frame.head;
        if (frame.opcode == CLOSE || !frame.mask)
            return 0;
        at += frame.head + frame.size;
        if (frame.opcode >= FIRST_CONTROL)
            continue;
        apply_mask(payload, frame.size, frame.mask);
        /* The answer's head is shorter than the question's, so it fits before the payload where that lies. */
        size_t head = plain_head(frame.size);
        put_head(payload - head, 0x80 | frame.opcode, 0, frame.size);
        if (!send_all(connection->fd, payload - head, head + frame.size))
            return 0;
    }
    connection->got -= at;
    memmove(connection->in, connection->in + at, connection->got);
    return at || connection->got < IN_BYTES;
}

static int upgrade(struct connection *connection, const char *field)
{
    char answer[ACCEPT_CHARACTERS + 1], head[256];
    const char *key = field + strlen("sec-websocket-key:");
    key += strspn(key, " ");
    accept_key(key, answer);
    int size = snprintf(head, sizeof head,
                        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
                        "sec-websocket-accept: %s\r\n\r\n",
                        answer);
    connection->kind = SOCKET;
    return send_all(connection->fd, head, (size_t)size);
}

static void publish(void)
{
    for (int fd = 0; fd < CONNECTIONS; fd++)
        if (open_connections[fd] && open_connections[fd]->kind == EVENTS)
            if (!send_all(fd, EVENT, sizeof EVENT - 1))
                shutdown(fd, SHUT_RDWR); /* it may be waiting in this batch of events, and is dropped when it is read */
}

/* Answer a request without a body once its head has come. False when the connection is to be closed. */
static int answer(struct connection *connection)
{
    char *head = (char *)connection->in, *path_end, *field;
    connection->in[connection->got] = 0;
    if (!strstr(head, "\r\n\r\n"))
        return connection->got < IN_BYTES;
    connection->got = 0;
    if ((field = strcasestr(head, "sec-websocket-key:")))
        return upgrade(connection, field);
    if (!(path_end = strstr(head, " HTTP/1.")))
        return 0;
    *path_end = 0;
    if (strstr(head, "/events")) {
        connection->kind = EVENTS;
        return send_all(connection->fd, STREAM, sizeof STREAM - 1) &&
               send_all(connection->fd, EVENT, sizeof EVENT - 1);
    }
    if (strstr(head, "/publish"))
        publish();
    return send_all(connection->fd, SMALL, sizeof SMALL - 1);
}

static void readable(struct connection *connection)
{
    ssize_t got = recv(connection->fd, connection->in + connection->got, IN_BYTES - connection->got, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    connection->got += got > 0 ? (size_t)got : 0;
    int keep = got > 0 && (connection->kind == REQUEST  ? answer(connection)
                           : connection->kind == SOCKET ? echo(connection)
                                                        : 1);
    if (!keep)
        drop(connection);
    else if (connection->kind == EVENTS)
        connection->got = 0;
}

static void accept_all(int poller, int listener)
{
    int fd;
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        /* Memory that is never touched costs nothing: thousands of buffers are held, and few are used. */
        struct connection *made = fd < CONNECTIONS ? malloc(sizeof *made) : NULL;
        if (!made)
            fail("too many connections");
        made->fd = fd;
        made->kind = REQUEST;
        made->got = 0;
        open_connections[fd] = made;
        send_at_once(fd);
        watch(poller, fd, made);
    }
}

int main(int count, char **arguments)
{
    if (count != 2)
        fail("usage: streams PORT");
    int poller = epoll_create1(0), listener = listen_on(arguments[1]);
    struct epoll_event happened[BATCH];
    watch(poller, listener, NULL);
    for (;;) {
        int number = epoll_wait(poller, happened, BATCH, -1);
        for (int at = 0; at < number; at++) {
            if (happened[at].data.ptr)
                readable(happened[at].data.ptr);
            else
                accept_all(poller, listener);
        }
    }
}
