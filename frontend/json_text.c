/* json_text.c: the syntax of JSON: the check of a whole document, and passing
 * over what was checked. What values mean is json.c's business.
 *
 * Beyond RFC 8259 only NaN, Infinity and -Infinity are taken, as numbers.
 * Nothing recurses: what is open is a stack of bits.
 */
#include "frontend/internal.h"

#include <ctype.h>
#include <string.h>

/* --------------------------------------------------------------- check -- */

struct checker {
    struct fe_json *json;
    const uint8_t *p, *end;
    int depth;
    uint8_t object[FE_JSON_DEEP / 8]; /* a bit each: no array */
};

static bool in_object(const struct checker *c)
{
    const int i = c->depth - 1;
    return c->object[i / 8] >> (i % 8) & 1;
}

static bool fail(struct checker *c, const uint8_t *at, const char *what)
{
    const struct fe_value value = {.at = at};
    if (at < c->end && *at < ' ')
        return fe_json_error(c->json, &value, "%s, not a byte 0x%02x", what,
                             (unsigned)*at);
    if (at < c->end)
        return fe_json_error(c->json, &value, "%s, not '%c'", what, *at);
    return fe_json_error(c->json, &value, "%s, not the end of the file", what);
}

static bool is_blank(uint8_t b)
{
    return b == ' ' || b == '\n' || b == '\r' || b == '\t';
}

static const uint8_t *skip_blanks(const uint8_t *p, const uint8_t *end)
{
    while (p < end && is_blank(*p))
        p++;
    return p;
}

/* The escape at p, a backslash. */
static bool check_escape(struct checker *c)
{
    const uint8_t *p = c->p + 1;
    if (p < c->end && *p == 'u') {
        for (int i = 1; i <= 4; i++)
            if (p + i >= c->end || !isxdigit(p[i]))
                return fail(c, p + i < c->end ? p + i : c->end,
                            "4 hexadecimal digits should follow \\u");
        c->p = p + 5;
        return true;
    }
    if (p >= c->end || !*p || !strchr("\"\\/bfnrt", *p))
        return fail(c, p, "one of \"\\/bfnrtu should follow a backslash");
    c->p = p + 1;
    return true;
}

static bool check_string(struct checker *c)
{
    const uint8_t *begin = c->p++;
    for (;;) {
        while (c->p < c->end && *c->p >= 0x20 && *c->p != '"' &&
               *c->p != '\\')
            c->p++;
        if (c->p == c->end) {
            const struct fe_value at = {.at = begin};
            return fe_json_error(c->json, &at, "this string does not end");
        }
        if (*c->p == '"')
            break;
        if (*c->p != '\\') {
            const struct fe_value at = {.at = c->p};
            return fe_json_error(c->json, &at,
                                 "a control character (0x%02x) in a string",
                                 (unsigned)*c->p);
        }
        if (!check_escape(c))
            return false;
    }
    c->p++;
    return true;
}

static bool check_word(struct checker *c, const char *word)
{
    const size_t n = strlen(word);
    if ((size_t)(c->end - c->p) < n || memcmp(c->p, word, n) != 0)
        return fail(c, c->p, "a value should be here");
    c->p += n;
    return true;
}

static bool is_digit(const struct checker *c)
{
    return c->p < c->end && *c->p >= '0' && *c->p <= '9';
}

static bool check_digits(struct checker *c)
{
    if (!is_digit(c))
        return fail(c, c->p, "a digit should be here");
    while (is_digit(c))
        c->p++;
    return true;
}

static bool check_number(struct checker *c)
{
    if (*c->p == '-') {
        c->p++;
        if (c->p < c->end && *c->p == 'I')
            return check_word(c, "Infinity");
    }
    if (c->p < c->end && *c->p == '0') {
        c->p++;
        if (is_digit(c))
            return fail(c, c->p, "no digit may follow a leading 0");
    } else if (!check_digits(c)) {
        return false;
    }
    if (c->p < c->end && *c->p == '.') {
        c->p++;
        if (!check_digits(c))
            return false;
    }
    if (c->p < c->end && (*c->p | 0x20) == 'e') {
        c->p++;
        if (c->p < c->end && (*c->p == '+' || *c->p == '-'))
            c->p++;
        return check_digits(c);
    }
    return true;
}

static bool check_scalar(struct checker *c)
{
    switch (*c->p) {
    case '"':
        return check_string(c);
    case 't':
        return check_word(c, "true");
    case 'f':
        return check_word(c, "false");
    case 'n':
        return check_word(c, "null");
    case 'N':
        return check_word(c, "NaN");
    case 'I':
        return check_word(c, "Infinity");
    default:
        if (*c->p == '-' || is_digit(c))
            return check_number(c);
        return fail(c, c->p, "a value should be here");
    }
}

static bool check_key(struct checker *c)
{
    if (c->p == c->end || *c->p != '"')
        return fail(c, c->p, "a key in quotes should be here");
    if (!check_string(c))
        return false;
    c->p = skip_blanks(c->p, c->end);
    if (c->p == c->end || *c->p != ':')
        return fail(c, c->p, "':' should follow a key");
    c->p = skip_blanks(c->p + 1, c->end);
    return true;
}

/* Steps into the array or object at p; *empty if it has no elements, and
 * then out of it again. */
static bool check_open(struct checker *c, bool *empty)
{
    const bool object = *c->p == '{';
    if (c->depth == c->json->max_depth) {
        const struct fe_value at = {.at = c->p};
        return fe_json_error(c->json, &at,
                             "arrays and objects are nested deeper than %d",
                             c->json->max_depth);
    }
    c->p = skip_blanks(c->p + 1, c->end);
    *empty = c->p < c->end && *c->p == (object ? '}' : ']');
    if (*empty) {
        c->p++;
        return true;
    }
    const int i = c->depth++;
    c->object[i / 8] &= (uint8_t)~(1 << (i % 8));
    c->object[i / 8] |= (uint8_t)(object << (i % 8));
    return !object || check_key(c);
}

/* After a value: steps out of what ends here, up to the next value or, at
 * depth 0, the end. */
static bool check_after(struct checker *c)
{
    while (c->depth > 0) {
        const bool object = in_object(c);
        c->p = skip_blanks(c->p, c->end);
        if (c->p < c->end && *c->p == ',') {
            c->p = skip_blanks(c->p + 1, c->end);
            return !object || check_key(c);
        }
        if (c->p == c->end || *c->p != (object ? '}' : ']'))
            return fail(c, c->p,
                        object ? "',' or '}' should follow a member"
                               : "',' or ']' should follow an element");
        c->p++;
        c->depth--;
    }
    return true;
}

bool fe_text_check(struct fe_json *json)
{
    struct checker c = {.json = json, .end = json->end};
    c.p = skip_blanks(json->data, json->end);
    do {
        if (c.p == c.end)
            return fail(&c, c.p, "a value should be here");
        if (*c.p == '{' || *c.p == '[') {
            bool empty = false;
            if (!check_open(&c, &empty))
                return false;
            if (!empty)
                continue;
        } else if (!check_scalar(&c)) {
            return false;
        }
        if (!check_after(&c))
            return false;
    } while (c.depth > 0);
    c.p = skip_blanks(c.p, c.end);
    return c.p == c.end || fail(&c, c.p, "the file should end here");
}

/* ---------------------------------------------------------------- walk -- */

static const uint8_t *skip_string(const uint8_t *p)
{
    for (p++; *p != '"'; p++)
        if (*p == '\\')
            p++;
    return p + 1;
}

const uint8_t *fe_text_skip(const uint8_t *p, const uint8_t *end)
{
    if (*p == '"')
        return skip_string(p);
    if (*p != '{' && *p != '[') {
        while (p < end && *p != ',' && *p != ']' && *p != '}' && !is_blank(*p))
            p++;
        return p;
    }
    int64_t depth = 0;
    do {
        /* Most bytes are of numbers, and all of those are below 'Z'. */
        while (*p < 'Z' && *p != '"')
            p++;
        if (*p == '"') {
            p = skip_string(p);
            continue;
        }
        depth += (*p == '{' || *p == '[') - (*p == '}' || *p == ']');
        p++;
    } while (depth > 0);
    return p;
}

bool fe_text_next(struct fe_walk *walk, struct fe_value *value)
{
    const uint8_t *end = walk->json->end;
    const uint8_t *p = walk->next;
    if (walk->unread)
        p = fe_text_skip(p, end);
    p = skip_blanks(p, end);
    walk->unread = false;
    if (*p == ',')
        p = skip_blanks(p + 1, end);
    if (*p == ']' || *p == '}') {
        walk->next = p;
        return false;
    }
    if (walk->object) {
        walk->key = (struct fe_value){.at = p, .type = *p};
        p = skip_blanks(skip_string(p), end);
        p = skip_blanks(p + 1, end);
    }
    *value = (struct fe_value){.at = p, .type = *p};
    walk->next = p;
    walk->unread = true;
    return true;
}
