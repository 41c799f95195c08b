/* fold_trace.c: the one number that a feature is computed from, and how.
 *
 * Ops that work element by element, and those that only move elements, are
 * seen through; an element of any other op, or one computed from several
 * numbers, is a number by itself, from which others may be computed in turn.
 * What is computed from constants alone is a constant.
 */
#include "passes/fold.h"

#include <math.h>
#include <string.h>

/* A row of more elements than that, in all values, is not worth the memory. */
#define MAX_ELEMENTS ((int64_t)1 << 22)

/* ----------------------------------------------------------------- roots -- */

/* The element of operand `o` that element `index` of the op reads. */
static int64_t operand_index(const struct ir_op *op, int o, int64_t index)
{
    return ir_type_volume(&op->operand[o]->type) == 1 ? 0 : index;
}

static bool is_elementwise(const struct ir_op *op)
{
    switch (op->kind) {
    case IR_OP_map:
        return ir_is_plain_map(op);
    case IR_OP_lookup:
    case IR_OP_bucketize:
    case IR_OP_interp:
        return true;
    default:
        return ir_op_table[op->kind].program != NULL;
    }
}

static bool is_move(const struct ir_op *op)
{
    return op->kind == IR_OP_gather ||
           (op->kind == IR_OP_concat && ir_is_plain_concat(op));
}

/* What element `index` of gather and concat is: one of an operand. */
static const struct ir_value *moved_from(const struct ir_op *op,
                                         int64_t *index)
{
    int o = 0;
    if (op->kind == IR_OP_gather) {
        const int32_t *from = ir_attr_tensor(op, "index")->data;
        *index = from[*index];
        return op->operand[0];
    }
    while (*index >= ir_type_volume(&op->operand[o]->type))
        *index -= ir_type_volume(&op->operand[o++]->type);
    return op->operand[o];
}

/* The one root of all operands of an element; its own number if they differ. */
static int64_t common_root(const struct fold_graph *g, const struct ir_op *op,
                           int64_t index, int64_t own)
{
    int64_t root = FOLD_CONSTANT;
    for (int o = 0; o < op->n_operands; o++) {
        const int64_t at = pass_fold_number(g, op->operand[o],
                                            operand_index(op, o, index));
        if (g->root[at] == FOLD_CONSTANT)
            continue;
        if (root != FOLD_CONSTANT && root != g->root[at])
            return own;
        root = g->root[at];
    }
    return root;
}

static void set_moved_roots(struct fold_graph *g, const struct ir_op *op)
{
    int64_t to = g->first[op->result[0].id];
    if (op->kind == IR_OP_gather) {
        for (int64_t i = 0; i < ir_type_volume(&op->result[0].type); i++) {
            int64_t index = i;
            const struct ir_value *x = moved_from(op, &index);
            g->root[to++] = g->root[pass_fold_number(g, x, index)];
        }
        return;
    }
    for (int o = 0; o < op->n_operands; o++)
        for (int64_t i = 0; i < ir_type_volume(&op->operand[o]->type); i++)
            g->root[to++] = g->root[pass_fold_number(g, op->operand[o], i)];
}

/* A number of the row is an f32 when all ops that read it read it as one. */
static void set_dtypes(struct fold_graph *g, const struct ir_value *value)
{
    const int64_t first = pass_fold_number(g, value, 0);
    for (int64_t i = 0; i < ir_type_volume(&value->type); i++)
        g->is_f32[first + i] = value->type.dtype == IR_F32 &&
                               (value->op->kind != IR_OP_input ||
                                g->is_f32[first + i]);
}

static void set_roots(struct fold_graph *g, const struct ir_op *op)
{
    for (int r = 0; r < op->n_results; r++)
        set_dtypes(g, &op->result[r]);
    if (op->kind == IR_OP_input)
        return;
    if (is_move(op)) {
        set_moved_roots(g, op);
        return;
    }
    for (int r = 0; r < op->n_results; r++) {
        const int64_t first = g->first[op->result[r].id];
        for (int64_t i = 0; i < ir_type_volume(&op->result[r].type); i++) {
            g->root[first + i] = first + i;
            if (op->kind == IR_OP_constant)
                g->root[first + i] = FOLD_CONSTANT;
            else if (is_elementwise(op))
                g->root[first + i] = common_root(g, op, i, first + i);
        }
    }
}

/* Gives every element its number; returns how many there are, or -1. */
static int64_t number_elements(struct fold_graph *g)
{
    int64_t n = g->row_elements;
    for (int i = 0; i < g->module->n_ops; i++) {
        const struct ir_op *op = g->module->ops[i];
        for (int r = 0; r < op->n_results; r++) {
            const int64_t volume = ir_type_volume(&op->result[r].type);
            g->first[op->result[r].id] = n;
            if (volume < 0 || (n += volume) > MAX_ELEMENTS)
                return -1;
        }
    }
    return n;
}

int64_t pass_fold_graph_init(struct fold_graph *g,
                             const struct ir_module *module,
                             struct ir_arena *arena)
{
    *g = (struct fold_graph){.module = module};
    g->row_elements = ir_row_elements(module);
    g->first = ir_alloc_array(arena, (size_t)ir_value_count(module),
                              sizeof(*g->first));
    const int64_t n = number_elements(g);
    if (n < 0)
        return -1;
    g->root = ir_alloc_array(arena, (size_t)n, sizeof(*g->root));
    g->is_f32 = ir_alloc_array(arena, (size_t)n, sizeof(*g->is_f32));
    for (int64_t i = 0; i < g->row_elements; i++) {
        g->root[i] = i;
        g->is_f32[i] = true;
    }
    for (int i = 0; i < module->n_ops; i++)
        set_roots(g, module->ops[i]);
    return n;
}

int64_t pass_fold_number(const struct fold_graph *g,
                         const struct ir_value *value, int64_t index)
{
    const struct ir_op *op = value->op;
    if (op->kind == IR_OP_input)
        return ir_column_offset(g->module, (int)ir_attr_int(op, "first")) +
               index;
    return g->first[value->id] + index;
}

const struct ir_value *pass_fold_origin(const struct ir_value *value,
                                        int64_t *index)
{
    while (is_move(value->op))
        value = moved_from(value->op, index);
    return value;
}

enum ir_dtype pass_fold_root_dtype(const struct fold_graph *g,
                                   const struct ir_value *value, int64_t index)
{
    const int64_t root = g->root[pass_fold_number(g, value, index)];
    return root == FOLD_CONSTANT || g->is_f32[root] ? IR_F32 : IR_F64;
}

/* ------------------------------------------------------------- functions -- */

struct tracer {
    const struct fold_graph *graph;
    struct fold_function *f;
    int64_t root;
    int n_open; /* elements being traced */
    int n_seen; /* elements that already are steps */
    struct {
        const struct ir_value *value;
        int64_t index;
        int step;
    } seen[FOLD_MAX_STEPS];
};

/* Every step number below: -1 when there is no more room. */

static int add_step(struct tracer *t, struct fold_step step)
{
    if (t->f->n == FOLD_MAX_STEPS)
        return -1;
    t->f->step[t->f->n] = step;
    return t->f->n++;
}

static int add_number(struct tracer *t, double number)
{
    return add_step(t, (struct fold_step){.kind = FOLD_NUMBER,
                                          .number = number});
}

static bool is_number(const struct tracer *t, int step)
{
    return t->f->step[step].kind == FOLD_NUMBER;
}

static int add_round(struct tracer *t, int x)
{
    if (is_number(t, x))
        return add_number(t, (double)(float)t->f->step[x].number);
    return add_step(t, (struct fold_step){.kind = FOLD_ROUND, .x = {x}});
}

/* A map's step over `n` earlier ones. */
static int add_map(struct tracer *t, enum ir_step_kind map,
                   enum ir_dtype dtype, int n, const int *x)
{
    struct fold_step step = {.kind = FOLD_MAP, .map = map, .dtype = dtype};
    double number[3] = {0};
    bool all_numbers = true;
    for (int i = 0; i < n; i++) {
        step.x[i] = x[i];
        number[i] = t->f->step[x[i]].number;
        all_numbers = all_numbers && is_number(t, x[i]);
    }
    if (all_numbers)
        return add_number(t, pass_fold_apply(map, dtype, number));
    if (map == IR_STEP_WHERE && is_number(t, x[0]))
        return number[0] != 0 ? x[1] : x[2];
    return add_step(t, step);
}

static int trace_element(struct tracer *t, const struct ir_value *value,
                         int64_t index);

/* The program over element `index` of a map's operands. */
static int trace_program(struct tracer *t, const struct ir_op *op,
                         int64_t index)
{
    struct ir_step steps[IR_MAX_STEPS];
    struct ir_diag diag;
    int stack[IR_MAX_STEP_DEPTH];
    int depth = 0;
    const enum ir_dtype dtype = op->operand[0]->type.dtype;
    const char *program = ir_op_table[op->kind].program;
    ir_diag_init(&diag);
    const int n = ir_program_parse(
        program ? program : ir_attr_string(op, "program"), op, steps, &diag);
    ir_diag_release(&diag);
    for (int i = 0; i < n; i++) {
        const int taken = ir_step_operands(steps[i].kind);
        int new;
        depth -= taken;
        if (steps[i].kind == IR_STEP_OPERAND)
            new = trace_element(t, op->operand[steps[i].index],
                                operand_index(op, steps[i].index, index));
        else if (steps[i].kind == IR_STEP_NUMBER)
            new = add_number(t, dtype == IR_F32 ? (double)(float)steps[i].number
                                                : steps[i].number);
        else
            new = add_map(t, steps[i].kind, dtype, taken, stack + depth);
        if (new < 0)
            return -1;
        stack[depth++] = new;
    }
    return op->result[0].type.dtype == IR_F32 && dtype == IR_F64
               ? add_round(t, stack[0])
               : stack[0];
}

/* Whether the line through an interp's points rises and has slopes and
 * lengths that are finite as they are computed. */
static bool rises(const struct ir_op *op)
{
    const struct ir_tensor *x = ir_attr_tensor(op, "x");
    const struct ir_tensor *y = ir_attr_tensor(op, "y");
    const enum ir_dtype dtype = x->type.dtype;
    for (size_t i = 1; i < (size_t)x->type.dim[0]; i++) {
        const double length[] = {ir_real(x->data, dtype, i),
                                 ir_real(x->data, dtype, i - 1)};
        const double rise[] = {ir_real(y->data, dtype, i),
                               ir_real(y->data, dtype, i - 1)};
        const double parts[] = {pass_fold_apply(IR_STEP_SUB, dtype, rise),
                                pass_fold_apply(IR_STEP_SUB, dtype, length)};
        if (rise[0] < rise[1] || !isfinite(parts[1]))
            return false;
        if (parts[1] > 0 &&
            !isfinite(pass_fold_apply(IR_STEP_DIV, dtype, parts)))
            return false;
    }
    return true;
}

static int trace_search(struct tracer *t, const struct ir_op *op,
                        int64_t index)
{
    const int x = trace_element(t, op->operand[0], index);
    if (x < 0)
        return -1;
    if (is_number(t, x))
        return add_number(t, ir_element(op, t->f->step[x].number));
    struct fold_step step = {.kind = FOLD_ELEMENT, .x = {x}, .op = op};
    if (op->kind == IR_OP_interp)
        step.ascending = rises(op);
    return add_step(t, step);
}

static double constant_at(const struct ir_op *op, int64_t index)
{
    const struct ir_tensor *value = ir_attr_tensor(op, "value");
    if (value->type.dtype == IR_I32)
        return ((const int32_t *)value->data)[index];
    return ir_real(value->data, value->type.dtype, (size_t)index);
}

/* The number that all is traced back to. */
static int trace_root(struct tracer *t, const struct ir_value *value,
                      int64_t index)
{
    const int step = add_step(t, (struct fold_step){.kind = FOLD_SOURCE});
    t->f->source = value;
    t->f->index = index;
    if (step < 0 || value->type.dtype != IR_F32 || t->f->dtype == IR_F32)
        return step;
    return value->op->kind == IR_OP_input ? add_round(t, step) : step;
}

static int trace_new(struct tracer *t, const struct ir_value *value,
                     int64_t index)
{
    const struct ir_op *op = value->op;
    if (pass_fold_number(t->graph, value, index) == t->root)
        return trace_root(t, value, index);
    switch (op->kind) {
    case IR_OP_gather:
    case IR_OP_concat:
        value = moved_from(op, &index);
        return trace_element(t, value, index);
    case IR_OP_constant:
        return add_number(t, constant_at(op, index));
    case IR_OP_lookup:
    case IR_OP_bucketize:
    case IR_OP_interp:
        return trace_search(t, op, index);
    default:
        return trace_program(t, op, index);
    }
}

/* Each element is traced once, and there are at most FOLD_MAX_STEPS open, which
 * bounds how deep this nests. */
static int trace_element(struct tracer *t, const struct ir_value *value,
                         int64_t index)
{
    for (int i = 0; i < t->n_seen; i++)
        if (t->seen[i].value == value && t->seen[i].index == index)
            return t->seen[i].step;
    if (t->n_open == FOLD_MAX_STEPS)
        return -1;
    t->n_open++;
    const int step = trace_new(t, value, index);
    t->n_open--;
    if (step < 0 || t->n_seen == FOLD_MAX_STEPS)
        return -1;
    t->seen[t->n_seen].value = value;
    t->seen[t->n_seen].index = index;
    t->seen[t->n_seen++].step = step;
    return step;
}

bool pass_fold_trace(const struct fold_graph *g, const struct ir_value *value,
                     int64_t index, enum ir_dtype dtype,
                     struct fold_function *f)
{
    struct tracer t = {.graph = g, .f = f};
    t.root = g->root[pass_fold_number(g, value, index)];
    f->source = NULL;
    f->index = 0;
    f->dtype = dtype;
    f->n = 0;
    const int result = trace_element(&t, value, index);
    if (result < 0)
        return false;
    f->n = result + 1; /* what comes after it is not needed */
    return true;
}
