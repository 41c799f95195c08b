/* onnx_gather.c: elements by numbers: of rows by constant ones, of a table by
 * those of the row. */
#include "frontend/onnx.h"

#include <string.h>

/* Indices of an axis, those below 0 counted from its end. */
static const int64_t *read_indices(struct fe_onnx *g,
                                   const struct fe_onnx_tensor *t,
                                   int64_t size)
{
    if (!t->whole) {
        fe_onnx_error(g, "the indices are of type %s, not whole numbers",
                      fe_onnx_type_name(t->type));
        return NULL;
    }
    int64_t *list = ir_alloc_array(&g->scratch, (size_t)t->n, sizeof *list);
    for (int64_t i = 0; i < t->n; i++) {
        list[i] = t->whole[i] < 0 ? t->whole[i] + size : t->whole[i];
        if (list[i] < 0 || list[i] >= size) {
            fe_onnx_error(g, "index %lld is out of range (there are %lld "
                          "elements)", (long long)t->whole[i],
                          (long long)size);
            return NULL;
        }
    }
    return list;
}

/* ------------------------------------------------------- from a constant -- */

/* Labels as the elements of a table that they number. */
static const struct fe_onnx_tensor *table_labels(
    struct fe_onnx *g, const struct fe_onnx_tensor *table,
    const struct fe_onnx_tensor *by)
{
    const int64_t n = by->n;
    struct fe_onnx_tensor *labels = fe_onnx_new_tensor(g, table->type, 1, &n);
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = by->whole[i];
        if (at < 0 || at >= table->n) {
            fe_onnx_error(g, "index %lld is out of range (there are %lld)",
                          (long long)at, (long long)table->n);
            return NULL;
        }
        if (table->text)
            labels->text[i] = table->text[at];
        else
            labels->real[i] = table->real[at];
        if (table->whole)
            labels->whole[i] = table->whole[at];
    }
    return labels;
}

bool fe_onnx_give_from_table(struct fe_onnx *g,
                             const struct fe_onnx_tensor *table,
                             const struct fe_onnx_value *index)
{
    if (index->n != 1 || !fe_onnx_is_whole(index->type))
        return fe_onnx_error(g, "a table is looked up by %lld numbers of type "
                             "%s, where one whole number is expected",
                             (long long)index->n,
                             fe_onnx_type_name(index->type));
    struct fe_onnx_value value = *index;
    value.type = table->type;
    if (index->labels) {
        value.labels = table_labels(g, table, index->labels);
        return value.labels && fe_onnx_give(g, 0, &value);
    }
    if (table->text)
        return fe_onnx_error(g, "strings are looked up by a number that is no "
                             "class");
    /* A number below 0 counts from the end. */
    const size_t n = (size_t)table->n;
    double *keys = ir_alloc_array(&g->scratch, 2 * n, sizeof *keys);
    double *numbers = ir_alloc_array(&g->scratch, 2 * n, sizeof *numbers);
    for (size_t i = 0; i < 2 * n; i++) {
        keys[i] = (double)i - (double)n;
        numbers[i] = table->real[i % n];
    }
    value.rows = fe_onnx_lookup(g, fe_onnx_numbers(g, index), 2 * table->n,
                                keys, numbers, 0, fe_onnx_dtype(table->type));
    return value.rows && fe_onnx_give(g, 0, &value);
}

/* Rows of a table [V][D..] of numbers, by numbers of the row. */
static bool embed(struct fe_onnx *g, const struct fe_onnx_tensor *table,
                  const struct fe_onnx_value *index)
{
    const enum ir_dtype dtype = fe_onnx_dtype(table->type);
    struct fe_onnx_shape shape = fe_onnx_shape_of(index);
    if (!table->real || !fe_onnx_is_whole(index->type) || table->n < 1)
        return fe_onnx_error(g, "a table of type %s is looked up by numbers of "
                             "type %s", fe_onnx_type_name(table->type),
                             fe_onnx_type_name(index->type));
    if (shape.rank + table->rank - 1 > IR_MAX_RANK)
        return fe_onnx_error(g, "its result has %d dims (the limit is %d)",
                             shape.rank + table->rank - 1, IR_MAX_RANK);
    for (int i = 1; i < table->rank; i++)
        shape.dim[shape.rank++] = table->dim[i];
    if (!fe_onnx_size(g, &shape) || !fe_onnx_take_elements(g, table->n))
        return false;
    const int64_t dim[] = {table->dim[0], table->n / table->dim[0]};
    const struct ir_attr attr = ir_tensor_attr(
        "table", fe_onnx_tensor(g, dtype, table->rank > 1 ? 2 : 1, dim,
                                table->real));
    struct ir_value *numbers = fe_onnx_numbers(g, index);
    numbers = numbers ? fe_onnx_shaped(g, numbers, 1, &index->n) : NULL;
    return fe_onnx_give_shape(g, 0, table->type,
                              fe_onnx_op(g, IR_OP_take, 1, &numbers, 1, &attr),
                              &shape);
}

/* ---------------------------------------------------------- from the row -- */

/* Whether the list is first, first + step... */
static bool is_even(const int64_t *list, int64_t n)
{
    for (int64_t i = 2; i < n; i++)
        if (list[i] - list[i - 1] != list[1] - list[0])
            return false;
    return n > 0;
}

/* The numbers of [outer][list][inner] in x, which is [outer][size][inner]. */
static int32_t *list_elements(struct fe_onnx *g,
                              const struct fe_onnx_value *x, int axis,
                              int64_t n, const int64_t *list)
{
    const int64_t outer = fe_onnx_product(x, 0, axis), size = x->dim[axis];
    const int64_t inner = fe_onnx_product(x, axis + 1, x->rank);
    if (!fe_onnx_take_elements(g, outer * n * inner))
        return NULL;
    int32_t *index = ir_alloc_array(&g->scratch, (size_t)(outer * n * inner),
                                    sizeof *index);
    int64_t k = 0;
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < inner; j++)
                index[k++] = (int32_t)((o * size + list[i]) * inner + j);
    return index;
}

/* Those of one axis that `list` names, n of them. */
static bool take_axis(struct fe_onnx *g, const struct fe_onnx_value *x,
                      int axis, int64_t n, const int64_t *list,
                      struct fe_onnx_value *y)
{
    struct fe_onnx_shape shape = fe_onnx_shape_of(x);
    int64_t stride[IR_MAX_RANK];
    shape.dim[axis] = n;
    shape.n = fe_onnx_volume(g, shape.rank, shape.dim, !x->constant);
    if (shape.n < 0)
        return false;
    if (!is_even(list, n))
        return fe_onnx_pick(g, x, &shape, list_elements(g, x, axis, n, list),
                            y);
    fe_onnx_strides(x->rank, x->dim, stride);
    const int64_t offset = list[0] * stride[axis];
    stride[axis] *= n > 1 ? list[1] - list[0] : 0;
    return fe_onnx_view(g, x, &shape, stride, offset, y);
}

/* x's dims with the axis replaced by those of the indices. */
static bool insert_dims(struct fe_onnx *g, const struct fe_onnx_value *x,
                        int axis, const struct fe_onnx_value *index,
                        struct fe_onnx_shape *shape)
{
    *shape = fe_onnx_shape_of(x);
    shape->rank = x->rank - 1 + index->rank;
    if (shape->rank > IR_MAX_RANK)
        return fe_onnx_error(g, "its result has %d dims (the limit is %d)",
                             shape->rank, IR_MAX_RANK);
    for (int i = axis; i < shape->rank; i++)
        shape->dim[i] = i < axis + index->rank
                            ? index->dim[i - axis]
                            : x->dim[i - index->rank + 1];
    if (x->batched && x->batch > axis)
        shape->batch += index->rank - 1;
    shape->n = 1;
    for (int i = 0; i < shape->rank; i++)
        shape->n *= shape->dim[i];
    return true;
}

bool fe_onnx_gather_op(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_input(g, 0);
    const struct fe_onnx_value *index = x ? fe_onnx_input(g, 1) : NULL;
    struct fe_onnx_value taken;
    struct fe_onnx_shape shape;
    int axis = 0;
    if (!index ||
        !fe_onnx_own_axis(g, x, fe_onnx_int(g, "axis", 0), &axis))
        return false;
    if (x->constant && !index->constant && axis == 0)
        return x->rank == 1 && (index->n == 1 || x->type == FE_ONNX_STRING)
                   ? fe_onnx_give_from_table(g, x->constant, index)
                   : embed(g, x->constant, index);
    if (!index->constant)
        return fe_onnx_error(g, "only elements of rows by constant indices "
                             "are read, or those of a table's first dim");
    const int64_t *list = read_indices(g, index->constant, x->dim[axis]);
    return list && take_axis(g, x, axis, index->n, list, &taken) &&
           insert_dims(g, x, axis, index, &shape) &&
           fe_onnx_give_shaped(g, 0, &taken, &shape);
}

bool fe_onnx_array_feature_extractor(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_input(g, 0);
    const struct fe_onnx_value *index = x ? fe_onnx_input(g, 1) : NULL;
    struct fe_onnx_value taken;
    if (!index)
        return false;
    if (x->constant && !index->constant) { /* with a dim of 1 in front */
        struct fe_onnx_value by = *index;
        by.rank = 2;
        by.dim[0] = by.dim[1] = 1;
        by.batch = 1;
        return fe_onnx_give_from_table(g, x->constant, &by);
    }
    if (!index->constant || x->rank < 1 ||
        (x->batched && x->batch == x->rank - 1))
        return fe_onnx_error(g, "only elements of rows by constant indices "
                             "are read, or those of a list by a class");
    const int64_t *list =
        read_indices(g, index->constant, x->dim[x->rank - 1]);
    return list && take_axis(g, x, x->rank - 1, index->n, list, &taken) &&
           fe_onnx_give(g, 0, &taken);
}

/* Element [i0]..[index][..] for each element of the constant indices. */
bool fe_onnx_gather_elements(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_input(g, 0);
    const struct fe_onnx_tensor *index =
        x ? fe_onnx_constant_input(g, 1) : NULL;
    struct fe_onnx_value y;
    int axis;
    if (!index ||
        !fe_onnx_own_axis(g, x, fe_onnx_int(g, "axis", 0), &axis))
        return false;
    const int64_t *list = read_indices(g, index, x->dim[axis]);
    if (!list)
        return false;
    struct fe_onnx_shape shape = fe_onnx_shape_of(x);
    int64_t stride[IR_MAX_RANK], at[IR_MAX_RANK] = {0};
    bool fits = index->rank == x->rank;
    for (int i = 0; fits && i < x->rank; i++) {
        fits = i == axis || index->dim[i] <= x->dim[i];
        shape.dim[i] = index->dim[i];
    }
    if (!fits || !fe_onnx_size(g, &shape) ||
        !fe_onnx_take_elements(g, shape.n))
        return fe_onnx_error(g, "the indices' dims are not those of "
                             "'%.200s'", x->name);
    fe_onnx_strides(x->rank, x->dim, stride);
    int32_t *from = ir_alloc_array(&g->scratch, (size_t)shape.n, sizeof *from);
    for (int64_t k = 0; k < shape.n; k++) {
        int64_t place = 0;
        for (int i = 0; i < x->rank; i++)
            place += (i == axis ? list[k] : at[i]) * stride[i];
        from[k] = (int32_t)place;
        for (int i = x->rank; i-- > 0 && ++at[i] == shape.dim[i];)
            at[i] = 0;
    }
    return fe_onnx_pick(g, x, &shape, from, &y) && fe_onnx_give(g, 0, &y);
}

/* ------------------------------------------------------- ReverseSequence -- */

/* How many steps of each item come the other way round, one of all rows. */
static const int64_t *read_lengths(struct fe_onnx *g,
                                   const struct fe_onnx_value *x, int items,
                                   int64_t steps)
{
    const struct fe_onnx_tensor *t = fe_onnx_constant_input(g, 1);
    const bool batch = x->batched && x->batch == items;
    if (!t)
        return NULL;
    bool good = t->whole && t->rank == 1 &&
                (t->n == x->dim[items] ||
                 (batch && x->dim[items] == 1 && g->batch == FE_ONNX_FIRST &&
                  t->n == g->batch_size));
    for (int64_t i = 0; good && i < t->n; i++)
        good = t->whole[i] >= 0 && t->whole[i] <= steps &&
               (!batch || t->whole[i] == t->whole[0]);
    if (!good)
        fe_onnx_error(g, "the lengths are not those of %lld items of up to "
                      "%lld steps, the same for all rows",
                      (long long)x->dim[items], (long long)steps);
    return good ? t->whole : NULL;
}

/* Where each element of the result is in x. */
static int32_t *reversed_elements(struct fe_onnx *g,
                                  const struct fe_onnx_value *x, int time,
                                  int items, const int64_t *length)
{
    int64_t stride[IR_MAX_RANK], at[IR_MAX_RANK] = {0};
    if (!fe_onnx_take_elements(g, x->n))
        return NULL;
    int32_t *from = ir_alloc_array(&g->scratch, (size_t)x->n, sizeof *from);
    fe_onnx_strides(x->rank, x->dim, stride);
    for (int64_t k = 0; k < x->n; k++) {
        const int64_t last = length[at[items]] - 1, t = at[time];
        from[k] = (int32_t)(k + (t <= last ? last - 2 * t : 0) * stride[time]);
        for (int i = x->rank; i-- > 0 && ++at[i] == x->dim[i];)
            at[i] = 0;
    }
    return from;
}

bool fe_onnx_reverse_sequence(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_input(g, 0);
    struct fe_onnx_value y;
    int time, items;
    if (!x || !fe_onnx_own_axis(g, x, fe_onnx_int(g, "time_axis", 0), &time) ||
        !fe_onnx_axis(g, fe_onnx_int(g, "batch_axis", 1), x->rank, &items))
        return false;
    if (time == items || x->n < 1)
        return fe_onnx_error(g, "both axes are %d, or there is no element",
                             time);
    const int64_t steps = x->dim[time];
    const int64_t *length = read_lengths(g, x, items, steps);
    if (!length)
        return false;
    struct fe_onnx_shape shape = fe_onnx_shape_of(x);
    bool all = true;
    for (int64_t i = 0; i < x->dim[items]; i++)
        all = all && length[i] == steps;
    if (!all)
        return fe_onnx_pick(g, x, &shape,
                            reversed_elements(g, x, time, items, length),
                            &y) &&
               fe_onnx_give(g, 0, &y);
    int64_t stride[IR_MAX_RANK];
    fe_onnx_strides(x->rank, x->dim, stride);
    const int64_t last = (steps - 1) * stride[time];
    stride[time] = -stride[time];
    return fe_onnx_view(g, x, &shape, stride, last, &y) &&
           fe_onnx_give(g, 0, &y);
}

/* ---------------------------------------------------------------- OneHot -- */

/* 0 to depth - 1 along an axis of a result of that rank. */
static struct fe_onnx_value count_along(struct fe_onnx *g, int64_t depth,
                                        int axis, int rank)
{
    int64_t dim[IR_MAX_RANK] = {depth, 1, 1, 1, 1, 1};
    struct fe_onnx_tensor *t =
        fe_onnx_new_tensor(g, FE_ONNX_INT64, rank - axis, dim);
    struct fe_onnx_value count = {.name = "", .type = FE_ONNX_INT64,
                                  .constant = t, .rank = t->rank, .n = t->n};
    memcpy(count.dim, t->dim, sizeof count.dim);
    for (int64_t i = 0; i < depth; i++)
        t->real[i] = (double)(t->whole[i] = i);
    return count;
}

bool fe_onnx_one_hot(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_number_input(g, 0);
    const struct fe_onnx_tensor *depth = x ? fe_onnx_constant_input(g, 1)
                                           : NULL;
    const struct fe_onnx_tensor *values = depth ? fe_onnx_constant_input(g, 2)
                                                : NULL;
    int axis;
    if (!values)
        return false;
    const double n = depth->n == 1 && depth->real ? depth->real[0] : 0;
    if (!(n >= 1 && n <= IR_MAX_ELEMENTS) || values->n != 2 || !values->real ||
        x->rank == IR_MAX_RANK)
        return fe_onnx_error(g, "a depth and two values are expected for its "
                             "%d dims, not %g and %lld", x->rank, n,
                             (long long)values->n);
    if (!fe_onnx_axis(g, fe_onnx_int(g, "axis", -1), x->rank + 1, &axis) ||
        !fe_onnx_take_elements(g, (int64_t)n))
        return false;
    struct fe_onnx_shape shape = fe_onnx_shape_of(x);
    for (int d = shape.rank++; d > axis; d--)
        shape.dim[d] = shape.dim[d - 1];
    shape.dim[axis] = 1;
    shape.batch += x->batched && x->batch >= axis;
    struct fe_onnx_value index = *x;
    fe_onnx_reshaped(g, &index, &shape);
    struct fe_onnx_value count =
        count_along(g, (int64_t)n, axis, shape.rank);
    struct fe_onnx_value *const both[] = {&index, &count};
    if (!fe_onnx_broadcast(g, 2, both, &shape))
        return false;
    const char *whole = fe_onnx_is_whole(x->type)
                            ? "x0" : "x0 0 lt x0 neg floor neg x0 floor where";
    const char *program = ir_sprintf(
        &g->scratch, "%s 0 lt %s %.17g add %s where x1 eq %.17g %.17g where",
        whole, whole, n, whole, values->real[1], values->real[0]);
    return fe_onnx_give_shape(
        g, 0, values->type,
        fe_onnx_map(g, program, fe_onnx_dtype(values->type),
                    fe_onnx_spread(g, &shape, &index, IR_F64),
                    fe_onnx_spread(g, &shape, &count, IR_F64), NULL), &shape);
}
