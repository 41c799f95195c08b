/* ubjson.c: the syntax of UBJSON (draft 12) as XGBoost writes it: the check of
 * a whole document, and passing over what was checked. What values mean is
 * json.c's business.
 *
 * A value is a marker and its payload; numbers are big-endian. A container may
 * have a type ('$', of numbers only) and a count ('#'); a counted one has no
 * end marker. The no-op and numbers as text ('N', 'H') are refused: nobody
 * writes them. Nothing recurses, and no count is believed before the bytes for
 * it were seen.
 */
#include "frontend/internal.h"

#include <string.h>

/* Bytes of a number's payload; 0 when `marker` is that of no number. */
static size_t number_bytes(uint8_t marker)
{
    switch (marker) {
    case 'i':
    case 'U':
        return 1;
    case 'I':
        return 2;
    case 'l':
    case 'd':
        return 4;
    case 'L':
    case 'D':
        return 8;
    default:
        return 0;
    }
}

static uint64_t big_endian(const uint8_t *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

/* A whole number of n bytes with its sign. */
static int64_t whole_number(uint8_t marker, const uint8_t *p)
{
    const size_t n = number_bytes(marker);
    const uint64_t v = big_endian(p, n);
    if (marker == 'U')
        return (int64_t)v;
    const uint64_t sign = (uint64_t)1 << (8 * n - 1);
    return (int64_t)((v ^ sign) - sign);
}

/* --------------------------------------------------------------- check -- */

/* A container whose elements are being checked. */
struct level {
    bool object;
    int64_t left; /* -1: up to the end marker */
};

struct checker {
    struct fe_json *json;
    const uint8_t *p, *end;
    int depth;
    struct level level[FE_JSON_DEPTH];
};

#define fail(c, place, ...)                                                   \
    fe_json_error((c)->json, &(struct fe_value){.at = (place)}, __VA_ARGS__)

/* n bytes of `what` have to be there. */
static bool need(struct checker *c, uint64_t n, const char *what)
{
    const uint64_t have = (uint64_t)(c->end - c->p);
    if (have == 0 && n > 0)
        return fail(c, c->p, "the file ends where %s should be", what);
    return n <= have ||
           fail(c, c->p, "%s of %llu bytes (the file has %llu more)", what,
                (unsigned long long)n, (unsigned long long)have);
}

/* A length or a count: a marker and a whole number >= 0. */
static bool check_length(struct checker *c, const char *what, int64_t *length)
{
    const uint8_t *at = c->p;
    if (!need(c, 1, what))
        return false;
    const uint8_t marker = *c->p++;
    const size_t n = number_bytes(marker);
    if (!n || marker == 'd' || marker == 'D')
        return fail(c, at, "0x%02x where the type of %s should be",
                    (unsigned)marker, what);
    if (!need(c, n, what))
        return false;
    *length = whole_number(marker, c->p);
    c->p += n;
    return *length >= 0 ||
           fail(c, at, "%s is %lld", what, (long long)*length);
}

static bool check_bytes(struct checker *c, const char *length_name,
                        const char *name)
{
    int64_t n;
    if (!check_length(c, length_name, &n) || !need(c, (uint64_t)n, name))
        return false;
    c->p += n;
    return true;
}

/* The payload of a value that is no container. */
static bool check_scalar(struct checker *c, uint8_t marker)
{
    const size_t n = number_bytes(marker);
    if (n) {
        if (!need(c, n, "a number"))
            return false;
        c->p += n;
        return true;
    }
    if (marker == 'S')
        return check_bytes(c, "a string's length", "a string");
    return marker == 'T' || marker == 'F' || marker == 'Z' ||
           fail(c, c->p - 1, "0x%02x is the marker of no value",
                (unsigned)marker);
}

/* A container whose elements have one type: all of it is checked. */
static bool check_typed(struct checker *c)
{
    const uint8_t *at = c->p;
    if (!need(c, 1, "the type of an array's elements"))
        return false;
    const uint8_t type = *c->p++;
    const size_t size = number_bytes(type);
    if (!size)
        return fail(c, at, "an array of the type 0x%02x, no number's",
                    (unsigned)type);
    if (c->p == c->end || *c->p != '#')
        return fail(c, c->p, "a typed array has no count");
    c->p++;
    int64_t n;
    const uint8_t *count = c->p;
    if (!check_length(c, "an array's count", &n))
        return false;
    if ((uint64_t)n > (uint64_t)(c->end - c->p) / size)
        return fail(c, count,
                    "an array of %lld numbers of %d bytes (the file has %lld "
                    "more)",
                    (long long)n, (int)size, (long long)(c->end - c->p));
    c->p += (size_t)n * size;
    return true;
}

/* Steps into a container, whose marker was read, unless it is over already. */
static bool check_open(struct checker *c, bool object)
{
    int64_t n = -1;
    if (c->p < c->end && *c->p == '$' && !object) {
        c->p++;
        return check_typed(c);
    }
    if (c->p < c->end && *c->p == '#') {
        const uint8_t *at = ++c->p;
        if (!check_length(c, "a count", &n))
            return false;
        if (n > c->end - c->p)
            return fail(c, at, "%lld elements (the file has %lld more bytes)",
                        (long long)n, (long long)(c->end - c->p));
    }
    if (c->depth == FE_JSON_DEPTH)
        return fail(c, c->p, "arrays and objects are nested deeper than %d",
                    FE_JSON_DEPTH);
    c->level[c->depth++] = (struct level){object, n};
    return true;
}

/* Whether the innermost container has another element; if so, reads its key.
 * *ok is false after a message. */
static bool check_more(struct checker *c, bool *ok)
{
    struct level *level = &c->level[c->depth - 1];
    if (level->left == 0)
        return false;
    if (level->left > 0)
        level->left--;
    *ok = need(c, 1, "an element");
    if (!*ok)
        return false;
    if (level->left < 0 && *c->p == (level->object ? '}' : ']')) {
        c->p++;
        return false;
    }
    *ok = !level->object || check_bytes(c, "a key's length", "a key");
    return *ok;
}

static bool check_value(struct checker *c)
{
    if (!need(c, 1, "a value"))
        return false;
    const uint8_t marker = *c->p++;
    if (marker == '{' || marker == '[')
        return check_open(c, marker == '{');
    return check_scalar(c, marker);
}

bool fe_ubjson_check(struct fe_json *json)
{
    struct checker c = {.json = json, .p = json->data, .end = json->end};
    bool ok = check_value(&c);
    while (ok && c.depth > 0) {
        if (check_more(&c, &ok))
            ok = check_value(&c);
        else
            c.depth--;
    }
    if (ok && c.p != c.end)
        return fail(&c, c.p, "%lld bytes after the end of the model",
                    (long long)(c.end - c.p));
    return ok;
}

/* ---------------------------------------------------------------- walk -- */

/* What stands before the elements of a container. A counted array of numbers
 * of one type has left >= 0 and a type. */
void fe_ubjson_begin(const struct fe_value *container, struct fe_walk *walk)
{
    const uint8_t *p = container->at;
    walk->object = container->type == '{';
    walk->left = -1;
    walk->type = 0;
    if (*p == '$') {
        walk->type = p[1];
        p += 2;
    }
    if (*p == '#') {
        walk->left = whole_number(p[1], p + 2);
        p += 2 + number_bytes(p[1]);
    }
    walk->next = p;
}

size_t fe_ubjson_string(const struct fe_value *value, const uint8_t **bytes)
{
    const uint8_t marker = value->at[0];
    *bytes = value->at + 1 + number_bytes(marker);
    return (size_t)whole_number(marker, value->at + 1);
}

/* Past the end of a value that is no container. */
static const uint8_t *skip_scalar(const struct fe_value *value)
{
    if (value->type == 'S') {
        const uint8_t *bytes;
        const size_t n = fe_ubjson_string(value, &bytes);
        return bytes + n;
    }
    return value->at + number_bytes(value->type);
}

static bool is_container(const struct fe_value *value)
{
    return value->type == '{' || value->type == '[';
}

/* The next value of a walk, whose `next` is then its payload. */
static bool step(struct fe_walk *walk, struct fe_value *value)
{
    if (walk->left == 0)
        return false;
    if (walk->left < 0 && *walk->next == (walk->object ? '}' : ']')) {
        walk->next++;
        return false;
    }
    walk->left -= walk->left > 0;
    if (walk->object) {
        walk->key = (struct fe_value){.at = walk->next, .type = 'S'};
        walk->next = skip_scalar(&walk->key);
    }
    value->type = walk->type ? walk->type : *walk->next++;
    value->at = walk->next;
    return true;
}

/* Goes through what is inside, container by container. */
static const uint8_t *skip_container(const struct fe_value *value)
{
    struct fe_walk walk[FE_JSON_DEPTH];
    int depth = 0;
    struct fe_value at = *value;
    for (;;) {
        if (is_container(&at)) {
            fe_ubjson_begin(&at, &walk[depth]);
            if (walk[depth].type) {
                walk[depth].next += (size_t)walk[depth].left *
                                    number_bytes(walk[depth].type);
                walk[depth].left = 0;
            }
            depth++;
        } else {
            walk[depth - 1].next = skip_scalar(&at);
        }
        while (!step(&walk[depth - 1], &at)) {
            const uint8_t *end = walk[--depth].next;
            if (depth == 0)
                return end;
            walk[depth - 1].next = end;
        }
    }
}

const uint8_t *fe_ubjson_skip(const struct fe_value *value)
{
    return is_container(value) ? skip_container(value) : skip_scalar(value);
}

bool fe_ubjson_next(struct fe_walk *walk, struct fe_value *value)
{
    if (!step(walk, value))
        return false;
    walk->next = fe_ubjson_skip(value);
    return true;
}

double fe_ubjson_number(const struct fe_value *value, bool *is_int, int64_t *i)
{
    *is_int = value->type != 'd' && value->type != 'D';
    if (*is_int) {
        *i = whole_number(value->type, value->at);
        return (double)*i;
    }
    const uint64_t bits = big_endian(value->at, number_bytes(value->type));
    if (value->type == 'd') {
        const uint32_t low = (uint32_t)bits;
        float f;
        memcpy(&f, &low, sizeof f);
        return (double)f;
    }
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}
