/* onnx_rows.c: ops on what is of each row, as builders of nodes use them, and
 * what a budget allows of them: no file, however small, may stand for values
 * without end. */
#include "frontend/onnx.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What an op takes of the budget besides its tensors. */
enum { ELEMENTS_OF_OP = 16 };

/* --------------------------------------------------------------- budget -- */

/* What to do about it, where the user said how many steps there are. */
static const char *fewer_steps(struct fe_onnx *g)
{
    return g->steps > 1
               ? ir_sprintf(&g->scratch, "; take fewer steps than --time %lld, "
                            "or compile --streaming without --time, which "
                            "takes them one at a time", (long long)g->steps)
               : "";
}

bool fe_onnx_take_elements(struct fe_onnx *g, int64_t n)
{
    if (n >= 0 && n <= g->elements_left) {
        g->elements_left -= n;
        return true;
    }
    return fe_onnx_error(g, "its %lld elements are too many: all values of a "
                         "row may have %lld in a file of this size, and %lld "
                         "are left%s", (long long)n,
                         (long long)g->elements_limit,
                         (long long)g->elements_left, fewer_steps(g));
}

void fe_onnx_allow_elements(struct fe_onnx *g, size_t bytes)
{
    g->elements_limit += 16 * (int64_t)bytes;
    g->elements_left += 16 * (int64_t)bytes;
    g->trials_left += 16 * (int64_t)bytes;
}

/* The values of all ops; a net's may be many more than the file's bytes. */
static bool take_values(struct fe_onnx *g, int64_t n)
{
    if (n >= 0 && n <= g->values_left) {
        g->values_left -= n;
        return true;
    }
    return fe_onnx_error(g, "its %lld elements are too many: all values of a "
                         "row may have %d, and %lld are left%s",
                         (long long)n, IR_MAX_VALUES,
                         (long long)g->values_left, fewer_steps(g));
}

int64_t fe_onnx_volume(struct fe_onnx *g, int rank, const int64_t *dim,
                       int64_t least)
{
    int64_t n = 1, all = 1; /* without those that are 0, as strides are */
    for (int i = 0; i < rank; i++) {
        if (dim[i] < least || dim[i] > IR_MAX_ELEMENTS ||
            (dim[i] && all > IR_MAX_ELEMENTS / dim[i])) {
            fe_onnx_error(g, "a result would have too many elements, or none "
                          "(dim %d is %lld)", i, (long long)dim[i]);
            return -1;
        }
        all *= dim[i] ? dim[i] : 1;
        n *= dim[i];
    }
    return n;
}

/* ------------------------------------------------------------------ ops -- */

/* What is said of an op, without its name, which is none of the file's. */
static const char *said_of(enum ir_op_kind kind, const char *message)
{
    const char *name = ir_op_table[kind].name;
    const size_t n = strlen(name);
    return !strncmp(message, name, n) && !strncmp(message + n, ": ", 2)
               ? message + n + 2 : message;
}

/* The op; what is wrong with it is said of the node. */
static struct ir_op *add_op(struct fe_onnx *g, enum ir_op_kind kind, int n,
                            struct ir_value *const *operands, int n_attrs,
                            const struct ir_attr *attrs)
{
    struct ir_diag diag;
    ir_diag_init(&diag);
    struct ir_op *op = ir_add_op(g->module, kind, n, operands, n_attrs, attrs,
                                 &diag);
    if (!op)
        fe_onnx_error(g, "%s", diag.n_messages
                                     ? said_of(kind, diag.message[0]) : "");
    ir_diag_release(&diag);
    return op;
}

struct ir_value *fe_onnx_op(struct fe_onnx *g, enum ir_op_kind kind, int n,
                            struct ir_value *const *operands, int n_attrs,
                            const struct ir_attr *attrs)
{
    for (int i = 0; i < n; i++)
        if (!operands[i])
            return NULL;
    if (!fe_onnx_take_elements(g, ELEMENTS_OF_OP))
        return NULL;
    struct ir_op *op = add_op(g, kind, n, operands, n_attrs, attrs);
    if (!op)
        return NULL;
    op->loc = ir_loc_file(g->module_path);
    for (int i = 0; i < op->n_results; i++)
        if (!take_values(g, ir_type_volume(&op->result[i].type)))
            return NULL;
    return &op->result[0];
}

struct ir_value *fe_onnx_map(struct fe_onnx *g, const char *program,
                             enum ir_dtype to, struct ir_value *x0,
                             struct ir_value *x1, struct ir_value *x2)
{
    struct ir_value *const operands[] = {x0, x1, x2};
    const struct ir_attr attrs[] = {ir_string("program", program),
                                    ir_string("dtype", ir_dtype_name(to))};
    const int n = strstr(program, "x2") ? 3 : strstr(program, "x1") ? 2 : 1;
    return fe_onnx_op(g, IR_OP_map, n, operands, 2, attrs);
}

struct ir_value *fe_onnx_convert(struct fe_onnx *g, struct ir_value *x,
                                 enum ir_dtype to)
{
    if (!x || x->type.dtype == to)
        return x;
    return fe_onnx_map(g, "x0", to, x, NULL, NULL);
}

const struct ir_tensor *fe_onnx_tensor(struct fe_onnx *g, enum ir_dtype dtype,
                                       int rank, const int64_t *dim,
                                       const double *numbers)
{
    struct ir_tensor *t = ir_alloc(&g->module->arena, sizeof *t);
    t->type = (struct ir_type){.dtype = dtype, .rank = rank};
    size_t n = 1;
    for (int i = 0; i < rank; i++) {
        t->type.dim[i] = dim[i];
        n *= (size_t)dim[i];
    }
    void *data = ir_alloc_array(&g->module->arena, n, ir_dtype_bytes(dtype));
    for (size_t i = 0; i < n; i++)
        if (dtype == IR_F64)
            ((double *)data)[i] = numbers[i];
        else if (dtype == IR_F32)
            ((float *)data)[i] = (float)numbers[i];
        else if (dtype == IR_I8)
            ((int8_t *)data)[i] = (int8_t)numbers[i];
        else
            ((int32_t *)data)[i] = (int32_t)numbers[i];
    t->data = data;
    return t;
}

struct ir_value *fe_onnx_vector(struct fe_onnx *g, enum ir_dtype dtype,
                                int64_t n, const double *numbers)
{
    if (!fe_onnx_take_elements(g, n))
        return NULL;
    const struct ir_attr attr =
        ir_tensor_attr("value", fe_onnx_tensor(g, dtype, 1, &n, numbers));
    return fe_onnx_op(g, IR_OP_constant, 0, NULL, 1, &attr);
}

struct ir_attr fe_onnx_list(struct fe_onnx *g, const char *name, int n,
                            const int64_t *list)
{
    return ir_tensor_attr(name, ir_tensor_copy(g->module, IR_I64, n, list));
}

struct ir_value *fe_onnx_gather(struct fe_onnx *g, struct ir_value *x,
                                int64_t n, const int32_t *index)
{
    if (!x)
        return NULL;
    bool is_same = n == ir_type_volume(&x->type);
    for (int64_t i = 0; is_same && i < n; i++)
        is_same = index[i] == i;
    if (is_same)
        return x;
    if (!fe_onnx_take_elements(g, n))
        return NULL;
    const struct ir_attr attr = ir_tensor_attr(
        "index", ir_tensor_copy(g->module, IR_I32, n, index));
    return fe_onnx_op(g, IR_OP_gather, 1, &x, 1, &attr);
}

struct ir_value *fe_onnx_concat(struct fe_onnx *g, int n,
                                struct ir_value *const *parts)
{
    return n == 1 ? parts[0] : fe_onnx_op(g, IR_OP_concat, n, parts, 0, NULL);
}

struct ir_value *fe_onnx_reduce(struct fe_onnx *g, struct ir_value *x,
                                const char *kind)
{
    const struct ir_attr attr = ir_string("kind", kind);
    return fe_onnx_op(g, IR_OP_reduce, 1, &x, 1, &attr);
}

struct ir_value *fe_onnx_reduce_slices(struct fe_onnx *g, struct ir_value *x,
                                       const char *kind, int64_t size,
                                       int64_t inner)
{
    const struct ir_attr attrs[] = {ir_string("kind", kind),
                                    ir_int("size", size),
                                    ir_int("inner", inner)};
    if (x && size == ir_type_volume(&x->type))
        return fe_onnx_reduce(g, x, kind);
    return fe_onnx_op(g, IR_OP_reduce, 1, &x, 3, attrs);
}

/* ---------------------------------------------------------------- views -- */

void fe_onnx_strides(int rank, const int64_t *dim, int64_t *stride)
{
    int64_t step = 1;
    for (int i = rank; i-- > 0;) {
        stride[i] = step;
        step *= dim[i];
    }
}

/* A view, also of rank 0, which is a vector of one then. */
static struct ir_value *view(struct fe_onnx *g, struct ir_value *x, int rank,
                             const int64_t *dim, const int64_t *stride,
                             int64_t offset)
{
    const int64_t one = 1;
    const struct ir_attr attrs[] = {
        fe_onnx_list(g, "shape", rank ? rank : 1, rank ? dim : &one),
        fe_onnx_list(g, "strides", rank ? rank : 1, rank ? stride : &one),
        ir_int("offset", offset)};
    return fe_onnx_op(g, IR_OP_view, 1, &x, 3, attrs);
}

struct ir_value *fe_onnx_shaped(struct fe_onnx *g, struct ir_value *x,
                                int rank, const int64_t *dim)
{
    int64_t stride[IR_MAX_RANK];
    if (!x)
        return NULL;
    bool same = x->type.rank == rank;
    for (int i = 0; same && i < rank; i++)
        same = x->type.dim[i] == dim[i];
    if (same || (rank == 0 && x->type.rank == 1 && x->type.dim[0] == 1))
        return x;
    fe_onnx_strides(rank, dim, stride);
    return view(g, x, rank, dim, stride, 0);
}

struct ir_value *fe_onnx_strided(struct fe_onnx *g, struct ir_value *x,
                                 int rank, const int64_t *dim,
                                 const int64_t *stride, int64_t offset)
{
    int64_t dense[IR_MAX_RANK], n = 1;
    if (!x)
        return NULL;
    fe_onnx_strides(rank, dim, dense);
    bool is_same = offset == 0;
    for (int i = 0; i < rank; i++) {
        is_same = is_same && (dim[i] == 1 || dense[i] == stride[i]);
        n *= dim[i];
    }
    if (is_same && n == ir_type_volume(&x->type))
        return fe_onnx_shaped(g, x, rank, dim);
    return view(g, x, rank, dim, stride, offset);
}

struct ir_value *fe_onnx_part(struct fe_onnx *g, struct ir_value *x,
                              int64_t first, int rank, const int64_t *dim)
{
    int64_t stride[IR_MAX_RANK];
    fe_onnx_strides(rank, dim, stride);
    return fe_onnx_strided(g, x, rank, dim, stride, first);
}

/* --------------------------------------------------------------- lookup -- */

struct pair {
    double key, value;
};

/* Ascending, a NaN last. */
static int compare_pairs(const void *a, const void *b)
{
    const double x = ((const struct pair *)a)->key;
    const double y = ((const struct pair *)b)->key;
    if (isnan(x) || isnan(y))
        return isnan(x) - isnan(y);
    return (x > y) - (x < y);
}

struct ir_value *fe_onnx_lookup(struct fe_onnx *g, struct ir_value *x,
                                int64_t n, const double *keys,
                                const double *values, double fallback,
                                enum ir_dtype to)
{
    static const double nan = NAN;
    if (!x || !fe_onnx_take_elements(g, n))
        return NULL;
    if (n == 0) /* there has to be a key */
        return fe_onnx_lookup(g, x, 1, &nan, &fallback, fallback, to);
    struct pair *pair = ir_alloc_array(&g->scratch, (size_t)n, sizeof *pair);
    double *key = ir_alloc_array(&g->scratch, (size_t)n, sizeof *key);
    double *value = ir_alloc_array(&g->scratch, (size_t)n, sizeof *value);
    for (int64_t i = 0; i < n; i++)
        pair[i] = (struct pair){keys[i], values[i]};
    qsort(pair, (size_t)n, sizeof *pair, compare_pairs);
    for (int64_t i = 0; i < n; i++) {
        key[i] = pair[i].key;
        value[i] = pair[i].value;
    }
    const struct ir_attr attrs[] = {
        ir_tensor_attr("keys",
                       fe_onnx_tensor(g, x->type.dtype, 1, &n, key)),
        ir_tensor_attr("values", fe_onnx_tensor(g, to, 1, &n, value)),
        ir_float("default", fallback)};
    return fe_onnx_op(g, IR_OP_lookup, 1, &x, 3, attrs);
}

/* --------------------------------------------------------------- values -- */

enum ir_dtype fe_onnx_dtype(int type)
{
    return type == FE_ONNX_FLOAT ? IR_F32 : IR_F64;
}

/* Labels that are numbers, by the index. */
static struct ir_value *label_numbers(struct fe_onnx *g,
                                      const struct fe_onnx_value *value)
{
    const struct fe_onnx_tensor *labels = value->labels;
    double *keys = ir_alloc_array(&g->scratch, (size_t)labels->n, sizeof *keys);
    for (int64_t i = 0; i < labels->n; i++)
        keys[i] = (double)i;
    return fe_onnx_lookup(g, value->index, labels->n, keys, labels->real, 0,
                          fe_onnx_dtype(value->type));
}

struct ir_value *fe_onnx_numbers(struct fe_onnx *g,
                                 const struct fe_onnx_value *value)
{
    if (value->type == FE_ONNX_STRING) {
        fe_onnx_error(g, "'%.200s' holds strings, where numbers are expected",
                      value->name);
        return NULL;
    }
    for (int64_t i = 0; value->constant && value->constant->whole &&
                        i < value->n; i++)
        if (fe_onnx_batches(value->constant->whole[i])) {
            fe_onnx_error(g, "it computes with the size of the batch");
            return NULL;
        }
    if (value->constant)
        return fe_onnx_vector(g, fe_onnx_dtype(value->type), value->n,
                              value->constant->real);
    return value->labels ? label_numbers(g, value) : value->rows;
}

/* ---------------------------------------------------------------- words -- */

struct fe_onnx_words *fe_onnx_new_words(struct fe_onnx *g)
{
    struct fe_onnx_words *words = ir_alloc(&g->scratch, sizeof *words);
    words->column = -1;
    return words;
}

static int *word_slot(const struct fe_onnx_words *words, const char *word)
{
    const size_t mask = 2 * (size_t)words->capacity - 1;
    size_t i = fe_onnx_hash(word) & mask;
    while (words->table[i] >= 0 &&
           strcmp(words->word[words->table[i]], word) != 0)
        i = (i + 1) & mask;
    return &words->table[i];
}

static void grow_words(struct fe_onnx *g, struct fe_onnx_words *words)
{
    const int n = words->n, capacity = n ? 2 * n : 8;
    const char **more =
        ir_alloc_array(&g->scratch, (size_t)capacity, sizeof *more);
    if (n)
        memcpy(more, words->word, (size_t)n * sizeof *more);
    words->word = more;
    words->capacity = capacity;
    words->table =
        ir_alloc_array(&g->scratch, 2 * (size_t)capacity, sizeof(int));
    memset(words->table, 0xff, 2 * (size_t)capacity * sizeof(int));
    for (int i = 0; i < n; i++)
        *word_slot(words, more[i]) = i;
}

int fe_onnx_code(struct fe_onnx *g, struct fe_onnx_words *words,
                 const char *word)
{
    if (words->n == words->capacity)
        grow_words(g, words);
    int *slot = word_slot(words, word);
    if (*slot < 0) {
        words->word[words->n] = word;
        *slot = words->n++;
    }
    return *slot;
}
