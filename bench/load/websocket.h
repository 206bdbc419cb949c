/* The frames of RFC 6455 that the load sends and the echo server answers. */
#ifndef BENCH_WEBSOCKET_H
#define BENCH_WEBSOCKET_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { FIN_BINARY = 0x82, OPCODE = 0x0f, CLOSE = 0x8, FIRST_CONTROL = 0x8, MASKED = 0x80, MASK_BYTES = 4 };

struct frame {
    unsigned opcode;
    size_t head;                /* bytes before the payload, the mask included */
    size_t size;                /* bytes of the payload */
    const unsigned char *mask;  /* NULL when it has none */
};

/* Read a frame's head (section 5.2); false as long as the frame has not come whole. */
static inline int whole_frame(const unsigned char *data, size_t got, struct frame *frame)
{
    if (got < 2)
        return 0;
    size_t length = data[1] & 0x7f, extended = length == 126 ? 2 : length == 127 ? 8 : 0;
    int masked = data[1] & MASKED;
    frame->opcode = data[0] & OPCODE;
    frame->head = 2 + extended + (masked ? MASK_BYTES : 0);
    if (got < frame->head)
        return 0;
    frame->size = extended ? 0 : length;
    for (size_t at = 0; at < extended; at++)
        frame->size = frame->size << 8 | data[2 + at];
    frame->mask = masked ? data + 2 + extended : NULL;
    return got - frame->head >= frame->size;
}

/* Bytes that the head of a frame without a mask takes. */
static inline size_t plain_head(size_t size)
{
    return size < 126 ? 2 : size < 65536 ? 4 : 10;
}

/* Write the first two bytes of a head and the extended length; the bytes written. */
static inline size_t put_head(unsigned char *at, unsigned first, unsigned masked, size_t size)
{
    size_t head = plain_head(size);
    at[0] = (unsigned char)first;
    at[1] = (unsigned char)(masked | (size < 126 ? size : size < 65536 ? 126 : 127));
    for (size_t byte = 2; byte < head; byte++)
        at[byte] = (unsigned char)(size >> 8 * (head - 1 - byte));
    return head;
}

/* Mask a payload, or take the mask off: the same act (section 5.3), eight bytes at a time. */
static inline void apply_mask(unsigned char *data, size_t size, const unsigned char *mask)
{
    unsigned char twice[2 * MASK_BYTES];
    uint64_t wide, word;
    size_t at = 0;
    memcpy(twice, mask, MASK_BYTES);
    memcpy(twice + MASK_BYTES, mask, MASK_BYTES);
    memcpy(&wide, twice, sizeof wide);
    for (; at + sizeof word <= size; at += sizeof word) {
        memcpy(&word, data + at, sizeof word);
        word ^= wide;
        memcpy(data + at, &word, sizeof word);
    }
    for (; at < size; at++)
        data[at] ^= twice[at % MASK_BYTES];
}

#endif
