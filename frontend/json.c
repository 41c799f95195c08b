/* json.c: values of a JSON or UBJSON document, whatever its syntax: kinds,
 * fields, numbers, strings, arrays of numbers, and where each stands.
 *
 * The syntax is checked when a document is opened (json_text.c, ubjson.c), so
 * that all else here fails only where a value is not what the format wants.
 */
#include "frontend/internal.h"

#include <stdlib.h>
#include <string.h>

/* Which of the two it is: JSON goes on with a blank, a quote or a value. */
static bool is_binary(const struct fe_json *json)
{
    if (json->end - json->data < 2 || (*json->data != '{' &&
                                       *json->data != '['))
        return false;
    const char *markers = *json->data == '{' ? "iUIlL#" : "iUIlLdDSZTF#$";
    return json->data[1] && strchr(markers, json->data[1]) != NULL;
}

static void init(struct fe_json *json, const struct ir_file *file,
                 const char *path, int max_depth, struct ir_diag *diag)
{
    /* An empty file may have no address; pointer arithmetic wants one. */
    const uint8_t *data =
        file->size ? file->data : (const uint8_t *)"";
    *json = (struct fe_json){.path = path, .diag = diag, .data = data,
                             .end = data + file->size, .counted = data,
                             .line_begin = data, .line = 1,
                             .max_depth = max_depth};
    json->binary = is_binary(json);
}

bool fe_json_open(struct fe_json *json, const struct ir_file *file,
                  const char *path, struct ir_diag *diag)
{
    init(json, file, path, FE_JSON_DEPTH, diag);
    return json->binary ? fe_ubjson_check(json) : fe_text_check(json);
}

bool fe_json_open_deep(struct fe_json *json, const struct ir_file *file,
                       const char *path, struct ir_diag *diag)
{
    init(json, file, path, FE_JSON_DEEP, diag);
    json->binary = false;
    return fe_text_check(json);
}

struct fe_value fe_json_root(const struct fe_json *json)
{
    const uint8_t *p = json->data;
    if (json->binary)
        return (struct fe_value){.at = p + 1, .type = *p};
    while (strchr(" \n\r\t", *p))
        p++;
    return (struct fe_value){.at = p, .type = *p};
}

enum fe_kind fe_json_kind(const struct fe_json *json,
                          const struct fe_value *value)
{
    if (!value->at)
        return FE_ABSENT;
    switch (value->type) {
    case '{':
        return FE_OBJECT;
    case '[':
        return FE_ARRAY;
    case 'T':
    case 'F':
    case 't':
    case 'f':
        return FE_BOOL;
    case 'n':
    case 'Z':
        return FE_NULL;
    case '"':
        return FE_STRING;
    case 'S':
        return json->binary ? FE_STRING : FE_NUMBER;
    default:
        return FE_NUMBER;
    }
}

/* ------------------------------------------------------------ messages -- */

struct ir_loc fe_json_loc(struct fe_json *json, const struct fe_value *value)
{
    if (!value->at)
        return ir_loc_file(json->path);
    if (json->binary)
        return ir_loc_offset(json->path, (uint64_t)(value->at - json->data));
    if (value->at < json->counted) {
        json->counted = json->line_begin = json->data;
        json->line = 1;
    }
    const uint8_t *p = json->counted;
    while ((p = memchr(p, '\n', (size_t)(value->at - p)))) {
        json->line_begin = ++p;
        json->line++;
    }
    json->counted = value->at;
    const uint64_t column = (uint64_t)(value->at - json->line_begin) + 1;
    return ir_loc_line(json->path, json->line,
                       column < UINT32_MAX ? (uint32_t)column : 0);
}

bool fe_json_error(struct fe_json *json, const struct fe_value *value,
                   const char *fmt, ...)
{
    char said[600];
    va_list args;
    va_start(args, fmt);
    vsnprintf(said, sizeof said, fmt, args);
    va_end(args);
    return ir_error(json->diag, fe_json_loc(json, value), "%s%s",
                    json->context, said);
}

static bool wrong_kind(struct fe_json *json, const struct fe_value *value,
                       const char *name, const char *wanted)
{
    static const char *const kinds[] = {
        [FE_NULL] = "null",       [FE_BOOL] = "true or false",
        [FE_NUMBER] = "a number", [FE_STRING] = "a string",
        [FE_ARRAY] = "an array",  [FE_OBJECT] = "an object"};
    const enum fe_kind kind = fe_json_kind(json, value);
    if (kind == FE_ABSENT)
        return fe_json_error(json, value, "%s is missing", name);
    return fe_json_error(json, value, "%s is %s, not %s", name, kinds[kind],
                         wanted);
}

/* ---------------------------------------------------------------- walk -- */

static void begin(const struct fe_json *json, const struct fe_value *value,
                  struct fe_walk *walk)
{
    *walk = (struct fe_walk){.json = json, .left = -1, .next = value->at + 1,
                             .object = value->type == '{'};
    if (json->binary)
        fe_ubjson_begin(value, walk);
}

bool fe_json_begin(struct fe_json *json, const struct fe_value *array,
                   const char *name, struct fe_walk *walk)
{
    if (fe_json_kind(json, array) != FE_ARRAY)
        return wrong_kind(json, array, name, "an array");
    begin(json, array, walk);
    return true;
}

bool fe_json_begin_object(struct fe_json *json, const struct fe_value *object,
                          const char *name, struct fe_walk *walk)
{
    if (fe_json_kind(json, object) != FE_OBJECT)
        return wrong_kind(json, object, name, "an object");
    begin(json, object, walk);
    return true;
}

bool fe_json_next(struct fe_walk *walk, struct fe_value *value)
{
    return walk->json->binary ? fe_ubjson_next(walk, value)
                              : fe_text_next(walk, value);
}

void fe_json_leave(struct fe_walk *outer, const struct fe_walk *inner)
{
    outer->next = inner->next + 1;
    outer->unread = false;
}

struct fe_value fe_json_element(const struct fe_json *json,
                                const struct fe_value *array, int64_t i)
{
    struct fe_walk walk;
    struct fe_value value = *array;
    begin(json, array, &walk);
    while (i-- >= 0 && fe_json_next(&walk, &value))
        ;
    return value;
}

bool fe_json_put(struct fe_json *json, const struct fe_walk *walk,
                 const struct fe_value *value, const char *name, int n,
                 const char *const *keys, struct fe_value *fields, int *k)
{
    *k = 0;
    while (*k < n && !fe_json_is(json, &walk->key, keys[*k]))
        ++*k;
    if (*k < n && fields[*k].at)
        return fe_json_error(json, &walk->key, "%s holds the key '%s' twice",
                             name, keys[*k]);
    if (*k < n)
        fields[*k] = *value;
    return true;
}

bool fe_json_fields(struct fe_json *json, const struct fe_value *object,
                    const char *name, int n, const char *const *keys,
                    struct fe_value *fields)
{
    struct fe_walk walk;
    struct fe_value value;
    memset(fields, 0, (size_t)n * sizeof *fields);
    if (!fe_json_begin_object(json, object, name, &walk))
        return false;
    int k;
    while (fe_json_next(&walk, &value))
        if (!fe_json_put(json, &walk, &value, name, n, keys, fields, &k))
            return false;
    return true;
}

/* ------------------------------------------------------------- strings -- */

static int hex_digit(uint8_t b)
{
    return b <= '9' ? b - '0' : (b | 0x20) - 'a' + 10;
}

static uint32_t hex_unit(const uint8_t *p)
{
    uint32_t unit = 0;
    for (int i = 0; i < 4; i++)
        unit = unit << 4 | (uint32_t)hex_digit(p[i]);
    return unit;
}

static size_t put_utf8(uint32_t c, char *to)
{
    if (c < 0x80) {
        to[0] = (char)c;
        return 1;
    }
    const size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n; i-- > 1; c >>= 6)
        to[i] = (char)(0x80 | (c & 0x3f));
    to[0] = (char)((0xf0 << (4 - n)) & 0xff) | (char)c;
    return n;
}

/* The escape at *p, a backslash, as UTF-8; half of a surrogate pair alone
 * becomes U+FFFD. */
static size_t take_escape(const uint8_t **p, char to[4])
{
    static const char from[] = "bfnrt", made[] = "\b\f\n\r\t";
    const uint8_t c = (*p)[1];
    if (c != 'u') {
        const char *at = strchr(from, c);
        *p += 2;
        to[0] = at ? made[at - from] : (char)c;
        return 1;
    }
    uint32_t unit = hex_unit(*p + 2);
    *p += 6;
    if (unit >= 0xd800 && unit < 0xdc00 && (*p)[0] == '\\' &&
        (*p)[1] == 'u') {
        const uint32_t low = hex_unit(*p + 2);
        if (low >= 0xdc00 && low < 0xe000) {
            *p += 6;
            return put_utf8(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00),
                            to);
        }
    }
    if (unit >= 0xd800 && unit < 0xe000)
        unit = 0xfffd;
    return put_utf8(unit, to);
}

/* The next bytes of a string's content, at most 4; 0 at its end. */
struct letters {
    const uint8_t *p, *end; /* end: of UBJSON, else NULL */
};

static struct letters letters_of(const struct fe_json *json,
                                 const struct fe_value *string)
{
    struct letters l = {.p = string->at + 1};
    if (json->binary) {
        const size_t n = fe_ubjson_string(string, &l.p);
        l.end = l.p + n;
    }
    return l;
}

static size_t next_letters(struct letters *l, char to[4])
{
    if (l->end ? l->p == l->end : *l->p == '"')
        return 0;
    if (!l->end && *l->p == '\\')
        return take_escape(&l->p, to);
    to[0] = (char)*l->p++;
    return 1;
}

bool fe_json_is(const struct fe_json *json, const struct fe_value *value,
                const char *text)
{
    if (fe_json_kind(json, value) != FE_STRING)
        return false;
    struct letters l = letters_of(json, value);
    char bytes[4];
    size_t n;
    while ((n = next_letters(&l, bytes))) {
        if (strncmp(text, bytes, n) != 0 || !bytes[0])
            return false;
        text += n;
    }
    return *text == '\0';
}

bool fe_json_string(struct fe_json *json, const struct fe_value *value,
                    const char *name, struct ir_arena *arena, char **s)
{
    if (fe_json_kind(json, value) != FE_STRING)
        return wrong_kind(json, value, name, "a string");
    struct letters l = letters_of(json, value);
    const uint8_t *end = l.end ? l.end : fe_text_skip(value->at, json->end);
    /* No escape is shorter than what it stands for. */
    char *to = *s = ir_alloc(arena, (size_t)(end - l.p) + 5);
    size_t n;
    while ((n = next_letters(&l, to))) {
        if (!*to)
            return fe_json_error(json, value, "%s holds a NUL character",
                                 name);
        to += n;
    }
    *to = '\0';
    return true;
}

/* ------------------------------------------------------------- numbers -- */

/* The text of a number, in JSON. */
static const char *text_of(const struct fe_json *json,
                           const struct fe_value *value, const char **end)
{
    *end = (const char *)fe_text_skip(value->at, json->end);
    return (const char *)value->at;
}

static bool to_int(const struct fe_json *json, const struct fe_value *value,
                   int64_t *i)
{
    if (json->binary) {
        bool is_int;
        fe_ubjson_number(value, &is_int, i);
        return is_int;
    }
    const char *end, *text = text_of(json, value, &end);
    return ir_parse_int(text, end, i);
}

static double to_double(const struct fe_json *json,
                        const struct fe_value *value)
{
    double d = 0;
    if (json->binary) {
        bool is_int;
        int64_t i;
        return fe_ubjson_number(value, &is_int, &i);
    }
    const char *end, *text = text_of(json, value, &end);
    ir_parse_double(text, end, &d);
    return d;
}

/* Rounded once: from the text, or from 64 bits. */
static float to_float(const struct fe_json *json, const struct fe_value *value)
{
    float f = 0;
    if (json->binary) {
        bool is_int;
        int64_t i;
        const double d = fe_ubjson_number(value, &is_int, &i);
        return is_int ? (float)i : (float)d;
    }
    const char *end, *text = text_of(json, value, &end);
    ir_parse_float(text, end, &f);
    return f;
}

static bool not_whole(struct fe_json *json, const struct fe_value *value,
                      const char *name)
{
    if (json->binary)
        return fe_json_error(json, value, "%s is %g, not a whole number", name,
                             to_double(json, value));
    const char *end, *text = text_of(json, value, &end);
    const int n = end - text < 60 ? (int)(end - text) : 60;
    return fe_json_error(json, value,
                         "%s is %.*s, not a whole number of 64 bits", name, n,
                         text);
}

bool fe_json_int(struct fe_json *json, const struct fe_value *value,
                 const char *name, int64_t low, int64_t high, int64_t *i)
{
    if (fe_json_kind(json, value) != FE_NUMBER)
        return wrong_kind(json, value, name, "a number");
    if (!to_int(json, value, i))
        return not_whole(json, value, name);
    return (*i >= low && *i <= high) ||
           fe_json_error(json, value, "%s %lld is out of range (%lld to %lld)",
                         name, (long long)*i, (long long)low, (long long)high);
}

bool fe_json_double(struct fe_json *json, const struct fe_value *value,
                    const char *name, double *d)
{
    if (fe_json_kind(json, value) != FE_NUMBER)
        return wrong_kind(json, value, name, "a number");
    *d = to_double(json, value);
    return true;
}

bool fe_json_float(struct fe_json *json, const struct fe_value *value,
                   const char *name, float *f)
{
    if (fe_json_kind(json, value) != FE_NUMBER)
        return wrong_kind(json, value, name, "a number");
    *f = to_float(json, value);
    return true;
}

bool fe_json_bool(struct fe_json *json, const struct fe_value *value,
                  const char *name, bool *b)
{
    if (fe_json_kind(json, value) != FE_BOOL)
        return wrong_kind(json, value, name, "true or false");
    *b = (value->type | 0x20) == 't';
    return true;
}

/* -------------------------------------------------------------- arrays -- */

enum element { INTS, DOUBLES, FLOATS };

static void *room(struct fe_numbers *numbers, size_t size)
{
    const size_t needed = ((size_t)numbers->n + 1) * size;
    if (needed > numbers->bytes) {
        numbers->bytes = needed * 2 + 64;
        numbers->data = ir_realloc_array(numbers->data, numbers->bytes, 1);
    }
    return (uint8_t *)numbers->data + (size_t)numbers->n++ * size;
}

static bool wrong_element(struct fe_json *json, const struct fe_value *value,
                          const char *name, int64_t i, enum element element)
{
    char place[120];
    snprintf(place, sizeof place, "%s[%lld]", name, (long long)i);
    if (element == INTS && fe_json_kind(json, value) == FE_NUMBER)
        return not_whole(json, value, place);
    return wrong_kind(json, value, place, "a number");
}

static bool take_element(const struct fe_json *json,
                         const struct fe_value *value, enum element element,
                         struct fe_numbers *numbers)
{
    const enum fe_kind kind = fe_json_kind(json, value);
    if (element == INTS) {
        int64_t i = (value->type | 0x20) == 't';
        if (kind != FE_BOOL && !(kind == FE_NUMBER && to_int(json, value, &i)))
            return false;
        *(int64_t *)room(numbers, sizeof i) = i;
        return true;
    }
    if (kind != FE_NUMBER)
        return false;
    if (element == DOUBLES)
        *(double *)room(numbers, sizeof(double)) = to_double(json, value);
    else
        *(float *)room(numbers, sizeof(float)) = to_float(json, value);
    return true;
}

static bool take_array(struct fe_json *json, const struct fe_value *array,
                       const char *name, enum element element,
                       struct fe_numbers *numbers)
{
    struct fe_walk walk;
    struct fe_value value;
    numbers->n = 0;
    if (!fe_json_begin(json, array, name, &walk))
        return false;
    while (fe_json_next(&walk, &value))
        if (!take_element(json, &value, element, numbers))
            return wrong_element(json, &value, name, numbers->n, element);
    return true;
}

bool fe_json_ints(struct fe_json *json, const struct fe_value *array,
                  const char *name, struct fe_numbers *numbers)
{
    return take_array(json, array, name, INTS, numbers);
}

bool fe_json_doubles(struct fe_json *json, const struct fe_value *array,
                     const char *name, struct fe_numbers *numbers)
{
    return take_array(json, array, name, DOUBLES, numbers);
}

bool fe_json_floats(struct fe_json *json, const struct fe_value *array,
                    const char *name, struct fe_numbers *numbers)
{
    return take_array(json, array, name, FLOATS, numbers);
}

bool fe_json_length(struct fe_json *json, const struct fe_value *array,
                    const char *name, int64_t *n)
{
    struct fe_walk walk;
    struct fe_value value;
    if (!fe_json_begin(json, array, name, &walk))
        return false;
    *n = 0;
    while (fe_json_next(&walk, &value))
        ++*n;
    return true;
}
