/* mutate_text.c: a model in text -> another: see mutate.h.
 *
 * The text is taken for tokens: numbers, strings in quotes, words, signs. A
 * bracket reaches to its partner, and a line is a token of its own besides.
 * What is taken out, put in twice, exchanged or changed is one of these, with
 * the comma beside it where one would be too many.
 */
#include "fuzz/mutate.h"
#include "ir/ir.h"

#include <stdlib.h>
#include <string.h>

enum kind { NUMBER, STRING, WORD, SIGN, GROUP, LINE };
enum { MAX_TOKENS = 1 << 14, MAX_DEEP = 64 };

struct token {
    enum kind kind;
    size_t begin, end;
};

struct tokens {
    const uint8_t *data;
    size_t size;
    int n, most;
    struct token *at; /* [most] */
};

struct maker {
    uint64_t seed, n_drawn;
    struct tokens *own, *other;
    struct ir_text text;
};

static uint64_t draw(struct maker *m, uint64_t n)
{
    return ir_random(m->seed, m->n_drawn++) % n;
}

/* -------------------------------------------------------------- tokens -- */

static bool is_digit(uint8_t b)
{
    return b >= '0' && b <= '9';
}

static bool is_letter(uint8_t b)
{
    return (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || b == '_' ||
           b >= 128;
}

static size_t end_of_number(const struct tokens *t, size_t at)
{
    for (at++; at < t->size; at++) {
        const uint8_t b = t->data[at];
        const bool exponent = t->data[at - 1] == 'e' || t->data[at - 1] == 'E';
        if (!is_digit(b) && b != '.' && b != 'e' && b != 'E' &&
            !(exponent && (b == '-' || b == '+')))
            break;
    }
    return at;
}

static size_t end_of_string(const struct tokens *t, size_t at)
{
    for (at++; at < t->size && t->data[at] != '"' && t->data[at] != '\n'; at++)
        at += t->data[at] == '\\' && at + 1 < t->size;
    return at < t->size ? at + 1 : at;
}

static size_t end_of_word(const struct tokens *t, size_t at)
{
    while (at < t->size && (is_letter(t->data[at]) || is_digit(t->data[at])))
        at++;
    return at;
}

static void add(struct tokens *t, enum kind kind, size_t begin, size_t end)
{
    if (t->n < t->most)
        t->at[t->n++] = (struct token){kind, begin, end};
}

/* The token at `at`; its end. */
static size_t read_token(struct tokens *t, size_t at)
{
    const uint8_t b = t->data[at];
    size_t end = at + 1;
    enum kind kind = SIGN;
    if (b == '"')
        kind = STRING, end = end_of_string(t, at);
    else if (is_digit(b) || (b == '-' && end < t->size &&
                             is_digit(t->data[end])))
        kind = NUMBER, end = end_of_number(t, at);
    else if (is_letter(b))
        kind = WORD, end = end_of_word(t, at);
    else if (b <= ' ')
        return end;
    add(t, kind, at, end);
    return end;
}

static void take_apart(struct tokens *t, const uint8_t *data, size_t size)
{
    size_t open[MAX_DEEP], line = 0;
    int deep = 0;
    const size_t most = 2 * size + 1; /* a sign is a group, a line, too */
    *t = (struct tokens){.data = data, .size = size,
                         .most = most < MAX_TOKENS ? (int)most : MAX_TOKENS};
    t->at = ir_realloc_array(NULL, (size_t)t->most, sizeof(*t->at));
    for (size_t at = 0; at < size;) {
        const uint8_t b = data[at];
        if ((b == '{' || b == '[' || b == '(') && deep < MAX_DEEP)
            open[deep++] = at;
        if ((b == '}' || b == ']' || b == ')') && deep > 0)
            add(t, GROUP, open[--deep], at + 1);
        if (b == '\n') {
            add(t, LINE, line, at + 1);
            line = at + 1;
        }
        at = read_token(t, at);
    }
}

/* ----------------------------------------------------------- mutations -- */

/* NULL for none. */
static const struct token *choose(struct maker *m, const struct tokens *t,
                                  enum kind kind)
{
    const struct token *found = NULL;
    uint64_t n = 0;
    for (int i = 0; i < t->n; i++)
        if (t->at[i].kind == kind && draw(m, ++n) == 0)
            found = &t->at[i];
    return found;
}

static void put(struct maker *m, const struct tokens *t,
                const struct token *token)
{
    ir_text_append(&m->text, t->data + token->begin,
                   token->end - token->begin);
}

static void put_number(struct maker *m, const struct token *token)
{
    static const char *const numbers[] = {
        "0", "1", "-1", "2", "3", "-2", "0.5", "-0.0", "1e38", "1e39",
        "-1e308", "1e-45", "1e999", "nan", "inf", "255", "256", "65536",
        "2147483647", "-2147483648", "4294967296", "9007199254740993",
        "9223372036854775807", "99999999999999999999", "1.0"};
    const uint64_t n = sizeof numbers / sizeof *numbers, k = draw(m, n + 8);
    char was[24] = "";
    const size_t length = token->end - token->begin;
    if (k < n) {
        ir_text_puts(&m->text, numbers[k]);
        return;
    }
    memcpy(was, m->own->data + token->begin, length < 18 ? length : 18);
    ir_text_printf(&m->text, "%lld", strtoll(was, NULL, 10) +
                   (k % 2 ? 1 : -1));
}

static void put_changed(struct maker *m, const struct token *token)
{
    static const char *const strings[] = {"\"\"", "\"zz\"", "\"0\"",
                                          "\"1\"", "null", "true", "[]",
                                          "{}", "\"1E0\"", "\"\\u0000\""};
    if (token->kind == NUMBER)
        put_number(m, token);
    else if (token->kind == STRING)
        ir_text_puts(&m->text,
                     strings[draw(m, sizeof strings / sizeof *strings)]);
    else if (token->kind == GROUP)
        ir_text_puts(&m->text, m->own->data[token->begin] == '[' ? "[]"
                               : m->own->data[token->begin] == '{' ? "{}"
                                                                   : "()");
    else if (token->kind == WORD)
        ir_text_puts(&m->text, "zz");
}

/* Takes a comma along that is before or after what is taken out. */
static void with_comma(const struct tokens *t, size_t *begin, size_t *end)
{
    size_t at = *end;
    while (at < t->size && (t->data[at] == ' ' || t->data[at] == '\n'))
        at++;
    if (at < t->size && t->data[at] == ',') {
        *end = at + 1;
        return;
    }
    at = *begin;
    while (at > 0 && (t->data[at - 1] == ' ' || t->data[at - 1] == '\n'))
        at--;
    if (at > 0 && t->data[at - 1] == ',')
        *begin = at - 1;
}

/* A string before a colon begins a member, which ends where its value does. */
static void whole_member(const struct tokens *t, const struct token *token,
                         size_t *end)
{
    size_t at = token->end;
    while (at < t->size && (t->data[at] == ' ' || t->data[at] == ':'))
        at++;
    if (token->kind != STRING || at == token->end)
        return;
    for (int i = 0; i < t->n; i++)
        if (t->at[i].begin == at && t->at[i].kind != LINE &&
            t->at[i].end > *end)
            *end = t->at[i].end;
}

static bool mutate(struct maker *m, size_t *begin, size_t *end)
{
    const enum kind kind = (enum kind)draw(m, 6);
    const struct token *token = choose(m, m->own, kind);
    const uint64_t way = draw(m, 8);
    if (!token || (kind == SIGN && draw(m, 4)))
        return false;
    *begin = token->begin;
    *end = token->end;
    const struct token *like = choose(m, m->other, kind);
    switch (way) {
    case 0:
        whole_member(m->own, token, end);
        if (kind != LINE)
            with_comma(m->own, begin, end);
        return true;
    case 1: case 2:
        whole_member(m->own, token, end);
        ir_text_append(&m->text, m->own->data + *begin, *end - *begin);
        if (kind != LINE)
            ir_text_puts(&m->text, draw(m, 2) ? "," : " ");
        ir_text_append(&m->text, m->own->data + *begin, *end - *begin);
        return true;
    case 3: case 4: case 5:
        if (like)
            put(m, m->other, like);
        return like != NULL;
    default:
        put_changed(m, token);
        return kind != LINE && kind != SIGN;
    }
}

size_t mutate_text(uint8_t *data, size_t size, size_t most,
                   struct mutate_file other, uint64_t seed)
{
    struct tokens own, from;
    struct maker m = {.seed = seed, .own = &own, .other = &from};
    size_t changed = 0, begin, end;
    ir_text_init(&m.text);
    take_apart(m.own, data, size);
    take_apart(m.other, other.data, other.size);
    for (int i = 0; i < 16 && !changed; i++) {
        m.text.length = 0;
        if (!mutate(&m, &begin, &end))
            continue;
        const size_t n = size - (end - begin) + m.text.length;
        if (n == 0 || n > most)
            continue;
        memmove(data + begin + m.text.length, data + end, size - end);
        if (m.text.length)
            memcpy(data + begin, m.text.data, m.text.length);
        changed = n;
    }
    ir_text_release(&m.text);
    free(own.at);
    free(from.at);
    return changed;
}
