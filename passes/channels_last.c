/* channels_last.c: images go through a net with their channels last.
 *
 * Kernels have channels in lanes, while importers build images channels first.
 * The ops are written anew from the first to the last. Conv becomes one with
 * channels last, and so do the pools, maps and concats that have what such an
 * op made, until somebody needs the image as it was. Only there, and where an
 * image comes in, is it turned, by a view. Elements move; no number changes. */
#include "passes/rewrite.h"

#include <string.h>

struct turner {
    struct ir_module *module;
    struct ir_diag *diag;
    struct ir_arena scratch;
    struct ir_value **first, **last; /* by old id: what it became, or NULL */
    struct ir_op *old;
};

static struct ir_op *append(struct turner *t, enum ir_op_kind kind,
                            int n_operands, struct ir_value *const *operands,
                            int n_attrs, const struct ir_attr *attrs)
{
    struct ir_op *op = ir_add_op(t->module, kind, n_operands, operands,
                                 n_attrs, attrs, t->diag);
    if (op)
        op->loc = t->old->loc;
    return op;
}

static struct ir_value *append_view(struct turner *t, struct ir_value *x,
                                    int rank, const int64_t *dims,
                                    const int64_t *strides)
{
    const struct ir_attr attrs[] = {
        ir_tensor_attr("shape", ir_tensor_copy(t->module, IR_I64, rank, dims)),
        ir_tensor_attr("strides",
                       ir_tensor_copy(t->module, IR_I64, rank, strides)),
        ir_int("offset", 0)};
    struct ir_op *op = append(t, IR_OP_view, 1, &x, 3, attrs);
    return op ? &op->result[0] : NULL;
}

/* x with its first dim last, or back. */
static struct ir_value *turn(struct turner *t, struct ir_value *x, bool back)
{
    const int rank = x->type.rank, from = back ? rank - 1 : 0;
    int64_t dense[IR_MAX_RANK], dims[IR_MAX_RANK], strides[IR_MAX_RANK];
    int64_t stride = 1;
    for (int i = rank; i-- > 0; stride *= x->type.dim[i])
        dense[i] = stride;
    for (int i = 0, to = back ? 1 : 0; i < rank; i++) {
        const int at = i == from ? (back ? 0 : rank - 1) : to++;
        dims[at] = x->type.dim[i];
        strides[at] = dense[i];
    }
    return append_view(t, x, rank, dims, strides);
}

/* What an old value became, channels first. */
static struct ir_value *first_of(struct turner *t, const struct ir_value *old)
{
    if (!t->first[old->id] && t->last[old->id])
        t->first[old->id] = turn(t, t->last[old->id], true);
    return t->first[old->id];
}

static struct ir_value *last_of(struct turner *t, const struct ir_value *old)
{
    if (!t->last[old->id] && t->first[old->id])
        t->last[old->id] = turn(t, t->first[old->id], false);
    return t->last[old->id];
}

static bool become_last(struct turner *t, struct ir_op *op)
{
    if (op)
        t->last[t->old->result[0].id] = &op->result[0];
    return op != NULL;
}

/* The old op with other operands, and one attribute more. */
static struct ir_op *copy(struct turner *t, struct ir_value *const *x,
                          struct ir_attr more)
{
    const int n = t->old->n_attrs;
    struct ir_attr *attrs =
        ir_alloc_array(&t->scratch, (size_t)n + 1, sizeof(*attrs));
    int kept = 0;
    for (int i = 0; i < n; i++)
        if (strcmp(t->old->attr[i].name, more.name) != 0)
            attrs[kept++] = t->old->attr[i];
    if (*more.name)
        attrs[kept++] = more;
    return append(t, t->old->kind, t->old->n_operands, x, kept, attrs);
}

/* A conv's second operand, if it has one, is a number. */
static bool rewrite_windows(struct turner *t)
{
    struct ir_value *x[] = {last_of(t, t->old->operand[0]), NULL};
    if (t->old->n_operands > 1 &&
        !(x[1] = first_of(t, t->old->operand[1])))
        return false;
    return x[0] && become_last(t, copy(t, x, ir_int("channels_last", 1)));
}

/* An operand as the map of images with channels last has it: turned, one
 * number, or one for each channel; NULL for others. */
static struct ir_value *map_operand(struct turner *t,
                                    const struct ir_value *old)
{
    const struct ir_type *image = &t->old->result[0].type;
    const int64_t n = ir_type_volume(&old->type);
    if (t->last[old->id])
        return t->last[old->id];
    if (n == 1)
        return first_of(t, old);
    if (old->type.rank == image->rank && old->type.dim[0] == n) {
        const int64_t one = 1;
        return append_view(t, first_of(t, old), 1, &n, &one);
    }
    return NULL;
}

static bool is_image_map(const struct turner *t)
{
    const struct ir_op *op = t->old;
    bool any = false;
    for (int i = 0; i < op->n_operands; i++) {
        const struct ir_value *x = op->operand[i];
        const int64_t n = ir_type_volume(&x->type);
        if (t->last[x->id] && x->type.rank == op->result[0].type.rank &&
            n == ir_type_volume(&op->result[0].type))
            any = true;
        else if (n != 1 && !(x->type.rank == op->result[0].type.rank &&
                             x->type.dim[0] == n))
            return false;
    }
    return any;
}

static bool is_image_concat(const struct turner *t)
{
    for (int i = 0; i < t->old->n_operands; i++)
        if (!t->last[t->old->operand[i]->id])
            return false;
    return ir_attr_int_or(t->old, "axis", -1) == 0;
}

static bool copy_op(struct turner *t)
{
    const int n = t->old->n_operands;
    struct ir_value **x =
        ir_alloc_array(&t->scratch, (size_t)n + 1, sizeof(*x));
    for (int i = 0; i < n; i++)
        if (!(x[i] = first_of(t, t->old->operand[i])))
            return false;
    const struct ir_op *op = copy(t, x, ir_int("", 0));
    for (int i = 0; op && i < t->old->n_results; i++)
        t->first[t->old->result[i].id] = &op->result[i];
    return op != NULL;
}

static bool rewrite_turned(struct turner *t, struct ir_attr more, bool is_map)
{
    const int n = t->old->n_operands;
    struct ir_value **x =
        ir_alloc_array(&t->scratch, (size_t)n + 1, sizeof(*x));
    for (int i = 0; i < n; i++) {
        const struct ir_value *old = t->old->operand[i];
        x[i] = is_map ? map_operand(t, old) : last_of(t, old);
        if (!x[i])
            return false;
    }
    return become_last(t, copy(t, x, more));
}

/* A reduce of all elements that asks for no order of them. */
static bool is_without_order(const struct ir_op *op)
{
    const char *kind = ir_attr_string(op, "kind");
    return (!strcmp(kind, "low") || !strcmp(kind, "high")) &&
           !ir_find_attr(op, "size") && !ir_find_attr(op, "inner");
}

static bool rewrite_reduce(struct turner *t)
{
    struct ir_value *x = t->last[t->old->operand[0]->id];
    if (!x)
        x = first_of(t, t->old->operand[0]);
    struct ir_op *op = x ? copy(t, &x, ir_int("", 0)) : NULL;
    if (op)
        t->first[t->old->result[0].id] = &op->result[0];
    return op != NULL;
}

static bool rewrite_op(struct turner *t)
{
    const struct ir_op *op = t->old;
    switch (op->kind) {
    case IR_OP_conv:
        if (!ir_attr_int_or(op, "channels_last", 0) &&
            op->n_operands == 1 + ir_has_zero_operand(op))
            return rewrite_windows(t);
        break;
    case IR_OP_pool:
        if (!ir_attr_int_or(op, "channels_last", 0) &&
            t->last[op->operand[0]->id])
            return rewrite_windows(t);
        break;
    case IR_OP_map:
        if (is_image_map(t))
            return rewrite_turned(t, ir_int("", 0), true);
        break;
    case IR_OP_reduce:
        if (is_without_order(op))
            return rewrite_reduce(t);
        break;
    case IR_OP_concat:
        if (is_image_concat(t))
            return rewrite_turned(
                t, ir_int("axis", op->result[0].type.rank - 1), false);
        break;
    default:
        break;
    }
    return copy_op(t);
}

static bool has_conv(const struct ir_module *module)
{
    for (int i = 0; i < module->n_ops; i++)
        if (module->ops[i]->kind == IR_OP_conv)
            return true;
    return false;
}

bool pass_channels_last(struct ir_module *module,
                        const struct pass_options *options,
                        struct ir_diag *diag)
{
    struct turner t = {.module = module, .diag = diag};
    (void)options;
    if (!has_conv(module))
        return true;
    ir_renumber(module);
    ir_arena_init(&t.scratch);
    struct ir_op **old = module->ops;
    const int n_old = module->n_ops;
    const size_t n = (size_t)ir_value_count(module);
    t.first = ir_alloc_array(&t.scratch, n, sizeof(*t.first));
    t.last = ir_alloc_array(&t.scratch, n, sizeof(*t.last));
    module->ops = NULL;
    module->n_ops = 0;
    bool good = true;
    for (int i = 0; i < n_old && good; i++) {
        t.old = old[i];
        good = rewrite_op(&t);
    }
    for (int i = 0; i < module->n_outputs && good; i++) {
        struct ir_output *out = &module->outputs[i];
        t.old = out->value->op;
        out->value = first_of(&t, out->value);
        good = out->value != NULL;
    }
    if (!good) {
        module->ops = old;
        module->n_ops = n_old;
    } else {
        ir_remove_dead_ops(module);
    }
    ir_arena_release(&t.scratch);
    return good;
}
