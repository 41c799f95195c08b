/* bytes.c: what is made of bytes stays bytes for as long as it can.
 *
 * Quantised nets turn bytes into reals, (byte - zero) * scale, before each op
 * that is none on bytes, and back after it. Where that op only moves elements,
 * or takes the largest of some and the map never falls, it is done on the bytes
 * and the map comes after it. And where maps of one operand lead from bytes to
 * bytes and change none, they are left out. There are only 256 numbers that a
 * byte can be, so whether this holds is tried, not proved.
 *
 * The list of ops is written anew from the first to the last. What is left over
 * of the maps is kernelise's to fuse. No number changes. */
#include "passes/rewrite.h"

#include "ir/steps.h"

#include <math.h>
#include <string.h>

enum { most_links = 4, n_bytes = 256 };

struct rewriter {
    struct ir_module *module;
    struct ir_diag *diag;
    struct ir_arena scratch;
    struct ir_value **to; /* what an old value, by id, became */
    struct ir_op *old;    /* being rewritten */
};

/* Maps of one operand, one of the other, from bytes on. */
struct chain {
    struct ir_value *bytes;
    int n;
    const struct ir_op *link[most_links]; /* from the bytes on */
};

static bool find_chain(struct ir_value *v, struct chain *chain)
{
    const struct ir_op *found[most_links];
    int n = 0;
    while (v->type.dtype != IR_U8) {
        if (v->op->kind != IR_OP_map || v->op->n_operands != 1 ||
            n == most_links)
            return false;
        found[n++] = v->op;
        v = v->op->operand[0];
    }
    *chain = (struct chain){.bytes = v, .n = n};
    for (int i = 0; i < n; i++)
        chain->link[i] = found[n - 1 - i];
    return n > 0;
}

/* What a map makes of each of 256 numbers. */
static void apply(const struct ir_op *map, double numbers[n_bytes])
{
    struct ir_step steps[IR_MAX_STEPS];
    struct ir_diag ignored;
    const enum ir_dtype to = map->result[0].type.dtype;
    ir_diag_init(&ignored);
    const int n = ir_program_parse(ir_attr_string(map, "program"), map, steps,
                                   &ignored);
    ir_diag_release(&ignored);
    for (int i = 0; i < n_bytes; i++) {
        const double v =
            ir_program_eval(steps, n, &numbers[i], ir_compute_dtype(map));
        numbers[i] = to == IR_F32 ? (double)(float)v
                     : to == IR_U8 ? ir_to_u8(v) : v;
    }
}

static void apply_chain(const struct chain *chain, double numbers[n_bytes])
{
    for (int i = 0; i < n_bytes; i++)
        numbers[i] = i;
    for (int i = 0; i < chain->n; i++)
        apply(chain->link[i], numbers);
}

static bool never_falls(const struct chain *chain)
{
    double v[n_bytes];
    apply_chain(chain, v);
    for (int i = 1; i < n_bytes; i++)
        if (!(v[i] >= v[i - 1]))
            return false;
    return true;
}

/* Whether the chain, and then the map, give the bytes back. */
static bool is_identity(const struct chain *chain, const struct ir_op *map)
{
    double v[n_bytes];
    apply_chain(chain, v);
    apply(map, v);
    for (int i = 0; i < n_bytes; i++)
        if (v[i] != i)
            return false;
    return true;
}

static bool are_alike(const struct chain *a, const struct chain *b)
{
    if (a->n != b->n)
        return false;
    for (int i = 0; i < a->n; i++) {
        const struct ir_op *x = a->link[i], *y = b->link[i];
        if (strcmp(ir_attr_string(x, "program"),
                   ir_attr_string(y, "program")) != 0 ||
            x->result[0].type.dtype != y->result[0].type.dtype)
            return false;
    }
    return true;
}

/* Whether each window has an element: that of none is -infinity, or of bytes
 * 0. */
static bool are_filled(const struct ir_op *pool)
{
    struct ir_window w;
    ir_window_view(pool, &w);
    for (int i = 0; i < IR_MAX_SPACE; i++)
        for (int64_t o = 0; o < w.dim[i].out; o++) {
            int64_t k = 0;
            while (k < w.dim[i].kernel && ir_window_at(&w.dim[i], o, k) < 0)
                k++;
            if (k == w.dim[i].kernel)
                return false;
        }
    return true;
}

/* ---------------------------------------------------------------- writing */

static struct ir_value *append(struct rewriter *w, const struct ir_op *like,
                               int n, struct ir_value *const *x)
{
    struct ir_op *op = ir_add_op(w->module, like->kind, n, x, like->n_attrs,
                                 like->attr, w->diag);
    if (!op)
        return NULL;
    op->loc = like->loc;
    return &op->result[0];
}

static bool become(struct rewriter *w, struct ir_value *v)
{
    w->to[w->old->result[0].id] = v;
    return v != NULL;
}

/* The old op of bytes, and then the chain. */
static bool put_before(struct rewriter *w, const struct chain *chain,
                       struct ir_value *const *bytes)
{
    struct ir_value *v = append(w, w->old, w->old->n_operands, bytes);
    for (int i = 0; i < chain->n && v; i++)
        v = append(w, chain->link[i], 1, &v);
    return become(w, v);
}

static bool copy_op(struct rewriter *w, struct ir_value *const *x)
{
    struct ir_op *op = ir_add_op(w->module, w->old->kind, w->old->n_operands,
                                 x, w->old->n_attrs, w->old->attr, w->diag);
    if (!op)
        return false;
    op->loc = w->old->loc;
    for (int i = 0; i < w->old->n_results; i++)
        w->to[w->old->result[i].id] = &op->result[i];
    return true;
}

/* Fills `bytes` where all operands have such chains as the first has. */
static bool find_chains(struct rewriter *w, struct ir_value *const *x,
                        struct chain *chain, struct ir_value **bytes)
{
    struct chain other;
    for (int i = 0; i < w->old->n_operands; i++) {
        if (!find_chain(x[i], i ? &other : chain) ||
            (i && !are_alike(chain, &other)))
            return false;
        bytes[i] = i ? other.bytes : chain->bytes;
    }
    return w->old->n_operands > 0;
}

static bool rewrite_op(struct rewriter *w)
{
    const struct ir_op *op = w->old;
    const size_t n = (size_t)op->n_operands;
    struct ir_value **x = ir_alloc_array(&w->scratch, n + 1, sizeof(*x));
    struct ir_value **bytes =
        ir_alloc_array(&w->scratch, n + 1, sizeof(*bytes));
    struct chain chain;
    for (size_t i = 0; i < n; i++)
        x[i] = w->to[op->operand[i]->id];
    switch (op->kind) {
    case IR_OP_pool:
        if (!strcmp(ir_attr_string(op, "kind"), "max") && are_filled(op) &&
            find_chains(w, x, &chain, bytes) && never_falls(&chain))
            return put_before(w, &chain, bytes);
        break;
    case IR_OP_view:
    case IR_OP_concat:
        if (find_chains(w, x, &chain, bytes))
            return put_before(w, &chain, bytes);
        break;
    case IR_OP_map:
        if (n == 1 && op->result[0].type.dtype == IR_U8 &&
            find_chain(x[0], &chain) && is_identity(&chain, op))
            return become(w, chain.bytes);
        break;
    default:
        break;
    }
    return copy_op(w, x);
}

static bool has_bytes(const struct ir_module *module)
{
    for (int i = 0; i < module->n_ops; i++)
        if (module->ops[i]->result[0].type.dtype == IR_U8)
            return true;
    return false;
}

bool pass_bytes(struct ir_module *module, const struct pass_options *options,
                struct ir_diag *diag)
{
    struct rewriter w = {.module = module, .diag = diag};
    (void)options;
    if (!has_bytes(module))
        return true;
    ir_renumber(module);
    ir_arena_init(&w.scratch);
    struct ir_op **old = module->ops;
    const int n_old = module->n_ops;
    w.to = ir_alloc_array(&w.scratch, (size_t)ir_value_count(module),
                          sizeof(struct ir_value *));
    module->ops = NULL;
    module->n_ops = 0;
    bool good = true;
    for (int i = 0; i < n_old && good; i++) {
        w.old = old[i];
        good = rewrite_op(&w);
    }
    for (int i = 0; i < module->n_outputs && good; i++)
        module->outputs[i].value = w.to[module->outputs[i].value->id];
    if (!good) {
        module->ops = old;
        module->n_ops = n_old;
    } else {
        ir_remove_dead_ops(module);
    }
    ir_arena_release(&w.scratch);
    return good;
}
