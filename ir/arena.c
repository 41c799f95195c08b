/* arena.c: memory by lifetime. Nothing here frees a single object. */
#include "ir/ir.h"

#include <stdlib.h>
#include <string.h>

/* Objects follow the header; a chunk holds at least one. */
struct ir_arena_chunk {
    struct ir_arena_chunk *next;
    size_t size; /* of what follows the header */
};
_Static_assert(sizeof(struct ir_arena_chunk) == 16, "objects are aligned");

#ifdef IR_ARENA_MALLOC
enum { chunk_bytes = 0 };
#else
enum { chunk_bytes = 64 * 1024 };
#endif

void ir_out_of_memory(void)
{
    fputs("treenail: error: out of memory\n", stderr);
    exit(1);
}

void ir_bug_at(const char *file, int line, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "treenail: bug at %s:%d: ", file, line);
    vfprintf(stderr, fmt, args);
    fputs("\n", stderr);
    va_end(args);
    abort();
}

void ir_arena_init(struct ir_arena *arena)
{
    *arena = (struct ir_arena){0};
}

void ir_arena_release(struct ir_arena *arena)
{
    struct ir_arena_chunk *chunk = arena->chunk;
    while (chunk) {
        struct ir_arena_chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
    ir_arena_init(arena);
}

static void add_chunk(struct ir_arena *arena, size_t size)
{
    struct ir_arena_chunk *chunk = calloc(1, sizeof(*chunk) + size);
    if (!chunk)
        ir_out_of_memory();
    chunk->next = arena->chunk;
    chunk->size = size;
    arena->chunk = chunk;
    arena->used = 0;
}

void *ir_alloc(struct ir_arena *arena, size_t size)
{
    if (size > SIZE_MAX / 2)
        ir_out_of_memory();
    /* Never 0 bytes: each object has an address of its own. */
    size = (size + (size == 0) + 15) / 16 * 16;
    if (!arena->chunk || arena->chunk->size - arena->used < size)
        add_chunk(arena, size > chunk_bytes ? size : chunk_bytes);
    uint8_t *object = (uint8_t *)(arena->chunk + 1) + arena->used;
    arena->used += size;
    return object;
}

void *ir_alloc_array(struct ir_arena *arena, size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes))
        ir_out_of_memory();
    return ir_alloc(arena, bytes);
}

char *ir_strndup(struct ir_arena *arena, const char *s, size_t n)
{
    char *copy = ir_alloc(arena, n + 1);
    memcpy(copy, s, n);
    return copy;
}

char *ir_strdup(struct ir_arena *arena, const char *s)
{
    return ir_strndup(arena, s, strlen(s));
}

char *ir_sprintf(struct ir_arena *arena, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0)
        ir_bug("a format that cannot be printed: %s", fmt);
    char *s = ir_alloc(arena, (size_t)n + 1);
    va_start(args, fmt);
    vsnprintf(s, (size_t)n + 1, fmt, args);
    va_end(args);
    return s;
}

void *ir_realloc_array(void *old, size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes))
        ir_out_of_memory();
    void *grown = realloc(old, bytes ? bytes : 1);
    if (!grown)
        ir_out_of_memory();
    return grown;
}
