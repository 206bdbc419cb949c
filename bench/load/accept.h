/* The answer to a Sec-WebSocket-Key (RFC 6455, section 4.2.2): base64 of the SHA-1 (RFC 3174) of key and GUID.
 *
 * A relay with a WebSocket client of its own chooses its key itself and checks the answer, so it must be the right one.
 */
#ifndef BENCH_ACCEPT_H
#define BENCH_ACCEPT_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { SHA1_BLOCK = 64, SHA1_BYTES = 20, KEY_CHARACTERS = 24, ACCEPT_CHARACTERS = 28 };

static inline uint32_t rotated(uint32_t value, int bits)
{
    return value << bits | value >> (32 - bits);
}

static inline void sha1_block(uint32_t state[5], const unsigned char *block)
{
    uint32_t word[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (int t = 0; t < 16; t++)
        word[t] = (uint32_t)block[4 * t] << 24 | block[4 * t + 1] << 16 | block[4 * t + 2] << 8 | block[4 * t + 3];
    for (int t = 16; t < 80; t++)
        word[t] = rotated(word[t - 3] ^ word[t - 8] ^ word[t - 14] ^ word[t - 16], 1);
    for (int t = 0; t < 80; t++) {
        uint32_t mixed = t < 20   ? ((b & c) | (~b & d)) + 0x5a827999
                         : t < 40 ? (b ^ c ^ d) + 0x6ed9eba1
                         : t < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc
                                  : (b ^ c ^ d) + 0xca62c1d6;
        uint32_t next = rotated(a, 5) + mixed + e + word[t];
        e = d, d = c, c = rotated(b, 30), b = a, a = next;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e;
}

/* Of a key with its GUID, 60 characters: with the padding, two blocks. */
static inline void sha1(const char *text, size_t size, unsigned char digest[SHA1_BYTES])
{
    uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    unsigned char padded[2 * SHA1_BLOCK] = {0};
    memcpy(padded, text, size);
    padded[size] = 0x80;
    padded[sizeof padded - 2] = (unsigned char)(size * 8 >> 8);
    padded[sizeof padded - 1] = (unsigned char)(size * 8);
    sha1_block(state, padded);
    sha1_block(state, padded + SHA1_BLOCK);
    for (int byte = 0; byte < SHA1_BYTES; byte++)
        digest[byte] = (unsigned char)(state[byte / 4] >> (24 - 8 * (byte % 4)));
}

/* Write the answer to a key of 24 characters, and a NUL. */
static inline void accept_key(const char *key, char answer[ACCEPT_CHARACTERS + 1])
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char text[KEY_CHARACTERS + 37];
    unsigned char digest[SHA1_BYTES + 1] = {0};
    snprintf(text, sizeof text, "%.*s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", KEY_CHARACTERS, key);
    sha1(text, strlen(text), digest);
    for (int at = 0, byte = 0; byte < SHA1_BYTES; byte += 3) {
        uint32_t three = (uint32_t)digest[byte] << 16 | digest[byte + 1] << 8 | digest[byte + 2];
        for (int shift = 18; shift >= 0; shift -= 6)
            answer[at++] = alphabet[three >> shift & 63];
    }
    answer[ACCEPT_CHARACTERS - 1] = '=';
    answer[ACCEPT_CHARACTERS] = 0;
}

#endif
