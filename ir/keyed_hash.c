/* keyed_hash.c: SipHash-1-3 of a text, by a key that is drawn once a process:
 * whoever makes a file cannot make its names meet in a table. Nothing that is
 * written may depend on it, the order of a table's slots included. */
#include "ir/ir.h"

#include <pthread.h>
#include <string.h>
#include <sys/random.h>

static uint64_t key[2];

/* Without a key drawn it is a hash all the same. */
static void draw_key(void)
{
    if (getrandom(key, sizeof key, GRND_NONBLOCK) != sizeof key)
        memset(key, 0x5a, sizeof key);
}

static uint64_t turn(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static void mix(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = turn(v[1], 13) ^ v[0];
    v[3] = turn(v[3], 16) ^ v[2];
    v[0] = turn(v[0], 32) + v[3];
    v[2] += v[1];
    v[3] = turn(v[3], 21) ^ v[0];
    v[1] = turn(v[1], 17) ^ v[2];
    v[2] = turn(v[2], 32);
}

static void add(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    mix(v);
    v[0] ^= word;
}

uint64_t ir_keyed_hash(const char *text, size_t n)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, draw_key);
    uint64_t v[4] = {key[0] ^ UINT64_C(0x736f6d6570736575),
                     key[1] ^ UINT64_C(0x646f72616e646f6d),
                     key[0] ^ UINT64_C(0x6c7967656e657261),
                     key[1] ^ UINT64_C(0x7465646279746573)};
    uint64_t word, last = (uint64_t)n << 56;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        memcpy(&word, text + i, 8);
        add(v, word);
    }
    for (int bits = 0; i < n; i++, bits += 8)
        last |= (uint64_t)(uint8_t)text[i] << bits;
    add(v, last);
    v[2] ^= 0xff;
    for (int round = 0; round < 3; round++)
        mix(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
