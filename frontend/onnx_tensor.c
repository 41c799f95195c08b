/* onnx_tensor.c: TensorProto -> a constant. Numbers become doubles, whole ones
 * also int64. Half precision is widened to FLOAT as it is read. Complex numbers
 * and others of fewer bits are refused by name. A tensor is as large as its
 * data: nothing is believed of its dims before they were compared. */
#include "frontend/onnx.h"

#include <math.h>
#include <string.h>

static const char *const type_names[] = {
    "UNDEFINED", "FLOAT", "UINT8", "INT8", "UINT16", "INT16", "INT32", "INT64",
    "STRING", "BOOL", "FLOAT16", "DOUBLE", "UINT32", "UINT64", "COMPLEX64",
    "COMPLEX128", "BFLOAT16", "FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2",
    "FLOAT8E5M2FNUZ", "UINT4", "INT4", "FLOAT4E2M1", "FLOAT8E8M0", "UINT2",
    "INT2", "FLOAT6E2M3", "FLOAT6E3M2"};
enum { N_TYPE_NAMES = sizeof type_names / sizeof *type_names };

const char *fe_onnx_type_name(int type)
{
    return type >= 0 && type < N_TYPE_NAMES ? type_names[type] : "unknown";
}

const char *fe_onnx_type_text(struct fe_onnx *g, int64_t type)
{
    return type >= 0 && type < N_TYPE_NAMES
               ? type_names[type]
               : ir_sprintf(&g->scratch, "%lld", (long long)type);
}

static bool is_half(int type)
{
    return type == FE_ONNX_FLOAT16 || type == FE_ONNX_BFLOAT16;
}

int fe_onnx_widened(int type)
{
    return is_half(type) ? FE_ONNX_FLOAT : type;
}

bool fe_onnx_is_whole(int type)
{
    return type == FE_ONNX_INT64 || type == FE_ONNX_UINT64 ||
           fe_onnx_bits(type) < 64;
}

int fe_onnx_bits(int type)
{
    switch (type) {
    case FE_ONNX_UINT4:
    case FE_ONNX_INT4: return 4;
    case FE_ONNX_BOOL:
    case FE_ONNX_UINT8:
    case FE_ONNX_INT8: return 8;
    case FE_ONNX_UINT16:
    case FE_ONNX_INT16: return 16;
    case FE_ONNX_UINT32:
    case FE_ONNX_INT32: return 32;
    default: return 64;
    }
}

bool fe_onnx_is_signed(int type)
{
    return type == FE_ONNX_INT4 || type == FE_ONNX_INT8 ||
           type == FE_ONNX_INT16;
}

/* Bits of an element of raw_data; 0: not read. Of 4 bits two are in a byte, the
 * first in its lower half. */
static size_t raw_bits(int type)
{
    if (type == FE_ONNX_FLOAT)
        return 32;
    if (is_half(type))
        return 16;
    return type == FE_ONNX_DOUBLE || fe_onnx_is_whole(type)
               ? (size_t)fe_onnx_bits(type) : 0;
}

static bool is_nibble(int type)
{
    return raw_bits(type) == 4;
}

struct fe_onnx_tensor *fe_onnx_new_tensor(struct fe_onnx *g, int type,
                                          int rank, const int64_t *dim)
{
    struct fe_onnx_tensor *t = ir_alloc(&g->scratch, sizeof *t);
    *t = (struct fe_onnx_tensor){.type = type, .rank = rank, .n = 1};
    for (int i = 0; i < rank; i++) {
        t->dim[i] = dim[i];
        t->n *= dim[i];
    }
    const size_t n = (size_t)t->n;
    if (type == FE_ONNX_STRING) {
        t->text = ir_alloc_array(&g->scratch, n, sizeof *t->text);
        return t;
    }
    t->real = ir_alloc_array(&g->scratch, n, sizeof *t->real);
    if (fe_onnx_is_whole(type))
        t->whole = ir_alloc_array(&g->scratch, n, sizeof *t->whole);
    return t;
}

const char *fe_onnx_string(struct fe_onnx *g, const ProtobufCBinaryData *s,
                           const char *what)
{
    if (s->len && memchr(s->data, 0, s->len)) {
        fe_onnx_error(g, "%s: a string holds a NUL character", what);
        return NULL;
    }
    if (s->len > IR_MAX_NAME) {
        fe_onnx_error(g, "%s: a string of %zu bytes (the limit is %d)", what,
                      s->len, IR_MAX_NAME);
        return NULL;
    }
    return s->len ? ir_strndup(&g->scratch, (const char *)s->data, s->len)
                  : "";
}

/* ---------------------------------------------------------------- shape -- */

static bool read_dims(struct fe_onnx *g, const Onnx__TensorProto *p,
                      const char *what, int64_t *n)
{
    if (p->n_dims > IR_MAX_RANK)
        return fe_onnx_error(g, "%s has %zu dims (the limit is %d)", what,
                             p->n_dims, IR_MAX_RANK);
    int64_t all = 1; /* without those that are 0, as strides are */
    *n = 1;
    for (size_t i = 0; i < p->n_dims; i++) {
        if (p->dims[i] < 0)
            return fe_onnx_error(g, "%s: dim %zu is %lld", what, i,
                                 (long long)p->dims[i]);
        if (p->dims[i] && all > IR_MAX_NODES / p->dims[i])
            return fe_onnx_error(g, "%s: its dims multiply to more than %d "
                                 "elements", what, IR_MAX_NODES);
        all *= p->dims[i] ? p->dims[i] : 1;
        *n *= p->dims[i];
    }
    return true;
}

/* How many elements the file has of it; of 4 bits as many as the bytes, or the
 * numbers that stand for these, hold. */
static bool count_data(struct fe_onnx *g, const Onnx__TensorProto *p,
                       const char *what, size_t *n)
{
    const size_t each =
        is_nibble(p->data_type) ? 1 : raw_bits(p->data_type) / 8;
    if (p->has_raw_data && p->data_type != FE_ONNX_STRING) {
        *n = p->raw_data.len / each * (is_nibble(p->data_type) ? 2 : 1);
        return p->raw_data.len % each == 0 ||
               fe_onnx_error(g, "%s: raw_data has %zu bytes, which is no "
                             "multiple of the %zu of %s", what,
                             p->raw_data.len, each,
                             fe_onnx_type_name(p->data_type));
    }
    switch (p->data_type) {
    case FE_ONNX_FLOAT: *n = p->n_float_data; break;
    case FE_ONNX_DOUBLE: *n = p->n_double_data; break;
    case FE_ONNX_INT64: *n = p->n_int64_data; break;
    case FE_ONNX_UINT32:
    case FE_ONNX_UINT64: *n = p->n_uint64_data; break;
    case FE_ONNX_STRING: *n = p->n_string_data; break;
    default: *n = p->n_int32_data * (is_nibble(p->data_type) ? 2 : 1);
    }
    return true;
}

static bool is_external(const Onnx__TensorProto *p)
{
    return p->n_external_data || p->data_location;
}

static bool check_tensor(struct fe_onnx *g, const Onnx__TensorProto *p,
                         const char *what, const uint8_t **raw)
{
    *raw = p->has_raw_data ? p->raw_data.data : NULL;
    if (p->segment)
        return fe_onnx_error(g, "%s is a segment of a tensor, which is not "
                             "read", what);
    if (p->data_type != FE_ONNX_STRING && !raw_bits(p->data_type))
        return fe_onnx_error(g, "%s is of type %s, which is not read", what,
                             fe_onnx_type_text(g, p->data_type));
    int64_t n = 0;
    size_t given = 0;
    if (!read_dims(g, p, what, &n))
        return false;
    if (is_external(p) && p->data_type == FE_ONNX_STRING)
        return fe_onnx_error(g, "%s has strings in another file", what);
    if (is_external(p)) {
        *raw = fe_onnx_external(g, p, what,
                                (n * (int64_t)raw_bits(p->data_type) + 7) / 8);
        return *raw != NULL;
    }
    return count_data(g, p, what, &given) &&
           (given == (size_t)n + (is_nibble(p->data_type) && n % 2) ||
            fe_onnx_error(g, "%s: the data has %zu elements, its dims "
                          "multiply to %lld", what, given, (long long)n));
}

/* ----------------------------------------------------------------- data -- */

/* A float has every number of half precision: 5 bits of exponent, 10 of
 * mantissa. */
static double half_number(uint16_t bits)
{
    const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
    double v;
    if (exponent == 31)
        v = mantissa ? NAN : INFINITY;
    else if (exponent)
        v = ldexp(1024 + mantissa, exponent - 25);
    else
        v = ldexp(mantissa, -24);
    return bits >> 15 ? -v : v;
}

static double widen(int type, uint16_t bits)
{
    return type == FE_ONNX_FLOAT16 ? half_number(bits)
                                   : (double)ir_from_bf16(bits);
}

/* Number i of 4 bits, of a byte that has two. */
static int64_t nibble(int type, uint8_t byte, int64_t i)
{
    const int64_t v = i % 2 ? byte >> 4 : byte & 15;
    return type == FE_ONNX_INT4 && v > 7 ? v - 16 : v;
}

/* Of `type`, which is the file's. */
static void read_raw(struct fe_onnx_tensor *t, int type, const uint8_t *raw)
{
    for (int64_t i = 0; i < t->n; i++) {
        const uint8_t *at = raw + (size_t)i * raw_bits(type) / 8;
        float single;
        int32_t word;
        switch (type) {
        case FE_ONNX_FLOAT16:
        case FE_ONNX_BFLOAT16:
            t->real[i] = widen(type, (uint16_t)(at[0] | at[1] << 8));
            break;
        case FE_ONNX_FLOAT:
            memcpy(&single, at, 4);
            t->real[i] = (double)single;
            break;
        case FE_ONNX_DOUBLE: memcpy(&t->real[i], at, 8); break;
        case FE_ONNX_UINT64:
        case FE_ONNX_INT64: memcpy(&t->whole[i], at, 8); break;
        case FE_ONNX_UINT32:
            memcpy(&word, at, 4);
            t->whole[i] = (uint32_t)word;
            break;
        case FE_ONNX_UINT16: t->whole[i] = at[0] | at[1] << 8; break;
        case FE_ONNX_INT16:
            t->whole[i] = (int16_t)(at[0] | at[1] << 8);
            break;
        case FE_ONNX_INT32:
            memcpy(&word, at, 4);
            t->whole[i] = word;
            break;
        case FE_ONNX_INT8: t->whole[i] = (int8_t)*at; break;
        case FE_ONNX_UINT4:
        case FE_ONNX_INT4: t->whole[i] = nibble(type, *at, i); break;
        default: t->whole[i] = *at;
        }
    }
}

static void read_typed(struct fe_onnx_tensor *t, const Onnx__TensorProto *p)
{
    for (int64_t i = 0; i < t->n; i++)
        switch (p->data_type) {
        case FE_ONNX_FLOAT16:
        case FE_ONNX_BFLOAT16:
            t->real[i] = widen(p->data_type, (uint16_t)p->int32_data[i]);
            break;
        case FE_ONNX_FLOAT: t->real[i] = (double)p->float_data[i]; break;
        case FE_ONNX_DOUBLE: t->real[i] = p->double_data[i]; break;
        case FE_ONNX_INT64: t->whole[i] = p->int64_data[i]; break;
        case FE_ONNX_UINT32:
        case FE_ONNX_UINT64:
            t->whole[i] = (int64_t)p->uint64_data[i];
            break;
        case FE_ONNX_UINT4:
        case FE_ONNX_INT4:
            t->whole[i] =
                nibble(p->data_type, (uint8_t)p->int32_data[i / 2], i);
            break;
        default: t->whole[i] = p->int32_data[i];
        }
}

static bool read_strings(struct fe_onnx *g, struct fe_onnx_tensor *t,
                         const Onnx__TensorProto *p, const char *what)
{
    for (int64_t i = 0; i < t->n; i++) {
        t->text[i] = fe_onnx_string(g, &p->string_data[i], what);
        if (!t->text[i])
            return false;
    }
    return true;
}

static const struct fe_onnx_tensor *read_once(struct fe_onnx *g,
                                              const Onnx__TensorProto *p,
                                              const char *what)
{
    const uint8_t *raw;
    if (!check_tensor(g, p, what, &raw))
        return NULL;
    struct fe_onnx_tensor *t = fe_onnx_new_tensor(
        g, fe_onnx_widened(p->data_type), (int)p->n_dims, p->dims);
    if (t->type == FE_ONNX_STRING)
        return read_strings(g, t, p, what) ? t : NULL;
    if (raw || p->has_raw_data)
        read_raw(t, p->data_type, raw);
    else
        read_typed(t, p);
    for (int64_t i = 0; t->whole && i < t->n; i++)
        t->real[i] = (double)t->whole[i];
    return t;
}

/* ------------------------------------------------------------------ kept -- */

struct fe_onnx_read {
    const Onnx__TensorProto *proto; /* NULL: free */
    const struct fe_onnx_tensor *tensor;
};

static struct fe_onnx_read *read_slot(const struct fe_onnx *g,
                                      const Onnx__TensorProto *p)
{
    const uint64_t hash = (uintptr_t)p * UINT64_C(0x9e3779b97f4a7c15);
    size_t i = (size_t)(hash >> 32) & (g->reads_size - 1);
    while (g->reads[i].proto && g->reads[i].proto != p)
        i = (i + 1) & (g->reads_size - 1);
    return &g->reads[i];
}

static void grow_reads(struct fe_onnx *g)
{
    const struct fe_onnx_read *old = g->reads;
    const size_t n = g->reads_size;
    g->reads_size = n ? 2 * n : 64;
    g->reads = ir_alloc_array(&g->scratch, g->reads_size, sizeof *g->reads);
    for (size_t i = 0; i < n; i++)
        if (old[i].proto)
            *read_slot(g, old[i].proto) = old[i];
}

/* One of a subgraph, which may be built many times, is read once. */
const struct fe_onnx_tensor *fe_onnx_read_tensor(struct fe_onnx *g,
                                                 const Onnx__TensorProto *p,
                                                 const char *what)
{
    if (!g->within)
        return read_once(g, p, what);
    if (2 * g->n_reads >= g->reads_size)
        grow_reads(g);
    struct fe_onnx_read *slot = read_slot(g, p);
    if (slot->proto)
        return slot->tensor;
    const struct fe_onnx_tensor *tensor = read_once(g, p, what);
    if (tensor) {
        *slot = (struct fe_onnx_read){p, tensor};
        g->n_reads++;
    }
    return tensor;
}
