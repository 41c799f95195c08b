/* texts.c: a numbered set of texts, found by hash. The table is kept at most
 * half full, so that a search is short; texts are never taken out.
 */
#include "trainer/private.h"

#include <stdlib.h>
#include <string.h>

void tr_texts_init(struct tr_texts *texts)
{
    *texts = (struct tr_texts){0};
    ir_arena_init(&texts->arena);
}

void tr_texts_release(struct tr_texts *texts)
{
    ir_arena_release(&texts->arena);
    free(texts->text);
    free(texts->length);
    free(texts->hash);
    free(texts->slot);
    *texts = (struct tr_texts){0};
}

static uint32_t hash_of(const char *text, size_t n)
{
    return (uint32_t)ir_keyed_hash(text, n);
}

/* The slot where the text is, or the free one where it would be put. */
static uint32_t find_slot(const struct tr_texts *texts, uint32_t hash,
                          const char *text, size_t n)
{
    uint32_t at = hash & (texts->n_slots - 1);
    for (;; at = (at + 1) & (texts->n_slots - 1)) {
        const int i = texts->slot[at];
        if (i < 0 || (texts->hash[i] == hash && texts->length[i] == n &&
                      memcmp(texts->text[i], text, n) == 0))
            return at;
    }
}

int tr_texts_find(const struct tr_texts *texts, const char *text, size_t n)
{
    if (texts->n == 0)
        return -1;
    return texts->slot[find_slot(texts, hash_of(text, n), text, n)];
}

static void grow(struct tr_texts *texts)
{
    texts->capacity = texts->capacity ? 2 * texts->capacity : 16;
    const size_t n = (size_t)texts->capacity;
    texts->text = ir_realloc_array(texts->text, n, sizeof(*texts->text));
    texts->length = ir_realloc_array(texts->length, n, sizeof(uint32_t));
    texts->hash = ir_realloc_array(texts->hash, n, sizeof(uint32_t));
    texts->n_slots = 2 * (uint32_t)n;
    texts->slot = ir_realloc_array(texts->slot, 2 * n, sizeof(int));
    memset(texts->slot, 0xff, 2 * n * sizeof(int));
    for (int i = 0; i < texts->n; i++)
        texts->slot[find_slot(texts, texts->hash[i], texts->text[i],
                              texts->length[i])] = i;
}

int tr_texts_add(struct tr_texts *texts, const char *text, size_t n)
{
    if (texts->n == texts->capacity)
        grow(texts);
    const uint32_t hash = hash_of(text, n);
    int *slot = &texts->slot[find_slot(texts, hash, text, n)];
    if (*slot >= 0)
        return *slot;
    texts->text[texts->n] = ir_strndup(&texts->arena, text, n);
    texts->length[texts->n] = (uint32_t)n;
    texts->hash[texts->n] = hash;
    return *slot = texts->n++;
}
