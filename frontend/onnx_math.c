/* onnx_math.c: ops that compute element by element, and those that reduce a
 * row's last dim. Broadcasting is numpy's, with the batch as the first dim.
 * Whole numbers are computed as f64, exact below 2^53.
 */
#include "frontend/onnx.h"

#include <math.h>
#include <string.h>

/* --------------------------------------------------------- broadcasting -- */

/* Dims of the row that values broadcast to. */
struct shape {
    int rank;
    int64_t dim[IR_MAX_RANK], n;
};

/* Widens `shape` to hold x. A constant counts as of the row's dims; a dim of
 * 1 in the batch's place is allowed. */
static bool widen(struct fe_onnx *g, struct shape *shape,
                  const struct fe_onnx_value *x)
{
    int rank = x->rank, skip = 0;
    if (x->constant && rank == shape->rank + 1 && x->dim[0] == 1)
        skip = 1;
    rank -= skip;
    if (rank > shape->rank || (!x->constant && rank != shape->rank))
        return fe_onnx_error(g, "'%.200s' has %d dims besides the batch, "
                             "another input has %d", x->name, rank,
                             shape->rank);
    for (int i = 0; i < rank; i++) {
        int64_t *dim = &shape->dim[shape->rank - rank + i];
        const int64_t own = x->dim[i + skip];
        if (*dim != own && *dim != 1 && own != 1)
            return fe_onnx_error(g, "'%.200s' has a dim of %lld where another "
                                 "input has %lld", x->name, (long long)own,
                                 (long long)*dim);
        if (*dim == 1)
            *dim = own;
    }
    shape->n = 1;
    for (int i = 0; i < shape->rank; i++) {
        if (shape->dim[i] < 1 ||
            shape->n > IR_MAX_ELEMENTS / shape->dim[i])
            return fe_onnx_error(g, "its result has too many elements, or "
                                 "none");
        shape->n *= shape->dim[i];
    }
    return true;
}

/* The shape of inputs 0 to n - 1, of which one at least is of the row. */
static bool find_shape(struct fe_onnx *g, size_t n, struct shape *shape)
{
    const struct fe_onnx_value *first = NULL;
    for (size_t i = 0; i < n; i++) {
        const struct fe_onnx_value *x = fe_onnx_input(g, i);
        if (!x)
            return false;
        if (!x->constant && (!first || x->rank > first->rank))
            first = x;
    }
    if (!first)
        return fe_onnx_error(g, "all of its inputs are constants");
    shape->rank = first->rank;
    memcpy(shape->dim, first->dim, sizeof shape->dim);
    for (size_t i = 0; i < n; i++)
        if (!widen(g, shape, fe_onnx_input(g, i)))
            return false;
    return true;
}

/* Which of x's elements is element k of the shape. */
static int64_t element_of(const struct shape *shape,
                          const struct fe_onnx_value *x, int64_t k)
{
    int64_t at = 0, stride = 1;
    for (int i = 0; i < x->rank && i < shape->rank; i++) {
        const int64_t size = shape->dim[shape->rank - 1 - i];
        const int64_t own = x->dim[x->rank - 1 - i];
        if (own > 1)
            at += k % size * stride;
        stride *= own;
        k /= size;
    }
    return at;
}

/* x's numbers as n elements, or 1. */
static struct ir_value *spread(struct fe_onnx *g, const struct shape *shape,
                               const struct fe_onnx_value *x,
                               enum ir_dtype dtype)
{
    struct ir_value *rows =
        fe_onnx_convert(g, fe_onnx_numbers(g, x), dtype);
    if (!rows || x->n == 1 || x->n == shape->n)
        return rows;
    if (!fe_onnx_take_elements(g, shape->n))
        return NULL;
    int32_t *index = ir_alloc_array(&g->scratch, (size_t)shape->n,
                                    sizeof *index);
    for (int64_t k = 0; k < shape->n; k++)
        index[k] = (int32_t)element_of(shape, x, k);
    return fe_onnx_gather(g, rows, shape->n, index);
}

static bool give_shape(struct fe_onnx *g, int type, struct ir_value *rows,
                       const struct shape *shape)
{
    return fe_onnx_give_rows(g, 0, type, rows, shape->rank, shape->dim);
}

/* ---------------------------------------------------------------- unary -- */

/* Programs of f32 and f64; of whole numbers where they are the same. */
static const struct {
    const char *name, *program;
    bool to_bool;
} unaries[] = {
    {"Neg", "x0 neg", false},
    {"Abs", "x0 abs", false},
    {"Sign", "x0 sign", false},
    {"Exp", "x0 exp", false},
    {"Log", "x0 log", false},
    {"Sqrt", "x0 sqrt", false},
    {"Reciprocal", "1 x0 div", false},
    {"Floor", "x0 floor", false},
    {"Ceil", "x0 neg floor neg", false},
    {"Round", "x0 rint", false},
    {"Relu", "x0 0 gt x0 x0 isnan x0 0 where where", false},
    {"Sigmoid", "1 1 x0 neg exp add div", false},
    {"Tanh", "x0 tanh", false},
    {"Not", "1 x0 sub", true},
    {"IsNaN", "x0 isnan", true},
};

bool fe_onnx_unary(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_row_input(g, 0);
    size_t i = 0;
    if (!x)
        return false;
    while (strcmp(unaries[i].name, g->node->op_type) != 0)
        i++;
    const enum ir_dtype dtype = fe_onnx_dtype(x->type);
    struct ir_value *y = fe_onnx_map(g, unaries[i].program, dtype,
                                     fe_onnx_numbers(g, x), NULL, NULL);
    if (!unaries[i].to_bool)
        return fe_onnx_give_like(g, 0, x->type, y, x);
    return fe_onnx_give_like(g, 0, FE_ONNX_BOOL,
                             fe_onnx_convert(g, y, IR_F64), x);
}

/* --------------------------------------------------------------- binary -- */

static const struct {
    const char *name, *program;
    bool to_bool;
} binaries[] = {
    {"Add", "x0 x1 add", false},
    {"Sub", "x0 x1 sub", false},
    {"Mul", "x0 x1 mul", false},
    {"Div", "x0 x1 div", false},
    {"Pow", "x0 x1 pow", false},
    {"Less", "x0 x1 lt", true},
    {"LessOrEqual", "x0 x1 le", true},
    {"Greater", "x0 x1 gt", true},
    {"GreaterOrEqual", "x0 x1 ge", true},
    {"Equal", "x0 x1 eq", true},
    {"And", "x0 x1 mul", true},
    {"Or", "x0 x1 max", true},
};

/* Whole numbers are divided towards zero. */
static const char *program_of(size_t i, int type)
{
    if (!strcmp(binaries[i].name, "Div") && fe_onnx_is_whole(type))
        return "x0 x1 div 0 lt x0 x1 div neg floor neg x0 x1 div floor where";
    return binaries[i].program;
}

/* Strings of the row compared with one constant string. */
static bool equal_strings(struct fe_onnx *g, const struct fe_onnx_value *x,
                          const struct fe_onnx_value *to)
{
    if (x->constant || !x->words || !to->constant || to->n != 1)
        return fe_onnx_error(g, "strings are compared with one constant "
                             "string");
    if (!fe_onnx_take_elements(g, x->n))
        return false;
    double *code = ir_alloc_array(&g->scratch, (size_t)x->n, sizeof *code);
    for (int64_t i = 0; i < x->n; i++)
        code[i] = fe_onnx_code(g, x->words[i], to->constant->text[0]);
    struct ir_value *equal =
        fe_onnx_map(g, "x0 x1 eq", IR_F64, x->rows,
                    fe_onnx_vector(g, IR_F64, x->n, code), NULL);
    return fe_onnx_give_like(g, 0, FE_ONNX_BOOL, equal, x);
}

bool fe_onnx_binary(struct fe_onnx *g)
{
    const struct fe_onnx_value *a = fe_onnx_input(g, 0);
    const struct fe_onnx_value *b = a ? fe_onnx_input(g, 1) : NULL;
    struct shape shape;
    size_t i = 0;
    if (!b)
        return false;
    while (strcmp(binaries[i].name, g->node->op_type) != 0)
        i++;
    if (a->type == FE_ONNX_STRING || b->type == FE_ONNX_STRING) {
        if (strcmp(g->node->op_type, "Equal") != 0)
            return fe_onnx_error(g, "it is not defined for strings");
        return a->constant ? equal_strings(g, b, a) : equal_strings(g, a, b);
    }
    if (a->type != b->type && strcmp(g->node->op_type, "Pow") != 0)
        return fe_onnx_error(g, "its inputs are of types %s and %s",
                             fe_onnx_type_name(a->type),
                             fe_onnx_type_name(b->type));
    if (!find_shape(g, 2, &shape))
        return false;
    const enum ir_dtype dtype = fe_onnx_dtype(a->type);
    struct ir_value *y =
        fe_onnx_map(g, program_of(i, a->type), dtype,
                    spread(g, &shape, a, dtype), spread(g, &shape, b, dtype),
                    NULL);
    if (binaries[i].to_bool)
        return give_shape(g, FE_ONNX_BOOL, fe_onnx_convert(g, y, IR_F64),
                          &shape);
    return give_shape(g, a->type, y, &shape);
}

/* Of any number of inputs, from the first on. */
bool fe_onnx_variadic(struct fe_onnx *g)
{
    const char *program = !strcmp(g->node->op_type, "Sum") ? "x0 x1 add"
                          : !strcmp(g->node->op_type, "Min")
                              ? "x0 isnan x0 x1 isnan x1 x0 x1 min where where"
                              : "x0 isnan x0 x1 isnan x1 x0 x1 max where where";
    const struct fe_onnx_value *first = fe_onnx_input(g, 0);
    struct shape shape;
    if (!first || !find_shape(g, g->node->n_input, &shape))
        return false;
    const enum ir_dtype dtype = fe_onnx_dtype(first->type);
    struct ir_value *y = spread(g, &shape, first, dtype);
    for (size_t i = 1; y && i < g->node->n_input; i++) {
        const struct fe_onnx_value *x = fe_onnx_input(g, i);
        if (x->type != first->type)
            return fe_onnx_error(g, "its inputs are of types %s and %s",
                                 fe_onnx_type_name(first->type),
                                 fe_onnx_type_name(x->type));
        y = fe_onnx_map(g, program, dtype, y, spread(g, &shape, x, dtype),
                        NULL);
    }
    return give_shape(g, first->type, y, &shape);
}

bool fe_onnx_where(struct fe_onnx *g)
{
    struct shape shape;
    if (!find_shape(g, 3, &shape))
        return false;
    const struct fe_onnx_value *c = fe_onnx_input(g, 0);
    const struct fe_onnx_value *a = fe_onnx_input(g, 1);
    const struct fe_onnx_value *b = fe_onnx_input(g, 2);
    if (c->type != FE_ONNX_BOOL || a->type != b->type)
        return fe_onnx_error(g, "its inputs are of types %s, %s and %s",
                             fe_onnx_type_name(c->type),
                             fe_onnx_type_name(a->type),
                             fe_onnx_type_name(b->type));
    const enum ir_dtype dtype = fe_onnx_dtype(a->type);
    struct ir_value *y = fe_onnx_map(
        g, "x0 x1 x2 where", dtype, spread(g, &shape, c, dtype),
        spread(g, &shape, a, dtype), spread(g, &shape, b, dtype));
    return give_shape(g, a->type, y, &shape);
}

/* A bound of Clip, as an attribute or input 1 or 2; infinite when absent. */
static bool read_bound(struct fe_onnx *g, const char *name, size_t input,
                       double absent, double *bound)
{
    *bound = fe_onnx_float(g, name, absent);
    if (!fe_onnx_has_input(g, input))
        return true;
    const struct fe_onnx_tensor *t = fe_onnx_constant_input(g, input);
    if (!t)
        return false;
    if (t->n != 1 || !t->real)
        return fe_onnx_error(g, "the bound %s is no number", name);
    *bound = t->real[0];
    return !isnan(*bound) ||
           fe_onnx_error(g, "the bound %s is a NaN", name);
}

bool fe_onnx_clip(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_row_input(g, 0);
    double low, high;
    if (!x || !read_bound(g, "min", 1, -HUGE_VAL, &low) ||
        !read_bound(g, "max", 2, HUGE_VAL, &high))
        return false;
    /* Comparisons let a NaN through. */
    const char *program = ir_sprintf(
        &g->scratch, "x0 %.17g lt %.17g x0 where", low, low);
    struct ir_value *y =
        fe_onnx_map(g, program, fe_onnx_dtype(x->type), fe_onnx_numbers(g, x),
                    NULL, NULL);
    program = ir_sprintf(&g->scratch, "x0 %.17g gt %.17g x0 where", high,
                         high);
    y = fe_onnx_map(g, program, fe_onnx_dtype(x->type), y, NULL, NULL);
    return fe_onnx_give_like(g, 0, x->type, y, x);
}

/* --------------------------------------------------------------- reduce -- */

/* The one axis that is reduced has to be all of a row of one dim. */
static bool check_axis(struct fe_onnx *g, int64_t axis,
                       const struct fe_onnx_value *x)
{
    if (x->rank != 1)
        return fe_onnx_error(g, "only rows of one dim are read here, not of "
                             "%d", x->rank);
    return axis == 1 || axis == -1 ||
           fe_onnx_error(g, "axis %lld is not that of the row",
                         (long long)axis);
}

static bool give_reduced(struct fe_onnx *g, int type, struct ir_value *y)
{
    const int64_t one = 1;
    return fe_onnx_give_rows(g, 0, type, y,
                             fe_onnx_int(g, "keepdims", 1) ? 1 : 0, &one);
}

bool fe_onnx_softmax(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_row_input(g, 0);
    if (!x || !check_axis(g, fe_onnx_int(g, "axis", 1), x))
        return false;
    struct ir_value *rows = fe_onnx_numbers(g, x);
    return fe_onnx_give_like(g, 0, x->type,
                             fe_onnx_op(g, IR_OP_softmax, 1, &rows, 0, NULL),
                             x);
}

bool fe_onnx_arg_max(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_row_input(g, 0);
    struct fe_onnx_value class;
    if (!x || !check_axis(g, fe_onnx_int(g, "axis", 0), x))
        return false;
    if (fe_onnx_int(g, "select_last_index", 0))
        return fe_onnx_error(g, "select_last_index is not read");
    struct fe_onnx_tensor *labels =
        fe_onnx_new_tensor(g, FE_ONNX_INT64, 1, &x->n);
    for (int64_t i = 0; i < x->n; i++)
        labels->real[i] = (double)(labels->whole[i] = i);
    if (x->n < 2)
        return fe_onnx_error(g, "it is of a single number");
    if (!fe_onnx_class_of(g, fe_onnx_numbers(g, x), 0, labels, &class))
        return false;
    class.rank = fe_onnx_int(g, "keepdims", 1) ? 1 : 0;
    class.dim[0] = 1;
    return fe_onnx_give(g, 0, &class);
}

static const struct {
    const char *name, *before, *kind, *after; /* programs may be NULL */
} reductions[] = {
    {"ReduceSum", NULL, "sum", NULL},
    {"ReduceMean", NULL, "sum", "mean"},
    {"ReduceMax", NULL, "max", NULL},
    {"ReduceMin", NULL, "min", NULL},
    {"ReduceL1", "x0 abs", "sum", NULL},
    {"ReduceL2", "x0 x0 mul", "sum", "x0 sqrt"},
    {"ReduceSumSquare", "x0 x0 mul", "sum", NULL},
};

static bool reduced_axis(struct fe_onnx *g, int64_t *axis)
{
    const Onnx__AttributeProto *a = fe_onnx_attribute(g, "axes");
    const struct fe_onnx_tensor *t = NULL;
    if (fe_onnx_has_input(g, 1) && !(t = fe_onnx_constant_input(g, 1)))
        return false;
    if (t && !t->whole)
        return fe_onnx_error(g, "the axes are of type %s",
                             fe_onnx_type_name(t->type));
    if ((a ? (int64_t)a->n_ints : t ? t->n : 0) != 1)
        return fe_onnx_error(g, "one axis is read, that of the row");
    *axis = a ? a->ints[0] : t->whole[0];
    return true;
}

/* What is stacked, added up or averaged. */
static bool reduce_stack(struct fe_onnx *g, const struct fe_onnx_value *x)
{
    const bool mean = !strcmp(g->node->op_type, "ReduceMean");
    const enum ir_dtype dtype = fe_onnx_dtype(x->type);
    if ((!mean && strcmp(g->node->op_type, "ReduceSum") != 0) ||
        fe_onnx_int(g, "keepdims", 1))
        return fe_onnx_error(g, "what is stacked is only added up or "
                             "averaged, without its dim");
    struct ir_value *sum = NULL;
    for (int64_t k = 0; k < x->stacked; k++) {
        if (!fe_onnx_take_elements(g, x->n))
            return false;
        int32_t *index = ir_alloc_array(&g->scratch, (size_t)x->n,
                                        sizeof *index);
        for (int64_t i = 0; i < x->n; i++)
            index[i] = (int32_t)(k * x->n + i);
        struct ir_value *part = fe_onnx_gather(g, x->rows, x->n, index);
        sum = k ? fe_onnx_map(g, "x0 x1 add", dtype, sum, part, NULL) : part;
    }
    if (mean)
        sum = fe_onnx_map(g, ir_sprintf(&g->scratch, "x0 %lld div",
                                        (long long)x->stacked),
                          dtype, sum, NULL, NULL);
    return fe_onnx_give_rows(g, 0, x->type, sum, 1, &x->n);
}

bool fe_onnx_reduce_op(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_any_input(g, 0);
    int64_t axis = 0;
    size_t i = 0;
    if (!x || !reduced_axis(g, &axis))
        return false;
    if (x->stacked && axis == 0)
        return reduce_stack(g, x);
    x = fe_onnx_row_input(g, 0);
    if (!x || !check_axis(g, axis, x))
        return false;
    while (strcmp(reductions[i].name, g->node->op_type) != 0)
        i++;
    const enum ir_dtype dtype = fe_onnx_dtype(x->type);
    struct ir_value *y = fe_onnx_numbers(g, x);
    if (reductions[i].before)
        y = fe_onnx_map(g, reductions[i].before, dtype, y, NULL, NULL);
    y = fe_onnx_reduce(g, y, reductions[i].kind);
    const char *after = reductions[i].after;
    if (after && !strcmp(after, "mean"))
        after = ir_sprintf(&g->scratch, "x0 %lld div", (long long)x->n);
    if (after)
        y = fe_onnx_map(g, after, dtype, y, NULL, NULL);
    return give_reduced(g, x->type, y);
}
