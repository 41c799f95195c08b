/* eval.c: the reference interpreter. It defines what each op computes; it is
 * written to be read, and is slow. One row at a time goes through the ops that
 * the wanted output needs; each value of a row is an array of its dtype. */
#include "ir/ir_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void *ir_eval_data(struct ir_eval_context *c, const struct ir_value *v)
{
    return c->value[v->id];
}

static int64_t volume_of(const struct ir_value *v)
{
    return ir_type_volume(&v->type);
}

double ir_eval_get(struct ir_eval_context *c, const struct ir_value *v,
                   int64_t i)
{
    return ir_real(ir_eval_data(c, v), v->type.dtype, (size_t)i);
}

void ir_eval_set(struct ir_eval_context *c, const struct ir_value *to,
                 int64_t i, double v)
{
    void *data = ir_eval_data(c, to);
    switch (to->type.dtype) {
    case IR_F32: ((float *)data)[i] = (float)v; break;
    case IR_F64: ((double *)data)[i] = v; break;
    case IR_U8: ((uint8_t *)data)[i] = ir_to_u8(v); break;
    default: ((int32_t *)data)[i] = (int32_t)v;
    }
}

/* ------------------------------------------------------------------- input */

void ir_eval_input(struct ir_eval_context *c, const struct ir_op *op)
{
    const struct ir_rows *rows = c->rows;
    const int64_t first =
        ir_column_offset(c->module, (int)ir_attr_int(op, "first"));
    for (int64_t i = 0; i < volume_of(&op->result[0]); i++) {
        const int64_t at = c->row * rows->row_stride +
                           (first + i) * rows->column_stride;
        ir_eval_set(c, &op->result[0], i,
                    ir_real(rows->data, rows->dtype, (size_t)at));
    }
}

/* ------------------------------------------------------------------ forest */

/* Whether the whole number that `flags` make of v is a member of set s. */
static bool is_member(const struct ir_forest *f, int s, uint8_t flags,
                      double v)
{
    const int64_t n_bits =
        ((int64_t)f->set_start[s + 1] - f->set_start[s]) * 32;
    /* (-1, 0) truncates to 0, which an empty set does not have. */
    if (n_bits == 0 || !(v > -1 && v < (double)n_bits))
        return false;
    if (v < 0 && flags & (IR_NODE_FLOOR | IR_NODE_EXACT))
        return false;
    const int64_t code = (int64_t)v;
    if (flags & IR_NODE_EXACT && (double)code != v)
        return false;
    return f->set_words[f->set_start[s] + code / 32] >> (code % 32) & 1;
}

static bool is_missing(const struct ir_forest *f, uint8_t flags, double v)
{
    return isnan(v) ||
           (flags & IR_NODE_ZERO_MISSING && fabs(v) <= f->zero_bound);
}

static bool goes_left(const struct ir_forest *f, int64_t node, double v)
{
    const uint8_t flags = f->flags[node];
    if (is_missing(f, flags, v))
        return flags & IR_NODE_MISSING_LEFT;
    if (flags & IR_NODE_CATEGORICAL)
        return is_member(f, f->set[node], flags, v);
    const double t = ir_real(f->threshold, f->in_dtype, (size_t)node);
    return f->strict ? v < t : v <= t;
}

bool ir_goes_left(const struct ir_forest *f, int64_t node, const void *x)
{
    return goes_left(f, node,
                     ir_real(x, f->in_dtype, (size_t)f->feature[node]));
}

/* The code of column `column` for the value v of its feature. */
static uint32_t code_of(const struct ir_forest *f, int column, double v)
{
    const uint8_t flags = f->column_flags[column];
    const uint32_t ones = f->code_bits == 8 ? 0xff : 0xffff;
    const bool categorical = flags & IR_NODE_CATEGORICAL;
    uint32_t code = 0;
    if (is_missing(f, flags, v))
        return !(flags & IR_NODE_MISSING_LEFT) == categorical ? 0 : ones;
    if (!categorical) {
        for (int i = f->cut_start[column]; i < f->cut_start[column + 1]; i++)
            code += v > ir_real(f->cuts, f->in_dtype, (size_t)i);
        return code;
    }
    const int first = f->column_set_start[column];
    for (int i = first; i < f->column_set_start[column + 1]; i++)
        if (is_member(f, f->column_set[i], flags, v))
            code |= 1u << (i - first);
    return code;
}

static bool code_goes_left(const struct ir_forest *f, int64_t node, double v)
{
    const uint32_t code = code_of(f, f->node_column[node], v);
    return f->flags[node] & IR_NODE_CATEGORICAL
               ? (code & f->node_code[node]) != 0
               : code <= f->node_code[node];
}

/* The number within tree t of the leaf that the row x reaches. */
static int32_t find_leaf(const struct ir_forest *f, int t, const void *x)
{
    const int32_t first = f->tree_start[t];
    int32_t at = first == f->tree_start[t + 1] ? ~0 : 0;
    while (at >= 0) {
        const int64_t node = (int64_t)first + at;
        const double v = ir_real(x, f->in_dtype, (size_t)f->feature[node]);
        const bool left = f->code_bits ? code_goes_left(f, node, v)
                                       : goes_left(f, node, v);
        at = left ? f->left[node] : f->right[node];
    }
    return ~at;
}

double ir_leaf_value(const struct ir_forest *f, int64_t leaf, int k)
{
    return ir_real(f->leaf_value, f->sum_dtype,
                   (size_t)leaf * (size_t)f->leaf_width + (size_t)k);
}

/* Value k of a leaf, which may be linear. */
static double leaf_value(const struct ir_forest *f, int64_t leaf, int k,
                         const void *x)
{
    const double plain = ir_leaf_value(f, leaf, k);
    if (!f->coef_start)
        return plain;
    double sum = f->leaf_const[leaf];
    for (int i = f->coef_start[leaf]; i < f->coef_start[leaf + 1]; i++) {
        const double v =
            ir_real(x, f->in_dtype, (size_t)f->coef_feature[i]);
        if (isnan(v))
            return plain;
        sum += f->coef[i] * (fabs(v) <= f->zero_bound ? 0 : v);
    }
    return f->sum_dtype == IR_F32 ? (double)(float)sum : sum;
}

/* Whether the margins are such that no further tree is asked. */
static bool is_sure(struct ir_eval_context *c, const struct ir_value *margin,
                    const struct ir_forest *f)
{
    double first = -INFINITY, second = -INFINITY;
    if (f->n_targets == 1)
        return 2 * fabs(ir_eval_get(c, margin, 0)) > f->stop_margin;
    for (int k = 0; k < f->n_targets; k++) {
        const double v = ir_eval_get(c, margin, k);
        if (v > first) {
            second = first;
            first = v;
        } else if (v > second) {
            second = v;
        }
    }
    return first - second > f->stop_margin;
}

void ir_eval_trees(struct ir_eval_context *c, const struct ir_op *op)
{
    struct ir_forest f;
    const struct ir_value *margin = &op->result[0];
    int32_t *leaf = ir_eval_data(c, &op->result[1]);
    const void *x = ir_eval_data(c, op->operand[0]);
    ir_forest_view(op, &f);
    const int64_t stop_trees = f.stop_every * f.n_targets;
    bool done = false;
    for (int k = 0; k < f.n_targets; k++)
        ir_eval_set(c, margin, k, ir_real(f.base, f.sum_dtype, (size_t)k));
    for (int t = 0; t < f.n_trees; t++) {
        const int32_t number = find_leaf(&f, t, x);
        const int64_t at = (int64_t)f.leaf_start[t] + number;
        leaf[t] = f.leaf_id ? f.leaf_id[at] : number;
        for (int k = 0; !done && k < f.leaf_width; k++) {
            const int64_t to = (int64_t)f.target[t] + k;
            /* Rounded to f32 by ir_eval_set() where sums are f32. */
            ir_eval_set(c, margin, to, ir_eval_get(c, margin, to) +
                                           leaf_value(&f, at, k, x));
        }
        if (stop_trees > 0 && (t + 1) % stop_trees == 0)
            done = done || is_sure(c, margin, &f);
    }
    for (int k = 0; f.divisor != 1 && k < f.n_targets; k++)
        ir_eval_set(c, margin, k, ir_eval_get(c, margin, k) / f.divisor);
}

void ir_eval_forest(struct ir_eval_context *c, const struct ir_op *op)
{
    ir_eval_trees(c, op);
}

/* -------------------------------------------------------------------- maps */

/* The element of operand x that element i of the result is of: dims fit from
 * the last on, a dim of 1 fits any, and one element fits all. */
static int64_t operand_index(const struct ir_type *y, const struct ir_type *x,
                             int64_t i)
{
    int64_t index = 0, stride = 1;
    if (ir_type_volume(x) == 1)
        return 0;
    for (int d = 1; d <= x->rank; d++) {
        const int64_t dim = x->dim[x->rank - d];
        const int64_t at = i % y->dim[y->rank - d];
        index += dim == 1 ? 0 : at * stride;
        stride *= dim;
        i /= y->dim[y->rank - d];
    }
    return index;
}

static void run_program(struct ir_eval_context *c, const struct ir_op *op,
                        const char *program)
{
    struct ir_step steps[IR_MAX_STEPS];
    const struct ir_value *result = &op->result[0];
    struct ir_diag diag;
    double x[4] = {0};
    ir_diag_init(&diag);
    const int n = ir_program_parse(program, op, steps, &diag);
    ir_diag_release(&diag);
    for (int64_t i = 0; i < volume_of(result); i++) {
        for (int o = 0; o < op->n_operands; o++)
            x[o] = ir_eval_get(c, op->operand[o],
                operand_index(&result->type, &op->operand[o]->type, i));
        ir_eval_set(c, result, i,
            ir_program_eval(steps, n, x, ir_compute_dtype(op)));
    }
}

void ir_eval_map(struct ir_eval_context *c, const struct ir_op *op)
{
    run_program(c, op, ir_attr_string(op, "program"));
}

void ir_eval_map_op(struct ir_eval_context *c, const struct ir_op *op)
{
    run_program(c, op, ir_op_table[op->kind].program);
}

/* ----------------------------------------------------------------- reduces */

/* A slice of a value: n elements from `first` on, `stride` apart. */
struct slice {
    const struct ir_value *x;
    int64_t first, n, stride;
};

static struct slice slice_of(const struct ir_op *op, const struct ir_value *x,
                             int64_t i)
{
    const struct ir_slices s = ir_slices_of(op);
    return (struct slice){x, i / s.inner * s.size * s.inner + i % s.inner,
                          s.size, s.inner};
}

static int64_t count_slices(const struct ir_op *op)
{
    const struct ir_slices s = ir_slices_of(op);
    return s.outer * s.inner;
}

static double get(struct ir_eval_context *c, const struct slice *s, int64_t i)
{
    return ir_eval_get(c, s->x, s->first + i * s->stride);
}

/* The first, or last, of the largest (or smallest); a NaN is neither larger nor
 * smaller than another number, but as the first element it stays. */
static int64_t extreme(struct ir_eval_context *c, const struct slice *s,
                       bool largest, bool last)
{
    int64_t best = 0;
    for (int64_t i = 1; i < s->n; i++) {
        const double v = get(c, s, i), b = get(c, s, best);
        if ((largest ? v > b : v < b) || (last && v == b))
            best = i;
    }
    return best;
}

static double round_to(enum ir_dtype dtype, double v)
{
    return dtype == IR_F32 ? (double)(float)v : v;
}

/* The sum, or the product, in the dtype that the op has for it, then rounded to
 * that of x. */
static double total_of(struct ir_eval_context *c, const struct ir_op *op,
                       const struct slice *s, bool product)
{
    const enum ir_dtype x = s->x->type.dtype, dtype = ir_sum_dtype(op, x);
    double total = product ? 1 : 0;
    for (int64_t i = 0; i < s->n; i++) {
        const double v = get(c, s, i);
        total = round_to(dtype, product ? total * v : total + v);
    }
    return round_to(x, total);
}

const char *ir_softmax_exp(const struct ir_op *op)
{
    const struct ir_attr *attr = ir_find_attr(op, "exp");
    return attr ? attr->s : "exp";
}

/* As the step of a map has it. */
static double exp_of(enum ir_dtype dtype, bool fast, double x)
{
    if (dtype != IR_F32)
        return ir_exp(x);
    return (double)(fast ? ir_fast_expf((float)x) : ir_expf((float)x));
}

void ir_eval_softmax(struct ir_eval_context *c, const struct ir_op *op)
{
    const struct ir_value *y = &op->result[0];
    const enum ir_dtype dtype = y->type.dtype;
    const bool fast = strcmp(ir_softmax_exp(op), "fast_exp") == 0;
    for (int64_t k = 0; k < count_slices(op); k++) {
        const struct slice x = slice_of(op, op->operand[0], k);
        const struct slice e = slice_of(op, y, k);
        const double max = get(c, &x, extreme(c, &x, true, false));
        for (int64_t i = 0; i < x.n; i++)
            ir_eval_set(c, y, x.first + i * x.stride,
                        exp_of(dtype, fast, get(c, &x, i) - max));
        const double sum = total_of(c, op, &e, false);
        for (int64_t i = 0; i < x.n; i++)
            ir_eval_set(c, y, x.first + i * x.stride, get(c, &e, i) / sum);
    }
}

/* The largest or the least of +0 and a slice's elements. */
static double farthest(struct ir_eval_context *c, const struct slice *x,
                       bool high)
{
    double most = 0;
    for (int64_t i = 0; i < x->n; i++) {
        const double v = get(c, x, i);
        if (high ? v > most : v < most)
            most = v;
    }
    return most;
}

/* What a reduce of this kind, or an argmax, gives for a slice. */
static double reduced(struct ir_eval_context *c, const struct ir_op *op,
                      const char *kind, const struct slice *x)
{
    const bool last = ir_attr_int_or(op, "last", 0);
    if (!strcmp(kind, "sum") || !strcmp(kind, "prod"))
        return total_of(c, op, x, !strcmp(kind, "prod"));
    if (!strncmp(kind, "arg", 3))
        return (double)extreme(c, x, !strcmp(kind, "argmax"), last);
    if (!strcmp(kind, "high") || !strcmp(kind, "low"))
        return farthest(c, x, !strcmp(kind, "high"));
    return get(c, x, extreme(c, x, !strcmp(kind, "max"), false));
}

void ir_eval_argmax(struct ir_eval_context *c, const struct ir_op *op)
{
    for (int64_t k = 0; k < count_slices(op); k++) {
        const struct slice x = slice_of(op, op->operand[0], k);
        ir_eval_set(c, &op->result[0], k, reduced(c, op, "argmax", &x));
    }
}

void ir_eval_reduce(struct ir_eval_context *c, const struct ir_op *op)
{
    for (int64_t k = 0; k < count_slices(op); k++) {
        const struct slice x = slice_of(op, op->operand[0], k);
        ir_eval_set(c, &op->result[0], k,
                    reduced(c, op, ir_attr_string(op, "kind"), &x));
    }
}

/* --------------------------------------------------------------------- API */

/* Marks the values that those marked are computed from, by their ids. */
static void mark_slice(const struct ir_module *m, bool *needed)
{
    for (int i = m->n_ops - 1; i >= 0; i--) {
        const struct ir_op *op = m->ops[i];
        bool any = false;
        for (int r = 0; r < op->n_results; r++)
            any = any || needed[op->result[r].id];
        for (int o = 0; any && o < op->n_operands; o++)
            needed[op->operand[o]->id] = true;
        /* An op computes all of its results. */
        for (int r = 0; r < op->n_results; r++)
            needed[op->result[r].id] = any;
    }
}

void ir_eval_values(const struct ir_module *module, int n,
                    const struct ir_value *const *values,
                    const struct ir_rows *rows, ir_seen_fn *seen, void *of)
{
    struct ir_arena arena;
    ir_arena_init(&arena);
    struct ir_eval_context c = {.module = module, .rows = rows};
    const size_t n_values = (size_t)ir_value_count(module);
    bool *needed = ir_alloc_array(&arena, n_values, sizeof(*needed));
    for (int i = 0; i < n; i++)
        needed[values[i]->id] = true;
    mark_slice(module, needed);
    c.value = ir_alloc_array(&arena, n_values, sizeof(*c.value));
    for (int i = 0; i < module->n_ops; i++)
        for (int r = 0; r < module->ops[i]->n_results; r++) {
            const struct ir_value *v = &module->ops[i]->result[r];
            if (needed[v->id])
                c.value[v->id] = ir_alloc_array(&arena, (size_t)volume_of(v),
                                                ir_dtype_bytes(v->type.dtype));
        }
    for (c.row = 0; c.row < rows->n_rows; c.row++) {
        for (int i = 0; i < module->n_ops; i++)
            if (needed[module->ops[i]->result[0].id])
                ir_eval_table[module->ops[i]->kind](&c, module->ops[i]);
        for (int i = 0; i < n; i++)
            seen(of, i, c.row, c.value[values[i]->id]);
    }
    ir_arena_release(&arena);
}

struct copy {
    uint8_t *out;
    size_t width; /* bytes of a row */
};

static void copy_out(void *of, int value, int64_t row, const void *data)
{
    const struct copy *to = of;
    (void)value;
    memcpy(to->out + (size_t)row * to->width, data, to->width);
}

void ir_eval(const struct ir_module *module, int output,
             const struct ir_rows *rows, void *out)
{
    const struct ir_value *value = module->outputs[output].value;
    struct copy to = {out, (size_t)volume_of(value) *
                               ir_dtype_bytes(value->type.dtype)};
    ir_eval_values(module, 1, &value, rows, copy_out, &to);
}
