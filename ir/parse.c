/* parse.c: the text form, read back. One pass, no recursion: the grammar is
 * flat. The first error ends the parse, with its line and column. */
#include "ir/ir_impl.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct parser {
    const char *at, *end;
    const char *line_start;
    uint32_t line;
    const char *file;
    struct ir_module *module;
    struct ir_diag *diag;
    const struct ir_tensor *tensors;
    int n_tensors;
    struct ir_value **values; /* by number, in order of definition */
    int n_values, capacity;
};

static struct ir_loc here(const struct parser *p)
{
    return ir_loc_line(p->file, p->line,
                       (uint32_t)(p->at - p->line_start) + 1);
}

static void skip_space(struct parser *p)
{
    for (; p->at < p->end; p->at++) {
        if (*p->at == '#')
            while (p->at < p->end && *p->at != '\n')
                p->at++;
        if (p->at == p->end)
            return;
        if (*p->at == '\n') {
            p->line++;
            p->line_start = p->at + 1;
        } else if (*p->at != ' ' && *p->at != '\t' && *p->at != '\r') {
            return;
        }
    }
}

static bool is_word_byte(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-';
}

/* What stands at the parser, for a message. */
static bool unexpected(struct parser *p, const char *wanted)
{
    if (p->at == p->end)
        return ir_error(p->diag, here(p), "the text ends where %s is expected",
                        wanted);
    int n = 0;
    while (n < 40 && p->at + n < p->end &&
           (is_word_byte(p->at[n]) || p->at[n] == '.' || p->at[n] == '+'))
        n++;
    n += n == 0;
    return ir_error(p->diag, here(p), "'%.*s' where %s is expected", n, p->at,
                    wanted);
}

static bool is_at(struct parser *p, char c)
{
    skip_space(p);
    return p->at < p->end && *p->at == c;
}

static bool accept(struct parser *p, char c)
{
    if (!is_at(p, c))
        return false;
    p->at++;
    return true;
}

static bool expect(struct parser *p, char c)
{
    const char wanted[] = {'\'', c, '\'', '\0'};
    return accept(p, c) || unexpected(p, wanted);
}

/* A bare word: letters, digits, '_' and '-', starting with a letter. */
static bool word(struct parser *p, char out[64], const char *wanted)
{
    skip_space(p);
    const char *start = p->at;
    if (start == p->end || !isalpha((unsigned char)*start))
        return unexpected(p, wanted);
    const char *s = start;
    while (s < p->end && is_word_byte(*s))
        s++;
    if (s - start >= 64)
        return ir_error(p->diag, here(p), "a word of %lld bytes (the limit is "
                        "63)", (long long)(s - start));
    memcpy(out, start, (size_t)(s - start));
    out[s - start] = '\0';
    p->at = s;
    return true;
}

/* Whether the next word is `name`; takes it if so. */
static bool accept_word(struct parser *p, const char *name)
{
    const size_t n = strlen(name);
    skip_space(p);
    if ((size_t)(p->end - p->at) < n || memcmp(p->at, name, n) != 0 ||
        (p->at + n < p->end && is_word_byte(p->at[n])))
        return false;
    p->at += n;
    return true;
}

/* The bytes of a number: up to what may follow one. */
static bool number_span(struct parser *p, const char **start)
{
    skip_space(p);
    *start = p->at;
    while (p->at < p->end &&
           (isalnum((unsigned char)*p->at) || *p->at == '.' ||
            *p->at == '-' || *p->at == '+'))
        p->at++;
    return p->at > *start;
}

static bool real(struct parser *p, double *value)
{
    const char *start;
    if (number_span(p, &start) && ir_parse_double(start, p->at, value))
        return true;
    p->at = start;
    return unexpected(p, "a number");
}

static bool real_f32(struct parser *p, float *value)
{
    const char *start;
    if (number_span(p, &start) && ir_parse_float(start, p->at, value))
        return true;
    p->at = start;
    return unexpected(p, "a number");
}

static bool integer(struct parser *p, int64_t min, int64_t max, int64_t *value)
{
    const char *start;
    if (!number_span(p, &start) || !ir_parse_int(start, p->at, value)) {
        p->at = start;
        return unexpected(p, "a whole number");
    }
    if (*value >= min && *value <= max)
        return true;
    p->at = start;
    return ir_error(p->diag, here(p), "%lld is out of range (%lld to %lld)",
                    (long long)*value, (long long)min, (long long)max);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* One escape sequence after its backslash; -1 when it is none. */
static int escape(struct parser *p)
{
    switch (*p->at++) {
    case '"': return '"';
    case '\\': return '\\';
    case 'n': return '\n';
    case 't': return '\t';
    case 'x':
        if (p->end - p->at >= 2) {
            const int high = hex_digit(p->at[0]), low = hex_digit(p->at[1]);
            p->at += 2;
            /* A zero would end the C string early. */
            return high < 0 || low < 0 || high + low == 0 ? -1
                                                           : high * 16 + low;
        }
    }
    return -1;
}

/* A quoted string, in the module's arena. */
static char *quoted(struct parser *p, const char *wanted)
{
    if (!is_at(p, '"')) {
        unexpected(p, wanted);
        return NULL;
    }
    const struct ir_loc start = here(p);
    const char *close = ++p->at;
    while (close < p->end && *close != '"' && *close != '\n')
        close += *close == '\\' && close + 1 < p->end ? 2 : 1;
    if (close >= p->end || *close != '"') {
        ir_error(p->diag, start, "the string is not closed on its line");
        return NULL;
    }
    char *s = ir_alloc(&p->module->arena, (size_t)(close - p->at) + 1);
    size_t n = 0;
    while (p->at < close) {
        int c = (unsigned char)*p->at++;
        if (c == '\\')
            c = escape(p);
        if (c <= 0 || p->at > close) {
            ir_error(p->diag, start, "a bad escape or a NUL in the string");
            return NULL;
        }
        s[n++] = (char)c;
    }
    p->at++;
    return s;
}

/* ------------------------------------------------------- types and tensors */

static bool type(struct parser *p, struct ir_type *t, bool dims_known)
{
    char name[64];
    skip_space(p);
    const struct ir_loc start = here(p);
    *t = (struct ir_type){0};
    if (!word(p, name, "a dtype"))
        return false;
    if (!ir_dtype_parse(name, &t->dtype))
        return ir_error(p->diag, start, "no dtype is named '%s'", name);
    if (!accept(p, '['))
        return true;
    do {
        if (t->rank == IR_MAX_RANK)
            return ir_error(p->diag, start, "a rank above %d", IR_MAX_RANK);
        int64_t *dim = &t->dim[t->rank++];
        if (!dims_known && accept(p, '?'))
            *dim = -1;
        else if (!integer(p, 0, (int64_t)1 << 40, dim))
            return false;
    } while (accept(p, ','));
    return expect(p, ']');
}

static bool element(struct parser *p, enum ir_dtype dtype, uint8_t *at)
{
    static const struct {
        int64_t min, max;
    } range[IR_N_DTYPES] = {
        [IR_U8] = {0, UINT8_MAX}, [IR_U16] = {0, UINT16_MAX},
        [IR_U32] = {0, UINT32_MAX}, [IR_I32] = {INT32_MIN, INT32_MAX},
        [IR_I64] = {INT64_MIN, INT64_MAX}, [IR_I8] = {INT8_MIN, INT8_MAX}};
    double f64 = 0;
    float f32 = 0;
    int64_t v;
    if (dtype == IR_F64) {
        const bool ok = real(p, &f64);
        memcpy(at, &f64, 8);
        return ok;
    }
    if (dtype == IR_F32) {
        const bool ok = real_f32(p, &f32);
        memcpy(at, &f32, 4);
        return ok;
    }
    if (dtype == IR_BF16) {
        const bool ok = real_f32(p, &f32);
        const uint16_t bf16 = ir_to_bf16(f32);
        memcpy(at, &bf16, 2);
        return ok;
    }
    if (!integer(p, range[dtype].min, range[dtype].max, &v))
        return false;
    memcpy(at, &v, ir_dtype_bytes(dtype)); /* little-endian hosts only */
    return true;
}

/* How many elements there are; false when their bytes are past counting. */
static bool count_elements(const struct ir_type *t, size_t *n)
{
    const size_t size = ir_dtype_bytes(t->dtype);
    size_t bytes = size;
    for (int i = 0; i < t->rank; i++)
        if (__builtin_mul_overflow(bytes, (size_t)t->dim[i], &bytes))
            return false;
    *n = bytes / size;
    return true;
}

/* dtype[dims](elements). Each element is at least a byte and a space of text,
 * so a count above what is left is refused before memory is taken. */
static bool inline_tensor(struct parser *p, struct ir_tensor *tensor)
{
    skip_space(p);
    const struct ir_loc start = here(p);
    if (!type(p, &tensor->type, true) || !expect(p, '('))
        return false;
    size_t n;
    const size_t left = (size_t)(p->end - p->at);
    if (!count_elements(&tensor->type, &n) || n > left)
        return ir_error(p->diag, start, "a tensor of more elements than the "
                        "%zu bytes of text that are left", left);
    const size_t bytes = ir_dtype_bytes(tensor->type.dtype);
    uint8_t *data = ir_alloc_array(&p->module->arena, n, bytes);
    for (size_t i = 0; i < n; i++)
        if (!element(p, tensor->type.dtype, data + i * bytes))
            return false;
    tensor->data = data;
    return expect(p, ')');
}

/* @N:type, element of the table that came with the text. */
static bool numbered_tensor(struct parser *p, struct ir_tensor *tensor)
{
    struct ir_type t;
    int64_t number;
    const struct ir_loc start = here(p);
    if (!integer(p, 0, INT32_MAX, &number))
        return false;
    if (number >= p->n_tensors)
        return ir_error(p->diag, start, "tensor %lld is out of range (there "
                        "are %d)", (long long)number, p->n_tensors);
    *tensor = p->tensors[number];
    if (!accept(p, ':'))
        return true;
    if (!type(p, &t, true))
        return false;
    return ir_type_equal(&t, &tensor->type) ||
           ir_type_error(p->diag, start, "tensor", (int)number, &t,
                         &tensor->type);
}

static bool tensor_attr(struct parser *p, struct ir_attr *a)
{
    struct ir_tensor *tensor =
        ir_alloc(&p->module->arena, sizeof(*tensor));
    a->t = tensor;
    return accept(p, '@') ? numbered_tensor(p, tensor)
                          : inline_tensor(p, tensor);
}

/* ------------------------------------------------------------------- lines */

static bool fact(struct parser *p)
{
    const char *key = quoted(p, "a fact's key");
    const char *value = key ? quoted(p, "a fact's value") : NULL;
    if (value)
        ir_add_fact(p->module, key, value);
    return value;
}

/* Quoted strings, as many as follow; malloc'd. */
static bool names(struct parser *p, const char ***list, int *n)
{
    int capacity = 0;
    *list = NULL;
    *n = 0;
    while (is_at(p, '"')) {
        if (*n == capacity) {
            capacity = capacity * 2 + 8;
            *list = ir_realloc_array(*list, (size_t)capacity, sizeof(**list));
        }
        const char *s = quoted(p, "a name");
        if (!s) {
            free(*list);
            return false;
        }
        (*list)[(*n)++] = s;
    }
    return true;
}

static bool column(struct parser *p)
{
    char kind[64];
    const char *name = quoted(p, "a column's name"), **categories;
    int64_t elements = 1;
    int n;
    if (!name)
        return false;
    if (p->module->n_columns == IR_MAX_COLUMNS)
        return ir_error(p->diag, here(p), "more than %d columns",
                        IR_MAX_COLUMNS);
    const struct ir_loc start = here(p);
    if (!word(p, kind, "a column's kind"))
        return false;
    if (!strcmp(kind, "number")) {
        ir_add_column(p->module, name, IR_NUMBER, 1);
        return true;
    }
    if (!strcmp(kind, "tensor")) {
        if (!integer(p, 1, IR_MAX_ELEMENTS, &elements))
            return false;
        ir_add_column(p->module, name, IR_TENSOR_COLUMN, elements);
        return true;
    }
    if (strcmp(kind, "category") != 0)
        return ir_error(p->diag, start, "no kind of column is named '%s'",
                        kind);
    if (!names(p, &categories, &n))
        return false;
    struct ir_column *c = ir_add_column(p->module, name, IR_CATEGORY, 1);
    ir_set_categories(p->module, c, n, categories);
    free(categories);
    return true;
}

/* %N, a number that was defined. */
static bool value(struct parser *p, struct ir_value **v)
{
    int64_t id;
    if (!expect(p, '%'))
        return false;
    const struct ir_loc start = here(p);
    if (!integer(p, 0, INT32_MAX, &id))
        return false;
    if (id >= p->n_values)
        return ir_error(p->diag, start, "%%%lld is not defined",
                        (long long)id);
    *v = p->values[id];
    return true;
}

static bool output(struct parser *p)
{
    struct ir_value *v;
    const char *name = quoted(p, "an output's name"), **labels;
    int n;
    if (!name || !value(p, &v))
        return false;
    struct ir_output *o = ir_add_output(p->module, name, v);
    if (!accept_word(p, "labels"))
        return true;
    if (!names(p, &labels, &n))
        return false;
    ir_set_labels(p->module, o, n, labels);
    free(labels);
    return true;
}

static bool attr(struct parser *p, enum ir_op_kind kind, struct ir_attr *a)
{
    char name[64];
    struct ir_schema_entry entry;
    skip_space(p);
    const struct ir_loc start = here(p);
    if (!word(p, name, "an attribute's name"))
        return false;
    if (!ir_schema_find(kind, name, &entry))
        return ir_error(p->diag, start, "%s has no attribute named '%s'",
                        ir_op_table[kind].name, name);
    *a = (struct ir_attr){.name = ir_strdup(&p->module->arena, name),
                          .kind = entry.kind};
    if (!expect(p, '='))
        return false;
    switch (entry.kind) {
    case IR_INT: return integer(p, INT64_MIN, INT64_MAX, &a->i);
    case IR_FLOAT: return real(p, &a->f);
    case IR_STRING: return (a->s = quoted(p, "a string"));
    default: return tensor_attr(p, a);
    }
}

enum { max_attrs = 64 };

static bool attrs(struct parser *p, enum ir_op_kind kind,
                  struct ir_attr a[max_attrs], int *n)
{
    *n = 0;
    if (!accept(p, '{'))
        return true;
    do {
        if (*n == max_attrs)
            return ir_error(p->diag, here(p), "more than %d attributes",
                            max_attrs);
        if (!attr(p, kind, &a[*n]))
            return false;
        (*n)++;
    } while (accept(p, ','));
    return expect(p, '}');
}

/* `(%a, %b)`, or nothing; malloc'd. */
static bool operands(struct parser *p, struct ir_value ***list, int *n)
{
    int capacity = 0;
    *list = NULL;
    *n = 0;
    if (!accept(p, '('))
        return true;
    do {
        if (*n == IR_MAX_OPERANDS)
            return ir_error(p->diag, here(p), "more than %d operands",
                            IR_MAX_OPERANDS);
        if (*n == capacity) {
            capacity = capacity * 2 + 4;
            *list = ir_realloc_array(*list, (size_t)capacity, sizeof(**list));
        }
        if (!value(p, &(*list)[*n]))
            return false;
        (*n)++;
    } while (accept(p, ','));
    return expect(p, ')');
}

/* `%0, %1 =`: the next numbers, in order. Returns how many, 0 on an error. */
static int result_names(struct parser *p)
{
    int n = 0;
    do {
        int64_t id;
        skip_space(p);
        if (!expect(p, '%'))
            return 0;
        const struct ir_loc start = here(p);
        if (!integer(p, 0, INT32_MAX, &id))
            return 0;
        if (id != p->n_values + n) {
            ir_error(p->diag, start, "%%%lld is defined where %%%d is next",
                     (long long)id, p->n_values + n);
            return 0;
        }
        n++;
    } while (accept(p, ','));
    return expect(p, '=') ? n : 0;
}

static bool define(struct parser *p, struct ir_op *op)
{
    for (int i = 0; i < op->n_results; i++) {
        struct ir_type t;
        if (!expect(p, i ? ',' : ':'))
            return false;
        skip_space(p);
        const struct ir_loc start = here(p);
        if (!type(p, &t, false))
            return false;
        if (!ir_type_equal(&t, &op->result[i].type))
            return ir_type_error(p->diag, start, "result", i, &t,
                                 &op->result[i].type);
        if (p->n_values == p->capacity) {
            p->capacity = p->capacity * 2 + 64;
            p->values = ir_realloc_array(p->values, (size_t)p->capacity,
                                         sizeof(*p->values));
        }
        p->values[p->n_values++] = &op->result[i];
    }
    return true;
}

/* Messages that inference and the schema give carry no place: they get the
 * op's. */
static bool relocate(struct parser *p, struct ir_loc start,
                     const struct ir_diag *said)
{
    for (unsigned i = 0; i < said->n_messages; i++)
        ir_error(p->diag, start, "%s", said->message[i]);
    return false;
}

static bool op_line(struct parser *p)
{
    char name[64];
    struct ir_attr a[max_attrs];
    struct ir_value **list = NULL;
    struct ir_diag said;
    int n_operands, n_attrs;
    const struct ir_loc start = here(p);
    const int n_results = result_names(p);
    if (n_results == 0 || !word(p, name, "an op"))
        return false;
    const enum ir_op_kind kind = ir_op_find(name);
    if (kind == IR_N_OPS)
        return ir_error(p->diag, start, "no op is named '%s'", name);
    if (n_results != ir_op_table[kind].n_results)
        return ir_error(p->diag, start, "%s: %d results are named (it has %d)",
                        name, n_results, ir_op_table[kind].n_results);
    if (!operands(p, &list, &n_operands) || !attrs(p, kind, a, &n_attrs)) {
        free(list);
        return false;
    }
    ir_diag_init(&said);
    struct ir_op *op =
        ir_add_op(p->module, kind, n_operands, list, n_attrs, a, &said);
    if (!op)
        relocate(p, start, &said);
    ir_diag_release(&said);
    free(list);
    if (!op)
        return false;
    op->loc = start;
    op->loc.file = ir_strdup(&p->module->arena, p->file);
    return define(p, op);
}

static bool body_line(struct parser *p)
{
    if (is_at(p, '%'))
        return op_line(p);
    if (accept_word(p, "fact"))
        return fact(p);
    if (accept_word(p, "column"))
        return column(p);
    if (accept_word(p, "output"))
        return output(p);
    return unexpected(p, "fact, column, output, an op or '}'");
}

static bool module(struct parser *p)
{
    int64_t version;
    if (!accept_word(p, "treenail-ir"))
        return unexpected(p, "'treenail-ir 1'");
    skip_space(p);
    const struct ir_loc start = here(p);
    if (!integer(p, 0, INT64_MAX, &version))
        return false;
    if (version != 1)
        return ir_error(p->diag, start, "format version %lld (this is version "
                        "1)", (long long)version);
    if (!accept_word(p, "module"))
        return unexpected(p, "module");
    const char *name = quoted(p, "the module's name");
    if (!name || !expect(p, '{'))
        return false;
    p->module->name = name;
    while (!accept(p, '}'))
        if (!body_line(p))
            return false;
    skip_space(p);
    return p->at == p->end || unexpected(p, "the end of the text");
}

struct ir_module *ir_parse(const char *text, size_t n, const char *file,
                           const struct ir_tensor *tensors, int n_tensors,
                           struct ir_diag *diag)
{
    struct parser p = {
        .at = text, .end = text + n, .line_start = text, .line = 1,
        .file = file, .module = ir_module_new("module"), .diag = diag,
        .tensors = tensors, .n_tensors = n_tensors};
    struct ir_diag said;
    bool ok = module(&p);
    free(p.values);
    if (ok) {
        ir_diag_init(&said);
        ok = ir_verify(p.module, &said);
        ir_diag_add(diag, &said, file);
        ir_diag_release(&said);
    }
    if (!ok) {
        ir_module_free(p.module);
        return NULL;
    }
    return p.module;
}
