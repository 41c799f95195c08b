/* kernelise.c: model ops -> kernel ops.
 *
 * The list of ops is written anew from the first to the last, so that the pass
 * is linear; on failure the module stays as it was. A map whose operand is a
 * map used nowhere else takes that map's program into its own; only maps of
 * one dtype throughout are fused, but that what they read may be bytes, and the
 * last result too: a program's every step is rounded to the dtype that the map
 * computes in, so there no bit can change.
 *
 * A concat of columns that lie side by side in the row becomes one input.
 */
#include "passes/rewrite.h"

#include <string.h>

struct rewriter {
    struct ir_module *module;
    struct ir_diag *diag;
    struct ir_arena scratch;
    const int *uses;      /* of old values, by id */
    struct ir_value **to; /* what an old value, by id, became */
    struct ir_op *old;    /* being rewritten */
};

/* Appends an op in the place of the old one. */
static struct ir_op *append(struct rewriter *w, enum ir_op_kind kind,
                            int n_operands, struct ir_value *const *operands,
                            int n_attrs, const struct ir_attr *attrs)
{
    struct ir_op *op = ir_add_op(w->module, kind, n_operands, operands,
                                 n_attrs, attrs, w->diag);
    if (op)
        op->loc = w->old->loc;
    return op;
}

/* The old op's results are now those of `op`. */
static bool become(struct rewriter *w, struct ir_op *op)
{
    for (int i = 0; op && i < w->old->n_results; i++)
        w->to[w->old->result[i].id] = &op->result[i];
    return op != NULL;
}

static struct ir_value *operand(const struct rewriter *w, int i)
{
    return w->to[w->old->operand[i]->id];
}

/* ------------------------------------------------------------------ maps -- */

#define MAX_MAP_OPERANDS 4

/* A map being put together: its program and what x0, x1, ... are. */
struct map {
    struct ir_text program;
    int n;
    struct ir_value *x[MAX_MAP_OPERANDS];
    bool too_many;
};

static void put_word(struct map *map, const char *word, size_t length)
{
    if (map->program.length > 0)
        ir_text_puts(&map->program, " ");
    ir_text_append(&map->program, word, length);
}

static void put_operand(struct map *map, struct ir_value *x)
{
    int i = 0;
    while (i < map->n && map->x[i] != x)
        i++;
    if (i == MAX_MAP_OPERANDS) {
        map->too_many = true;
        return;
    }
    map->x[i] = x;
    map->n = i < map->n ? map->n : i + 1;
    put_word(map, (const char[]){'x', (char)('0' + i)}, 2);
}

/* Appends `program` over `x`; operand `inner` (or -1) is replaced by the
 * program of the map that defines it. That map has already taken in what it
 * could, so this goes one level deep. */
static void put_program(struct map *map, const char *program,
                        struct ir_value *const *x, int inner)
{
    for (const char *word = program; *word;) {
        const size_t length = strcspn(word, " ");
        const int i = pass_operand_number(word, length);
        if (i < 0 && length > 0)
            put_word(map, word, length);
        else if (i >= 0 && i == inner)
            put_program(map, ir_attr_string(x[i]->op, "program"),
                        x[i]->op->operand, -1);
        else if (i >= 0)
            put_operand(map, x[i]);
        word += length + strspn(word + length, " ");
    }
}

/* Whether operand i of the old map, now `x`, can be taken in: a map of one
 * shape throughout, whose result is of the dtype that it computes in, used by
 * this op alone, or so short that what it makes of a byte is made again. */
static bool is_fusible(const struct rewriter *w, int i,
                       const struct ir_value *x)
{
    const struct ir_op *op = x->op;
    if (op->kind != IR_OP_map || ir_compute_dtype(op) != x->type.dtype)
        return false;
    if (w->uses[w->old->operand[i]->id] != 1 &&
        (op->n_operands != 1 || op->operand[0]->type.dtype != IR_U8))
        return false;
    for (int k = 0; k < op->n_operands; k++)
        if (!pass_same_dims(&op->operand[k]->type, &x->type))
            return false;
    return true;
}

/* An operand that the program does not read may still be one that gives the
 * result its shape. */
static bool keeps_type(const struct map *map, int n,
                       struct ir_value *const *x)
{
    struct ir_type old, new;
    return map->n > 0 && ir_broadcast(n, x, &old) &&
           ir_broadcast(map->n, map->x, &new) && pass_same_dims(&old, &new);
}

/* Tries to take one of the operands' programs into `program`; true when it
 * did, with the map in `map`. */
static bool fuse(const struct rewriter *w, const char *program, int n,
                 struct ir_value *const *x, struct map *map)
{
    for (int i = 0; i < n; i++) {
        if (!pass_same_dims(&x[i]->type, &x[0]->type) ||
            !is_fusible(w, i, x[i]) ||
            !pass_may_take_in(program, i,
                              ir_attr_string(x[i]->op, "program")))
            continue;
        *map = (struct map){.n = 0};
        ir_text_init(&map->program);
        put_program(map, program, x, i);
        if (!map->too_many && keeps_type(map, n, x) &&
            pass_is_short(map->program.data))
            return true;
        ir_text_release(&map->program);
    }
    return false;
}

static struct ir_op *append_map(struct rewriter *w, const char *program,
                                const char *dtype, int n,
                                struct ir_value *const *x)
{
    const struct ir_attr attrs[] = {ir_string("program", program),
                                    ir_string("dtype", dtype)};
    return append(w, IR_OP_map, n, x, 2, attrs);
}

/* The old op as a map with `program` over its operands. A map has few
 * operands, so the copy has a bound. */
static bool rewrite_map(struct rewriter *w, const char *program)
{
    struct ir_value *x[MAX_MAP_OPERANDS];
    const int n = w->old->n_operands;
    const char *dtype = ir_dtype_name(w->old->result[0].type.dtype);
    for (int i = 0; i < n; i++)
        x[i] = operand(w, i);
    struct map map;
    if (!fuse(w, program, n, x, &map))
        return become(w, append_map(w, program, dtype, n, x));
    const bool good = become(w, append_map(w, map.program.data, dtype, map.n,
                                           map.x));
    ir_text_release(&map.program);
    return good;
}

/* --------------------------------------------------------------- reduce -- */

/* A reduce with what the old op says of slices. */
static struct ir_op *append_reduce(struct rewriter *w, const char *kind,
                                   struct ir_value *x)
{
    static const char *const names[] = {"sum_dtype", "size", "inner", "last"};
    struct ir_attr attrs[5] = {ir_string("kind", kind)};
    int n = 1;
    for (int i = 0; i < 4; i++) {
        const struct ir_attr *a = ir_find_attr(w->old, names[i]);
        /* sum_dtype is of sums. */
        if (a && (i > 0 || !strcmp(kind, "sum")))
            attrs[n++] = *a;
    }
    return append(w, IR_OP_reduce, 1, &x, n, attrs);
}

/* The elements of x, in their order, as a value of these dims. */
static struct ir_value *append_shape(struct rewriter *w, struct ir_value *x,
                                     int rank, const int64_t *dims)
{
    int64_t stride[IR_MAX_RANK], dense = 1;
    struct ir_type type = {.dtype = x->type.dtype, .rank = rank};
    memcpy(type.dim, dims, (size_t)rank * sizeof(*dims));
    if (ir_type_equal(&type, &x->type))
        return x;
    for (int i = rank; i-- > 0; dense *= dims[i])
        stride[i] = dense;
    const struct ir_attr attrs[] = {
        ir_tensor_attr("shape", ir_tensor_copy(w->module, IR_I64, rank, dims)),
        ir_tensor_attr("strides",
                       ir_tensor_copy(w->module, IR_I64, rank, stride)),
        ir_int("offset", 0)};
    struct ir_op *op = append(w, IR_OP_view, 1, &x, 3, attrs);
    return op ? &op->result[0] : NULL;
}

/* Of a softmax. */
static const char *power_program(struct rewriter *w)
{
    return ir_sprintf(&w->scratch, "x0 x1 sub %s", ir_softmax_exp(w->old));
}

/* Softmax of slices: as of one, with what is the same for a slice as a dim of
 * 1. */
static bool rewrite_softmax_slices(struct rewriter *w)
{
    const struct ir_slices s = ir_slices_of(w->old);
    const int64_t whole[] = {s.outer, s.size, s.inner};
    const int64_t one[] = {s.outer, 1, s.inner};
    struct ir_value *x = operand(w, 0), *parts[2];
    const struct ir_type type = x->type;
    const char *dtype = ir_dtype_name(type.dtype);
    static const char *const kinds[] = {"max", "sum"};
    const char *const programs[] = {power_program(w), "x0 x1 div"};
    x = append_shape(w, x, 3, whole);
    for (int i = 0; i < 2 && x; i++) {
        struct ir_op *reduced = append_reduce(w, kinds[i], x);
        if (!reduced)
            return false;
        parts[0] = x;
        parts[1] = append_shape(w, &reduced->result[0], 3, one);
        struct ir_op *map =
            parts[1] ? append_map(w, programs[i], dtype, 2, parts) : NULL;
        x = map ? &map->result[0] : NULL;
    }
    x = x ? append_shape(w, x, type.rank, type.dim) : NULL;
    if (x)
        w->to[w->old->result[0].id] = x;
    return x != NULL;
}

/* exp(x - max) / sum, each step rounded as softmax has it. */
static bool rewrite_softmax(struct rewriter *w)
{
    struct ir_value *x = operand(w, 0);
    const char *dtype = ir_dtype_name(x->type.dtype);
    const struct ir_slices s = ir_slices_of(w->old);
    if (s.outer * s.inner > 1)
        return rewrite_softmax_slices(w);
    const struct ir_op *max = append_reduce(w, "max", x);
    if (!max)
        return false;
    struct ir_value *shifted[] = {x, &max->result[0]};
    const struct ir_op *e =
        append_map(w, power_program(w), dtype, 2, shifted);
    if (!e)
        return false;
    const struct ir_op *sum = append_reduce(w, "sum", &e->result[0]);
    if (!sum)
        return false;
    struct ir_value *parts[] = {&e->result[0], &sum->result[0]};
    return become(w, append_map(w, "x0 x1 div", dtype, 2, parts));
}

static bool copy_op(struct rewriter *w)
{
    const int n = w->old->n_operands;
    struct ir_value **x = ir_alloc_array(&w->scratch, (size_t)n, sizeof(*x));
    for (int i = 0; i < n; i++)
        x[i] = operand(w, i);
    return become(w, append(w, w->old->kind, n, x, w->old->n_attrs,
                            w->old->attr));
}

/* --------------------------------------------------------------- concat -- */

/* Whether operand i of the old op begins where the one before it ends. */
static bool follows(const struct rewriter *w, int i, int64_t end)
{
    const struct ir_op *op = operand(w, i)->op;
    return op->kind == IR_OP_input && ir_attr_int(op, "first") == end;
}

static bool rewrite_concat(struct rewriter *w)
{
    struct ir_value *first = operand(w, 0);
    if (w->old->n_operands == 1) {
        w->to[w->old->result[0].id] = first;
        return true;
    }
    if (first->op->kind != IR_OP_input || ir_find_attr(w->old, "axis"))
        return copy_op(w);
    const int64_t start = ir_attr_int(first->op, "first");
    int64_t end = start;
    for (int i = 0; i < w->old->n_operands; i++) {
        if (!follows(w, i, end))
            return copy_op(w);
        end += ir_attr_int(operand(w, i)->op, "count");
    }
    const struct ir_attr attrs[] = {
        ir_int("first", start), ir_int("count", end - start),
        ir_string("dtype", ir_dtype_name(first->type.dtype))};
    return become(w, append(w, IR_OP_input, 0, NULL, 3, attrs));
}

/* --------------------------------------------------------------- others -- */

static bool rewrite_trees(struct rewriter *w)
{
    const int n = w->old->n_attrs;
    struct ir_attr *attrs = ir_alloc_array(&w->scratch, (size_t)n + 1,
                                           sizeof(*attrs));
    if (n > 0)
        memcpy(attrs, w->old->attr, (size_t)n * sizeof(*attrs));
    attrs[n] = ir_int("code_bits", 0);
    struct ir_value *x = operand(w, 0);
    return become(w, append(w, IR_OP_forest, 1, &x, n + 1, attrs));
}

static bool rewrite_op(struct rewriter *w)
{
    const struct ir_op_info *info = &ir_op_table[w->old->kind];
    if (info->program)
        return rewrite_map(w, ir_program_bind(&w->scratch, w->old));
    switch (w->old->kind) {
    case IR_OP_trees:
        return rewrite_trees(w);
    case IR_OP_softmax:
        return rewrite_softmax(w);
    case IR_OP_argmax:
        return become(w, append_reduce(w, "argmax", operand(w, 0)));
    case IR_OP_concat:
        return rewrite_concat(w);
    case IR_OP_map:
        return rewrite_map(w, ir_attr_string(w->old, "program"));
    default:
        break;
    }
    if (!(info->level & IR_KERNEL))
        return ir_error(w->diag, w->old->loc,
                        "the op \"%s\" cannot be compiled yet", info->name);
    return copy_op(w);
}

bool pass_kernelise(struct ir_module *module,
                    const struct pass_options *options, struct ir_diag *diag)
{
    (void)options;
    struct rewriter w = {.module = module, .diag = diag};
    ir_arena_init(&w.scratch);
    w.uses = pass_count_uses(module, &w.scratch);
    struct ir_op **old = module->ops;
    const int n_old = module->n_ops;
    size_t n_values = 0;
    for (int i = 0; i < n_old; i++)
        n_values += (size_t)old[i]->n_results;
    w.to = ir_alloc_array(&w.scratch, n_values, sizeof(struct ir_value *));
    module->ops = NULL;
    module->n_ops = 0;
    bool good = true;
    for (int i = 0; i < n_old && good; i++) {
        w.old = old[i];
        good = rewrite_op(&w);
    }
    if (!good) {
        module->ops = old;
        module->n_ops = n_old;
    }
    for (int i = 0; i < module->n_outputs && good; i++)
        module->outputs[i].value = w.to[module->outputs[i].value->id];
    if (good)
        ir_remove_dead_ops(module);
    ir_arena_release(&w.scratch);
    return good;
}
