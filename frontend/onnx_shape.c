/* onnx_shape.c: ops that move elements and compute nothing: constants, casts,
 * reshapes, and whatever picks elements of a row. The batch is the first dim
 * and stays it: an op that would mix rows is refused.
 */
#include "frontend/onnx.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------ constants -- */

static bool give_constant(struct fe_onnx *g, const struct fe_onnx_tensor *t)
{
    if (!t)
        return false;
    struct fe_onnx_value value = {.type = t->type, .constant = t,
                                  .rank = t->rank, .n = t->n};
    memcpy(value.dim, t->dim, sizeof value.dim);
    return fe_onnx_give(g, 0, &value);
}

bool fe_onnx_constant(struct fe_onnx *g)
{
    if (g->node->n_attribute != 1)
        return fe_onnx_error(g, "%zu attributes (1 is expected)",
                             g->node->n_attribute);
    const Onnx__AttributeProto *a = g->node->attribute[0];
    if (a->t)
        return give_constant(g, fe_onnx_read_tensor(g, a->t, "value"));
    const bool list = a->n_floats || a->n_ints || a->n_strings;
    const int type = a->has_f || a->n_floats ? FE_ONNX_FLOAT
                     : a->has_i || a->n_ints ? FE_ONNX_INT64
                                             : FE_ONNX_STRING;
    const int64_t n = (int64_t)(a->n_floats + a->n_ints + a->n_strings);
    struct fe_onnx_tensor *t = fe_onnx_new_tensor(g, type, list, &n);
    for (int64_t i = 0; i < t->n; i++) {
        if (type == FE_ONNX_FLOAT)
            t->real[i] = (double)(list ? a->floats[i] : a->f);
        else if (type == FE_ONNX_INT64)
            t->real[i] = (double)(t->whole[i] = list ? a->ints[i] : a->i);
        else if (!(t->text[i] = fe_onnx_string(
                       g, list ? &a->strings[i] : &a->s, "value")))
            return false;
    }
    return give_constant(g, t);
}

bool fe_onnx_identity(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_input(g, 0);
    return x && fe_onnx_give(g, 0, x);
}

/* ----------------------------------------------------------------- cast -- */

static double cast_number(double v, int to)
{
    if (to == FE_ONNX_FLOAT)
        return (double)(float)v;
    if (to == FE_ONNX_BOOL)
        return v != 0;
    return fe_onnx_is_whole(to) ? trunc(v) : v;
}

/* A number as a label is written. */
static const char *number_text(struct fe_onnx *g,
                               const struct fe_onnx_tensor *t, int64_t i)
{
    if (t->whole)
        return ir_sprintf(&g->scratch, "%lld", (long long)t->whole[i]);
    return ir_sprintf(&g->scratch, "%.9g", t->real[i]);
}

static struct fe_onnx_tensor *cast_tensor(struct fe_onnx *g,
                                          const struct fe_onnx_tensor *t,
                                          int to)
{
    struct fe_onnx_tensor *c = fe_onnx_new_tensor(g, to, t->rank, t->dim);
    for (int64_t i = 0; i < t->n; i++) {
        if (to == FE_ONNX_STRING) {
            c->text[i] = t->text ? t->text[i] : number_text(g, t, i);
            continue;
        }
        double v = 0;
        if (t->real)
            v = t->real[i];
        else if (!ir_parse_double(t->text[i], t->text[i] + strlen(t->text[i]),
                                  &v)) {
            fe_onnx_error(g, "the string '%.100s' is no number", t->text[i]);
            return NULL;
        }
        c->real[i] = cast_number(v, to);
        if (c->whole && !(fabs(c->real[i]) < 0x1p63)) {
            fe_onnx_error(g, "%g is no whole number that can be kept",
                          c->real[i]);
            return NULL;
        }
        if (c->whole)
            c->whole[i] = t->whole && to != FE_ONNX_BOOL
                              ? t->whole[i] : (int64_t)c->real[i];
    }
    return c;
}

static struct ir_value *cast_rows(struct fe_onnx *g,
                                  const struct fe_onnx_value *x, int to)
{
    struct ir_value *rows = fe_onnx_numbers(g, x);
    if (!rows)
        return NULL;
    const enum ir_dtype from = rows->type.dtype;
    if (fe_onnx_is_whole(x->type) && !fe_onnx_is_whole(to)) /* no -0 there */
        return fe_onnx_map(g, "x0 0 add", fe_onnx_dtype(to), rows, NULL, NULL);
    if (to == FE_ONNX_BOOL)
        rows = fe_onnx_map(g, "x0 0 eq 0 1 where", from, rows, NULL, NULL);
    else if (fe_onnx_is_whole(to) && !fe_onnx_is_whole(x->type))
        rows = fe_onnx_map(g, "x0 0 lt x0 neg floor neg x0 floor where 0 add",
                           from, rows, NULL, NULL);
    return fe_onnx_convert(g, rows, fe_onnx_dtype(to));
}

bool fe_onnx_cast(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_input(g, 0);
    const int64_t to = fe_onnx_int(g, "to", -1);
    if (!x)
        return false;
    if (to != FE_ONNX_FLOAT && to != FE_ONNX_DOUBLE && to != FE_ONNX_STRING &&
        !fe_onnx_is_whole((int)(to < 0 || to > 100 ? 0 : to)))
        return fe_onnx_error(g, "casts to type %lld are not read",
                             (long long)to);
    if (x->constant)
        return give_constant(g, cast_tensor(g, x->constant, (int)to));
    if (to == x->type)
        return fe_onnx_give(g, 0, x);
    if (x->labels && (to == FE_ONNX_STRING || fe_onnx_is_whole((int)to))) {
        struct fe_onnx_value class = *x;
        class.type = (int)to;
        class.labels = cast_tensor(g, x->labels, (int)to);
        return class.labels && fe_onnx_give(g, 0, &class);
    }
    if (to == FE_ONNX_STRING)
        return fe_onnx_error(g, "numbers of the row cannot be cast to "
                             "strings");
    struct fe_onnx_value cast = *x;
    cast.type = (int)to;
    cast.labels = NULL;
    cast.words = NULL;
    cast.rows = cast_rows(g, x, (int)to);
    return cast.rows && fe_onnx_give(g, 0, &cast);
}

/* --------------------------------------------------------------- shapes -- */

/* The list that is an attribute, or a constant input. NULL without a message
 * when it is neither; *ok false after one. */
static const struct fe_onnx_tensor *list_of(struct fe_onnx *g,
                                            const char *name, size_t input,
                                            bool *ok)
{
    const Onnx__AttributeProto *a = fe_onnx_attribute(g, name);
    *ok = true;
    if (a) {
        const int64_t n = (int64_t)a->n_ints;
        struct fe_onnx_tensor *t = fe_onnx_new_tensor(g, FE_ONNX_INT64, 1, &n);
        for (int64_t i = 0; i < n; i++)
            t->whole[i] = a->ints[i];
        return t;
    }
    if (!fe_onnx_has_input(g, input))
        return NULL;
    const struct fe_onnx_tensor *t = fe_onnx_constant_input(g, input);
    *ok = t && (t->whole || fe_onnx_error(g, "%s is of type %s, not INT64",
                                          name, fe_onnx_type_name(t->type)));
    if (*ok && t->rank > 1)
        *ok = fe_onnx_error(g, "%s has %d dims, not 1", name, t->rank);
    return *ok ? t : NULL;
}

/* x with these dims; the batch is not among them unless x is constant. */
static bool give_shaped(struct fe_onnx *g, const struct fe_onnx_value *x,
                        int rank, const int64_t *dim)
{
    struct fe_onnx_value shaped = *x;
    shaped.rank = rank;
    memset(shaped.dim, 0, sizeof shaped.dim);
    for (int i = 0; i < rank; i++)
        shaped.dim[i] = dim[i];
    if (x->constant) {
        struct fe_onnx_tensor *t = ir_alloc(&g->scratch, sizeof *t);
        *t = *x->constant;
        t->rank = rank;
        memcpy(t->dim, shaped.dim, sizeof t->dim);
        shaped.constant = t;
    }
    return fe_onnx_give(g, 0, &shaped);
}

/* One dim of a new shape; `old` is what 0 stands for. */
static bool read_dim(struct fe_onnx *g, int64_t given, int64_t old,
                     int64_t *dim, int *open, int i)
{
    *dim = given == 0 ? old : given;
    if (*dim == -1 && *open < 0) {
        *open = i;
        *dim = 1;
    }
    return (*dim >= 1 && *dim <= IR_MAX_ELEMENTS) ||
           fe_onnx_error(g, "a dim of the new shape is %lld",
                         (long long)given);
}

bool fe_onnx_reshape(struct fe_onnx *g)
{
    bool ok;
    const struct fe_onnx_value *x = fe_onnx_input(g, 0);
    const struct fe_onnx_tensor *shape = list_of(g, "shape", 1, &ok);
    if (!x || !ok)
        return false;
    if (fe_onnx_int(g, "allowzero", 0))
        return fe_onnx_error(g, "allowzero is not read");
    if (!shape || shape->n > IR_MAX_RANK || (shape->n < 1 && !x->constant))
        return fe_onnx_error(g, "the new shape has %lld dims (1 to %d are "
                             "read)", shape ? (long long)shape->n : 0,
                             IR_MAX_RANK);
    const int batch = !x->constant; /* dims that are not among x's */
    const int rank = (int)shape->n - batch;
    int64_t dim[IR_MAX_RANK], n = 1;
    int open = -1;
    const int64_t first = batch ? shape->whole[0] : 0;
    for (int i = 0; i < rank; i++) {
        if (!read_dim(g, shape->whole[i + batch], i < x->rank ? x->dim[i] : 0,
                      &dim[i], &open, i))
            return false;
        n *= dim[i];
        if (n > IR_MAX_ELEMENTS)
            return fe_onnx_error(g, "the new shape is too large");
    }
    if (open >= 0 && x->n % n == 0) {
        dim[open] = x->n / n;
        n = x->n;
    }
    /* [1, -1, n]: one of those that will be stacked. */
    if (batch && first == 1 && rank == 2 && open == 0 && dim[1] == x->n) {
        struct fe_onnx_value one = *x;
        one.stacked = 1;
        one.rank = 1;
        one.dim[0] = x->n;
        return !x->labels ? fe_onnx_give(g, 0, &one)
                          : fe_onnx_error(g, "classes are not stacked");
    }
    if (n != x->n || (batch && first != 0 && first != -1 && first != 1))
        return fe_onnx_error(g, "a row has %lld elements, which the new shape "
                             "mixes with those of others or leaves out",
                             (long long)x->n);
    return give_shaped(g, x, rank, dim);
}

bool fe_onnx_shape(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_row_input(g, 0);
    if (!x)
        return false;
    if (g->node->n_attribute)
        return fe_onnx_error(g, "a part of a shape is not read");
    const struct fe_onnx_value value = {.type = FE_ONNX_INT64,
                                        .shape_of = x};
    return fe_onnx_give(g, 0, &value);
}

/* As large as rows are, the same everywhere: so one element does. */
bool fe_onnx_constant_of_shape(struct fe_onnx *g)
{
    const struct fe_onnx_value *shape = fe_onnx_any_input(g, 0);
    const Onnx__AttributeProto *a = fe_onnx_attribute(g, "value");
    if (!shape)
        return false;
    if (!shape->shape_of)
        return fe_onnx_error(g, "only the shape of a value of the row is "
                             "read");
    const int64_t one = 1;
    const struct fe_onnx_tensor *t =
        a ? fe_onnx_read_tensor(g, a->t, "value")
          : fe_onnx_new_tensor(g, FE_ONNX_FLOAT, 1, &one);
    if (t && t->n != 1)
        return fe_onnx_error(g, "value has %lld elements, not 1",
                             (long long)t->n);
    return give_constant(g, t);
}

bool fe_onnx_flatten(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_row_input(g, 0);
    const int64_t axis = fe_onnx_int(g, "axis", 1);
    if (!x)
        return false;
    if (axis != 1 && !(axis < 0 && axis == -x->rank))
        return fe_onnx_error(g, "axis %lld: only what is flattened row by row "
                             "is read", (long long)axis);
    return give_shaped(g, x, 1, &x->n);
}

/* Axis of a value with the batch counted, as one of its own dims. */
static bool read_axis(struct fe_onnx *g, int64_t given, int rank, bool rows,
                      int *axis)
{
    const int full = rank + rows;
    const int64_t a = given < 0 ? given + full : given;
    if (a < 0 || a >= full)
        return fe_onnx_error(g, "axis %lld is out of range (there are %d "
                             "dims)", (long long)given, full);
    if (rows && a == 0)
        return fe_onnx_error(g, "axis 0 is the batch");
    *axis = (int)a - rows;
    return true;
}

bool fe_onnx_unsqueeze(struct fe_onnx *g)
{
    bool ok, is_new[IR_MAX_RANK] = {0};
    const struct fe_onnx_value *x = fe_onnx_input(g, 0);
    const struct fe_onnx_tensor *axes = list_of(g, "axes", 1, &ok);
    if (!x || !ok)
        return false;
    const bool rows = !x->constant;
    if (!axes || axes->n + x->rank + rows > IR_MAX_RANK)
        return fe_onnx_error(g, "%lld axes",
                             axes ? (long long)axes->n : 0);
    const int rank = x->rank + (int)axes->n;
    for (int64_t i = 0; i < axes->n; i++) {
        int axis = 0;
        if (!read_axis(g, axes->whole[i], rank, rows, &axis))
            return false;
        if (is_new[axis])
            return fe_onnx_error(g, "an axis comes twice");
        is_new[axis] = true;
    }
    int64_t dim[IR_MAX_RANK];
    for (int i = 0, old = 0; i < rank; i++)
        dim[i] = is_new[i] ? 1 : x->dim[old++];
    return give_shaped(g, x, rank, dim);
}

bool fe_onnx_squeeze(struct fe_onnx *g)
{
    bool ok, gone[IR_MAX_RANK] = {0};
    const struct fe_onnx_value *x = fe_onnx_input(g, 0);
    const struct fe_onnx_tensor *axes = list_of(g, "axes", 1, &ok);
    if (!x || !ok)
        return false;
    for (int64_t i = 0; axes && i < axes->n; i++) {
        int axis = 0;
        /* The first dim of a label table goes by itself. */
        if (!x->constant && axes->whole[i] == 0 && x->n == 1 && x->labels)
            continue;
        if (!read_axis(g, axes->whole[i], x->rank, !x->constant, &axis))
            return false;
        if (x->dim[axis] != 1)
            return fe_onnx_error(g, "axis %lld has %lld elements, not 1",
                                 (long long)axes->whole[i],
                                 (long long)x->dim[axis]);
        gone[axis] = true;
    }
    int64_t dim[IR_MAX_RANK];
    int rank = 0;
    for (int i = 0; i < x->rank; i++)
        if (axes ? !gone[i] : x->dim[i] != 1)
            dim[rank++] = x->dim[i];
    return give_shaped(g, x, rank, dim);
}

/* ------------------------------------------------------------- elements -- */

/* The elements `index` of x as a value of these dims. */
static bool take(struct fe_onnx *g, const struct fe_onnx_value *x,
                 const int64_t *dim, const int32_t *index,
                 struct fe_onnx_value *taken)
{
    *taken = (struct fe_onnx_value){
        .type = x->type, .rank = x->rank, .n = 1, .labels = x->labels,
        .index = x->index};
    for (int i = 0; i < x->rank; i++) {
        taken->dim[i] = dim[i];
        taken->n *= dim[i];
    }
    if (x->labels && taken->n != 1)
        return fe_onnx_error(g, "a class is taken more than once");
    taken->rows = fe_onnx_gather(g, x->rows, taken->n, index);
    if (x->words) {
        taken->words = ir_alloc_array(&g->scratch, (size_t)taken->n,
                                      sizeof *taken->words);
        for (int64_t i = 0; i < taken->n; i++)
            taken->words[i] = x->words[index[i]];
    }
    return taken->rows != NULL;
}

/* Those of one axis that `list` names. */
static bool take_axis(struct fe_onnx *g, const struct fe_onnx_value *x,
                      int axis, int64_t n, const int64_t *list,
                      struct fe_onnx_value *taken)
{
    int64_t inner = 1, outer = 1, dim[IR_MAX_RANK] = {0};
    for (int i = 0; i < x->rank; i++) {
        dim[i] = i == axis ? n : x->dim[i];
        inner *= i > axis ? x->dim[i] : 1;
        outer *= i < axis ? x->dim[i] : 1;
    }
    if (n < 1)
        return fe_onnx_error(g, "its result has no element");
    if (n > IR_MAX_ELEMENTS || n * inner > IR_MAX_ELEMENTS / outer ||
        !fe_onnx_take_elements(g, n * inner * outer))
        return fe_onnx_error(g, "its result is too large");
    int32_t *index = ir_alloc_array(
        &g->scratch, (size_t)(outer * n * inner), sizeof *index);
    int64_t k = 0;
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < inner; j++)
                index[k++] = (int32_t)((o * x->dim[axis] + list[i]) * inner +
                                       j);
    return take(g, x, dim, index, taken);
}

/* A table of constants, looked up by a class or by a whole number. */
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
        const int64_t n = index->labels->n;
        struct fe_onnx_tensor *labels =
            fe_onnx_new_tensor(g, table->type, 1, &n);
        for (int64_t i = 0; i < n; i++) {
            const int64_t at = index->labels->whole[i];
            if (at < 0 || at >= table->n)
                return fe_onnx_error(g, "index %lld is out of range (there "
                                     "are %lld)", (long long)at,
                                     (long long)table->n);
            if (table->text)
                labels->text[i] = table->text[at];
            else
                labels->real[i] = table->real[at];
            if (table->whole)
                labels->whole[i] = table->whole[at];
        }
        value.labels = labels;
        return fe_onnx_give(g, 0, &value);
    }
    if (table->text)
        return fe_onnx_error(g, "strings are looked up by a number that is no "
                             "class");
    double *keys = ir_alloc_array(&g->scratch, (size_t)table->n, sizeof *keys);
    for (int64_t i = 0; i < table->n; i++)
        keys[i] = (double)i;
    value.rows = fe_onnx_lookup(g, fe_onnx_numbers(g, index), table->n, keys,
                                table->real, 0, fe_onnx_dtype(table->type));
    return value.rows && fe_onnx_give(g, 0, &value);
}

/* Indices of an axis, those below 0 counted from its end. */
static const int64_t *read_indices(struct fe_onnx *g,
                                   const struct fe_onnx_tensor *t,
                                   int64_t size)
{
    if (!t->whole) {
        fe_onnx_error(g, "the indices are of type %s",
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

bool fe_onnx_gather_op(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_input(g, 0);
    const struct fe_onnx_value *index = x ? fe_onnx_input(g, 1) : NULL;
    const int64_t given = fe_onnx_int(g, "axis", 0);
    int axis = 0;
    if (!index)
        return false;
    if (x->constant && !index->constant && x->rank == 1)
        return fe_onnx_give_from_table(g, x->constant, index);
    if (x->constant || !index->constant)
        return fe_onnx_error(g, "only elements of rows by constant indices "
                             "are read, or those of a list by a class");
    if (!read_axis(g, given, x->rank, true, &axis))
        return false;
    const int64_t *list = read_indices(g, index->constant, x->dim[axis]);
    if (!list)
        return false;
    struct fe_onnx_value taken;
    if (index->rank > 1)
        return fe_onnx_error(g, "indices of %d dims", index->rank);
    if (!take_axis(g, x, axis, index->n, list, &taken))
        return false;
    if (index->rank == 0) { /* it takes its axis away */
        taken.rank--;
        memmove(&taken.dim[axis], &taken.dim[axis + 1],
                (size_t)(taken.rank - axis) * sizeof *taken.dim);
    }
    return fe_onnx_give(g, 0, &taken);
}

bool fe_onnx_array_feature_extractor(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_input(g, 0);
    const struct fe_onnx_value *index = x ? fe_onnx_input(g, 1) : NULL;
    if (!index)
        return false;
    if (x->constant && !index->constant)
        return fe_onnx_give_from_table(g, x->constant, index);
    if (x->constant || !index->constant || x->rank != 1)
        return fe_onnx_error(g, "only elements of rows by constant indices "
                             "are read, or those of a list by a class");
    struct fe_onnx_value taken;
    const int64_t *list = read_indices(g, index->constant, x->n);
    return list && take_axis(g, x, 0, index->n, list, &taken) &&
           fe_onnx_give(g, 0, &taken);
}

bool fe_onnx_split(struct fe_onnx *g)
{
    bool ok;
    int axis = 0;
    const struct fe_onnx_value *x = fe_onnx_row_input(g, 0);
    const struct fe_onnx_tensor *sizes = list_of(g, "split", 1, &ok);
    if (!x || !ok ||
        !read_axis(g, fe_onnx_int(g, "axis", 0), x->rank, true, &axis))
        return false;
    const int64_t size = x->dim[axis], n = (int64_t)g->node->n_output;
    if (sizes && sizes->n != n)
        return fe_onnx_error(g, "%lld sizes for %lld outputs",
                             (long long)sizes->n, (long long)n);
    int64_t at = 0;
    for (int64_t i = 0; i < n; i++) {
        const int64_t each = (size + n - 1) / n;
        int64_t part = sizes ? sizes->whole[i] : each;
        if (!sizes && part > size - at)
            part = size - at;
        if (part < 1 || part > size - at)
            return fe_onnx_error(g, "part %lld has %lld elements of %lld",
                                 (long long)i, (long long)part,
                                 (long long)size);
        int64_t *list = ir_alloc_array(&g->scratch, (size_t)part,
                                       sizeof *list);
        for (int64_t k = 0; k < part; k++)
            list[k] = at + k;
        at += part;
        struct fe_onnx_value taken;
        if (!take_axis(g, x, axis, part, list, &taken) ||
            !fe_onnx_give(g, (size_t)i, &taken))
            return false;
    }
    return at == size || fe_onnx_error(g, "the parts have %lld elements of "
                                       "%lld", (long long)at,
                                       (long long)size);
}

static int64_t clamp(int64_t v, int64_t low, int64_t high)
{
    return v < low ? low : v > high ? high : v;
}

bool fe_onnx_slice(struct fe_onnx *g)
{
    bool ok[4];
    int axis = 0;
    const struct fe_onnx_value *x = fe_onnx_row_input(g, 0);
    const struct fe_onnx_tensor *starts = list_of(g, "starts", 1, &ok[0]);
    const struct fe_onnx_tensor *ends = list_of(g, "ends", 2, &ok[1]);
    const struct fe_onnx_tensor *axes = list_of(g, "axes", 3, &ok[2]);
    const struct fe_onnx_tensor *steps = list_of(g, "steps", 4, &ok[3]);
    if (!x || !ok[0] || !ok[1] || !ok[2] || !ok[3])
        return false;
    if (!starts || !ends || starts->n != 1 || ends->n != 1 ||
        (axes && axes->n != 1) || (steps && steps->n != 1))
        return fe_onnx_error(g, "slices of one axis are read, not of several");
    if (!read_axis(g, axes ? axes->whole[0] : 0, x->rank, true, &axis))
        return false;
    const int64_t size = x->dim[axis], step = steps ? steps->whole[0] : 1;
    int64_t start = starts->whole[0], end = ends->whole[0];
    if (step < 1)
        return fe_onnx_error(g, "the step %lld is not read", (long long)step);
    start = clamp(start < 0 ? start + size : start, 0, size);
    end = clamp(end < 0 ? end + size : end, 0, size);
    int64_t *list = ir_alloc_array(&g->scratch, (size_t)size, sizeof *list);
    int64_t n = 0;
    for (int64_t i = start; i < end; i += step < size ? step : size)
        list[n++] = i;
    struct fe_onnx_value taken;
    return take_axis(g, x, axis, n, list, &taken) &&
           fe_onnx_give(g, 0, &taken);
}

bool fe_onnx_transpose(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_row_input(g, 0);
    const Onnx__AttributeProto *perm = fe_onnx_attribute(g, "perm");
    if (!x)
        return false;
    if (!perm || perm->n_ints != (size_t)x->rank + 1 || perm->ints[0] != 0)
        return fe_onnx_error(g, "the batch has to stay the first dim");
    int64_t dim[IR_MAX_RANK], stride[IR_MAX_RANK], of[IR_MAX_RANK];
    bool seen[IR_MAX_RANK] = {0};
    int64_t step = 1;
    for (int i = x->rank - 1; i >= 0; i--) {
        of[i] = step;
        step *= x->dim[i];
    }
    for (int i = 0; i < x->rank; i++) {
        const int64_t from = perm->ints[i + 1] - 1;
        if (from < 0 || from >= x->rank || seen[from])
            return fe_onnx_error(g, "perm is no permutation");
        seen[from] = true;
        dim[i] = x->dim[from];
        stride[i] = of[from];
    }
    if (!fe_onnx_take_elements(g, x->n))
        return false;
    int32_t *index = ir_alloc_array(&g->scratch, (size_t)x->n, sizeof *index);
    for (int64_t k = 0; k < x->n; k++) {
        int64_t rest = k, at = 0;
        for (int i = x->rank - 1; i >= 0; i--) {
            at += rest % dim[i] * stride[i];
            rest /= dim[i];
        }
        index[k] = (int32_t)at;
    }
    struct fe_onnx_value taken;
    return take(g, x, dim, index, &taken) && fe_onnx_give(g, 0, &taken);
}

/* --------------------------------------------------------------- concat -- */

static bool concat_constants(struct fe_onnx *g)
{
    const size_t n = g->node->n_input;
    int64_t total = 0;
    for (size_t i = 0; i < n; i++) {
        const struct fe_onnx_tensor *t = fe_onnx_constant_input(g, i);
        if (!t)
            return false;
        if (t->rank != 1 || !t->real)
            return fe_onnx_error(g, "constants are joined as lists of "
                                 "numbers");
        total += t->n;
    }
    const int type = fe_onnx_constant_input(g, 0)->type;
    if (!fe_onnx_take_elements(g, total))
        return false;
    struct fe_onnx_tensor *all = fe_onnx_new_tensor(g, type, 1, &total);
    int64_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const struct fe_onnx_tensor *t = fe_onnx_constant_input(g, i);
        if (t->type != type)
            return fe_onnx_error(g, "the parts are of different types");
        for (int64_t k = 0; k < t->n; k++, at++) {
            all->real[at] = t->real[k];
            if (all->whole)
                all->whole[at] = t->whole[k];
        }
    }
    return give_constant(g, all);
}

/* All inputs as one list, of which each row's are `of` by the axis. */
static bool concat_rows(struct fe_onnx *g, const struct fe_onnx_value *first,
                        int axis)
{
    const size_t n = g->node->n_input;
    struct ir_value **parts = ir_alloc_array(&g->scratch, n, sizeof *parts);
    struct fe_onnx_value all = {.type = first->type, .rank = first->rank};
    memcpy(all.dim, first->dim, sizeof all.dim);
    all.dim[axis] = 0;
    for (int i = 0; i < axis; i++)
        if (first->dim[i] != 1)
            return fe_onnx_error(g, "axis %d: only the first dim of a row is "
                                 "joined", axis + 1);
    for (size_t i = 0; i < n; i++) {
        const struct fe_onnx_value *x = fe_onnx_row_input(g, i);
        if (!x)
            return false;
        if (x->type != first->type || x->rank != first->rank)
            return fe_onnx_error(g, "input %zu has another type or other dims "
                                 "than input 0", i);
        for (int d = 0; d < x->rank; d++)
            if (d != axis && x->dim[d] != first->dim[d])
                return fe_onnx_error(g, "input %zu: dim %d is %lld, not %lld",
                                     i, d + 1, (long long)x->dim[d],
                                     (long long)first->dim[d]);
        all.dim[axis] += x->dim[axis];
        all.n += x->n;
        parts[i] = x->type == FE_ONNX_STRING ? x->rows
                                             : fe_onnx_numbers(g, x);
        if (!parts[i])
            return false;
        if (x->type == FE_ONNX_STRING && !x->words)
            return fe_onnx_error(g, "classes are not joined");
    }
    if (first->type == FE_ONNX_STRING) {
        if (!fe_onnx_take_elements(g, all.n))
            return false;
        all.words = ir_alloc_array(&g->scratch, (size_t)all.n,
                                   sizeof *all.words);
        int64_t at = 0;
        for (size_t i = 0; i < n; i++) {
            const struct fe_onnx_value *x = fe_onnx_row_input(g, i);
            for (int64_t k = 0; k < x->n; k++)
                all.words[at++] = x->words[k];
        }
    }
    all.rows = fe_onnx_concat(g, (int)n, parts);
    return all.rows && fe_onnx_give(g, 0, &all);
}

/* Values of the same dims, stacked. */
static bool concat_stacked(struct fe_onnx *g,
                           const struct fe_onnx_value *first)
{
    const size_t n = g->node->n_input;
    struct ir_value **parts = ir_alloc_array(&g->scratch, n, sizeof *parts);
    struct fe_onnx_value all = *first;
    all.stacked = 0;
    for (size_t i = 0; i < n; i++) {
        const struct fe_onnx_value *x = fe_onnx_any_input(g, i);
        if (!x)
            return false;
        if (!x->stacked || x->type != first->type || x->n != first->n ||
            x->type == FE_ONNX_STRING)
            return fe_onnx_error(g, "input %zu is not stacked as input 0 is",
                                 i);
        all.stacked += x->stacked;
        parts[i] = x->rows;
    }
    all.rows = fe_onnx_concat(g, (int)n, parts);
    return all.rows && fe_onnx_give(g, 0, &all);
}

bool fe_onnx_concat_op(struct fe_onnx *g)
{
    const struct fe_onnx_value *first = fe_onnx_any_input(g, 0);
    int axis = 0;
    if (!first)
        return false;
    if (first->stacked && fe_onnx_int(g, "axis", 1) == 0)
        return concat_stacked(g, first);
    first = fe_onnx_input(g, 0);
    if (!first)
        return false;
    if (first->constant)
        return concat_constants(g);
    return read_axis(g, fe_onnx_int(g, "axis", 1), first->rank, true, &axis) &&
           concat_rows(g, first, axis);
}
