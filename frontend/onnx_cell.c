/* onnx_cell.c: loops that are recurrent layers. One step is built in a module
 * of its own, with the states before it and what comes in as inputs; when that
 * is a cell (onnx_match.c), the loop becomes a gemm of all steps' inputs and a
 * `scan`, as the ops LSTM, GRU and RNN do. Whatever else there is has the loop
 * made step by step.
 *
 * What counts the steps is run through beforehand, so that nothing is taken for
 * granted: neither that the condition holds to the end, nor that the steps'
 * parts are taken one after the other. */
#include "frontend/onnx_loop.h"

#include <string.h>

enum { MAX_STATES = 2, MAX_STEP_NODES = 200 };

struct cell {
    struct fe_onnx_loop *loop;
    /* What comes in at each step: of a Loop, what the node `gather` takes. */
    const Onnx__NodeProto *gather;
    const struct fe_onnx_value *x;
    int axis;
    int64_t first, step, steps; /* of x's dim */
    int n_states;
    size_t state[MAX_STATES];            /* among the carried values */
    struct fe_onnx_value in[MAX_STATES]; /* and what they are in the step */
    struct ir_value *part;               /* of x, in the step */
    struct ir_value *out[MAX_STATES];
    bool batched; /* the states get their batch by the first step */
    struct fe_onnx_cell of;
};

static const char *input_name(const struct fe_onnx_loop *l, size_t i)
{
    return fe_onnx_text(l->body->input[i]->name);
}

static const char *output_name(const struct fe_onnx_loop *l, size_t i)
{
    return fe_onnx_text(l->body->output[i]->name);
}

/* ----------------------------------------------------------------- shape -- */

/* Carried values of the row: one or two, of as many numbers. */
static bool find_states(struct cell *c)
{
    const struct fe_onnx_loop *l = c->loop;
    for (size_t k = 0; k < l->n_carried; k++) {
        if (!(fe_onnx_name_flags(l, input_name(l, l->n_before + k)) &
              FE_ONNX_ROW))
            continue;
        const struct fe_onnx_value *v = &l->carried[k];
        if (c->n_states == MAX_STATES ||
            (v->type != FE_ONNX_FLOAT && v->type != FE_ONNX_DOUBLE) ||
            v->labels || v->n != l->carried[c->n_states ? c->state[0] : k].n)
            return false;
        c->state[c->n_states++] = k;
    }
    return c->n_states > 0;
}

/* Or the node is none that the op's builder would take. */
static bool has_only_axis(const Onnx__NodeProto *node)
{
    return node->n_attribute == 0 ||
           (node->n_attribute == 1 && node->attribute[0]->has_i &&
            !strcmp(fe_onnx_text(node->attribute[0]->name), "axis"));
}

/* The node that takes a part of a value around the body, by a counter. */
static bool find_gather(struct fe_onnx *g, struct cell *c)
{
    const struct fe_onnx_loop *l = c->loop;
    for (size_t i = 0; i < l->body->n_node; i++) {
        const Onnx__NodeProto *node = l->body->node[i];
        if (!node->op_type || strcmp(node->op_type, "Gather") != 0 ||
            node->n_input != 2 || node->n_output != 1 ||
            fe_onnx_name_flags(l, node->input[0]) ||
            fe_onnx_name_flags(l, node->input[1]) != FE_ONNX_VARIES)
            continue;
        const struct fe_onnx_value *x = fe_onnx_find(g, node->input[0]);
        if (c->gather || !x || x->constant || !has_only_axis(node))
            return false;
        const int64_t axis = node->n_attribute ? node->attribute[0]->i : 0;
        if (axis < -x->rank || axis >= x->rank)
            return false;
        c->gather = node;
        c->axis = (int)(axis < 0 ? axis + x->rank : axis);
        c->x = x;
    }
    return c->gather != NULL;
}

/* Of a Scan nothing runs through them. */
static bool has_counter(const struct fe_onnx_loop *l)
{
    for (size_t k = 0; k < l->n_carried; k++)
        if (fe_onnx_name_flags(l, input_name(l, k)) == FE_ONNX_VARIES)
            return true;
    return false;
}

static bool find_input(struct fe_onnx *g, struct cell *c)
{
    const struct fe_onnx_loop *l = c->loop;
    if (l->n_before) {
        if (l->n_slices || !find_gather(g, c))
            return false;
    } else {
        if (l->n_slices != 1 || l->slice[0].x->constant || has_counter(l))
            return false;
        c->x = l->slice[0].x;
        c->axis = l->slice[0].axis;
        c->steps = l->limit;
        c->step = l->slice[0].reverse ? -1 : 1;
        c->first = l->slice[0].reverse ? c->steps - 1 : 0;
    }
    return c->x->rank >= 1 && !c->x->labels && !c->x->words &&
           (c->x->type == FE_ONNX_FLOAT || c->x->type == FE_ONNX_DOUBLE) &&
           !(c->x->batched && c->x->batch == c->axis);
}

/* -------------------------------------------------------------- one step -- */

/* `like` as an input of the module, which has n elements. */
static bool add_input(struct fe_onnx *g, const char *name,
                      const struct fe_onnx_value *like,
                      struct fe_onnx_value *value)
{
    const int first = g->module->n_columns;
    const char *dtype = ir_dtype_name(fe_onnx_dtype(like->type));
    ir_add_column(g->module, ir_sprintf(&g->scratch, "i%d", first),
                  IR_TENSOR_COLUMN, like->n);
    const struct ir_attr attrs[] = {ir_int("first", first),
                                    ir_int("count", 1),
                                    ir_string("dtype", dtype)};
    *value = (struct fe_onnx_value){
        .type = like->type, .rank = like->rank, .n = like->n,
        .batched = like->batched, .batch = like->batch, .ahead = like->ahead};
    memcpy(value->dim, like->dim, sizeof value->dim);
    value->rows = fe_onnx_op(g, IR_OP_input, 0, NULL, 3, attrs);
    return value->rows && fe_onnx_define(g, name, value);
}

static bool add_inputs(struct fe_onnx *g, struct cell *c)
{
    const struct fe_onnx_loop *l = c->loop;
    for (int s = 0; s < c->n_states; s++) {
        struct fe_onnx_value state = l->carried[c->state[s]];
        if (c->batched && !state.batched) { /* it is once there was a step */
            state.batched = true;
            state.batch = c->in[s].batch;
        }
        if (!add_input(g, input_name(l, l->n_before + c->state[s]), &state,
                       &c->in[s]))
            return false;
    }
    struct fe_onnx_value part = *c->x, given;
    part.n /= part.dim[c->axis];
    memmove(part.dim + c->axis, part.dim + c->axis + 1,
            (size_t)(--part.rank - c->axis) * sizeof *part.dim);
    part.batch -= part.batched && part.batch > c->axis;
    if (!add_input(g, c->gather ? c->gather->output[0]
                                : input_name(l, l->n_carried), &part, &given))
        return false;
    c->part = given.rows;
    return true;
}

static bool has_graph(const Onnx__NodeProto *node)
{
    for (size_t i = 0; i < node->n_attribute; i++)
        if (node->attribute[i]->g)
            return true;
    return false;
}

/* A step with graphs in it is no cell: loops in loops would be tried again at
 * each level, which takes time without end. */
static bool build_nodes(struct fe_onnx *g, const struct cell *c)
{
    const Onnx__GraphProto *body = c->loop->body;
    size_t n = 0;
    for (size_t i = 0; i < c->loop->n_varying; i++) {
        const size_t at = c->loop->varying[i].node;
        const Onnx__NodeProto *node = body->node[at];
        if (node == c->gather ||
            !(c->loop->varying[i].flags & FE_ONNX_ROW))
            continue;
        for (size_t k = 0; k < node->n_input; k++)
            if (fe_onnx_name_flags(c->loop, node->input[k]) == FE_ONNX_VARIES)
                return false; /* or it would be one of that name outside */
        if (n++ == MAX_STEP_NODES || has_graph(node) ||
            !fe_onnx_build_node(g, node, at))
            return false;
    }
    return true;
}

/* The states after the step; their batch, where they get one, into *again. */
static bool read_states(struct fe_onnx *g, struct cell *c, bool *again)
{
    for (int s = 0; s < c->n_states; s++) {
        const struct fe_onnx_value *v =
            fe_onnx_find(g, output_name(c->loop, c->loop->n_after +
                                                     c->state[s]));
        const struct fe_onnx_value *in = &c->in[s];
        bool same = v && v->rows && !v->labels && v->type == in->type &&
                    v->rank == in->rank && v->ahead == 0 && in->ahead == 0;
        for (int d = 0; same && d < v->rank; d++)
            same = v->dim[d] == in->dim[d];
        if (!same || (in->batched && v->batch != in->batch))
            return false;
        if (v->batched && !in->batched) {
            *again = !c->batched;
            if (c->batched)
                return false;
            c->in[s].batch = v->batch;
        }
        c->out[s] = v->rows;
    }
    return true;
}

/* Stacks can only be of h. */
static bool check_stacks(struct fe_onnx *g, const struct cell *c, int h)
{
    const struct fe_onnx_loop *l = c->loop;
    for (size_t s = 0; s < l->n_stacks; s++) {
        const size_t i = l->n_carried + s;
        if (!fe_onnx_is_asked_for(g, i))
            continue;
        const struct fe_onnx_value *v =
            fe_onnx_find(g, output_name(l, l->n_after + i));
        if (!v || !v->rows || v->rank != c->in[h].rank ||
            v->type != c->in[h].type || v->batched != c->in[h].batched ||
            !fe_onnx_is_same(v->rows, c->out[h]))
            return false;
        for (int d = 0; d < v->rank; d++)
            if (v->dim[d] != c->in[h].dim[d])
                return false;
    }
    return true;
}

/* Whether the step is a cell, whichever of the states is h. */
static bool match(struct fe_onnx *g, struct cell *c)
{
    for (int h = 0; h < c->n_states; h++) {
        struct ir_value *in[MAX_STATES], *out[MAX_STATES];
        for (int s = 0; s < c->n_states; s++) {
            in[s] = c->in[h ? c->n_states - 1 - s : s].rows;
            out[s] = c->out[h ? c->n_states - 1 - s : s];
        }
        if (!fe_onnx_match_cell(g, c->n_states, c->part, in, out, &c->of) ||
            !check_stacks(g, c, h))
            continue;
        if (h) {
            const struct fe_onnx_value other = c->in[0];
            const size_t k = c->state[0];
            c->in[0] = c->in[1];
            c->in[1] = other;
            c->state[0] = c->state[1];
            c->state[1] = k;
        }
        return true;
    }
    return false;
}

static bool build_step(struct fe_onnx *g, struct cell *c, bool *again)
{
    struct fe_onnx_scope scope, *const outer = g->scope;
    const struct fe_onnx_aside aside = fe_onnx_set_aside(g, "step");
    fe_onnx_open_scope(g, &scope, c->loop->n_names, true);
    bool good = add_inputs(g, c) && build_nodes(g, c) &&
                read_states(g, c, again) && (*again || match(g, c));
    g->scope = outer;
    fe_onnx_take_back(g, &aside);
    return good;
}

static bool is_cell(struct fe_onnx *g, struct cell *c)
{
    bool again = false;
    bool good = find_states(c) && find_input(g, c) &&
                build_step(g, c, &again);
    if (good && again) {
        c->batched = true;
        again = false;
        good = build_step(g, c, &again);
    }
    return good;
}

/* -------------------------------------------------------------- counting -- */

/* The place of x that step `steps` takes. */
static bool read_index(struct fe_onnx *g, struct cell *c)
{
    const struct fe_onnx_value *v = fe_onnx_find(g, c->gather->input[1]);
    const int64_t size = c->x->dim[c->axis];
    if (!v || !v->constant || !v->constant->whole || v->rank != 0)
        return false;
    int64_t at = v->constant->whole[0];
    at += at < 0 ? size : 0;
    if (at < 0 || at >= size)
        return false;
    if (c->steps == 0)
        c->first = at;
    else if (c->steps == 1)
        c->step = at - c->first;
    return at == c->first + c->steps * c->step;
}

static bool count_step(struct fe_onnx *g, struct cell *c, size_t size,
                       size_t n_names)
{
    struct fe_onnx_loop *l = c->loop;
    struct fe_onnx_scope scope, *const outer = g->scope;
    if (!fe_onnx_take_step(g, l, size))
        return false;
    fe_onnx_open_scope(g, &scope, n_names, false);
    bool good = fe_onnx_start_step(g, l);
    for (size_t i = 0; good && i < l->n_varying; i++) {
        const size_t at = l->varying[i].node;
        if (l->varying[i].flags == FE_ONNX_VARIES)
            good = fe_onnx_build_node(g, l->body->node[at], at);
    }
    good = good && fe_onnx_read_condition(g, l) && read_index(g, c);
    for (size_t k = 0; good && k < l->n_carried; k++) {
        if (fe_onnx_name_flags(l, input_name(l, l->n_before + k)) !=
            FE_ONNX_VARIES)
            continue;
        const struct fe_onnx_value *v =
            fe_onnx_find(g, output_name(l, l->n_after + k));
        good = v && v->constant;
        if (good)
            l->carried[k] = *v;
    }
    g->scope = outer;
    return good;
}

/* Runs through the counters of a Loop: how many steps there are, and which
 * part of x each takes. */
static bool count_steps(struct fe_onnx *g, struct cell *c)
{
    struct fe_onnx_loop *l = c->loop;
    size_t names = l->body->n_input, size = names;
    for (size_t i = 0; i < l->n_varying; i++) {
        const Onnx__NodeProto *node = l->body->node[l->varying[i].node];
        if (l->varying[i].flags == FE_ONNX_VARIES) {
            names += node->n_output;
            size += fe_onnx_node_size(node);
        }
    }
    for (; l->steps < l->limit && l->condition; l->steps++, c->steps++)
        if (!count_step(g, c, size, names))
            return false;
    return c->steps > 0;
}

/* ------------------------------------------------------------------ scan -- */

/* The parts of x that the steps take, as rows. */
static struct ir_value *steps_of(struct fe_onnx *g, const struct cell *c)
{
    const struct fe_onnx_value *x = c->x;
    int64_t own[IR_MAX_RANK], dim[IR_MAX_RANK], stride[IR_MAX_RANK];
    fe_onnx_strides(x->rank, x->dim, own);
    dim[0] = c->steps;
    stride[0] = c->step * own[c->axis];
    for (int d = 0, at = 1; d < x->rank; d++)
        if (d != c->axis) {
            dim[at] = x->dim[d];
            stride[at++] = own[d];
        }
    const int64_t rows[] = {c->steps, c->of.inputs};
    struct ir_value *v = fe_onnx_strided(g, x->rows, x->rank, dim, stride,
                                         c->first * own[c->axis]);
    return fe_onnx_shaped(g, v, 2, rows);
}

static struct ir_value *start_of(struct fe_onnx *g, const struct cell *c)
{
    struct ir_value *part[MAX_STATES];
    for (int s = 0; s < c->n_states; s++) {
        struct ir_value *rows =
            fe_onnx_numbers(g, &c->loop->carried[c->state[s]]);
        part[s] = fe_onnx_shaped(g, rows, 1, &c->of.hidden);
        if (!part[s])
            return NULL;
    }
    return fe_onnx_concat(g, c->n_states, part);
}

static struct ir_op *add_scan(struct fe_onnx *g, const struct cell *c)
{
    const struct fe_onnx_cell *of = &c->of;
    const int64_t h = of->hidden, n = of->n_gates * h, dim[] = {h, n};
    const enum ir_dtype dtype = fe_onnx_dtype(c->x->type);
    struct ir_value *const operands[] = {
        fe_onnx_gemm_op(g, steps_of(g, c), of->inputs, n, of->w, of->bias,
                        NULL),
        start_of(g, c)};
    if (!operands[0] || !operands[1])
        return NULL;
    /* A gemm of one row gives a vector. */
    const int64_t gates[] = {c->steps, n};
    struct ir_value *const both[] = {
        fe_onnx_shaped(g, operands[0], 2, gates), operands[1]};
    struct ir_attr attrs[8];
    int i = 0;
    attrs[i++] = ir_string("cell", of->kind);
    attrs[i++] = ir_tensor_attr("recurrent",
                                fe_onnx_tensor(g, dtype, 2, dim, of->r));
    attrs[i++] = ir_int("reverse", 0);
    attrs[i++] = ir_string("gate", of->gate);
    if (of->candidate)
        attrs[i++] = ir_string("candidate", of->candidate);
    if (of->output)
        attrs[i++] = ir_string("output", of->output);
    if (of->reset_after)
        attrs[i++] = ir_int("linear_before_reset", 1);
    if (of->recurrent_bias)
        attrs[i++] = ir_tensor_attr(
            "recurrent_bias",
            fe_onnx_tensor(g, dtype, 1, &h, of->recurrent_bias));
    struct ir_value *y = fe_onnx_take_elements(g, h * n)
                             ? fe_onnx_op(g, IR_OP_scan, 2, both, i, attrs)
                             : NULL;
    return y ? y->op : NULL;
}

/* The carried values and stacks after the last step. */
static bool set_results(struct fe_onnx *g, const struct cell *c,
                        struct ir_op *op)
{
    struct fe_onnx_loop *l = c->loop;
    const int64_t h = c->of.hidden;
    for (size_t k = 0; k < l->n_carried; k++)
        l->result[k] = l->carried[k];
    for (int s = 0; s < c->n_states; s++) {
        struct fe_onnx_value *state = &l->result[c->state[s]];
        *state = c->in[s];
        state->rows = fe_onnx_part(g, &op->result[1], s * h, 1, &h);
        if (!state->rows)
            return false;
    }
    for (size_t s = 0; s < l->n_stacks; s++) {
        struct fe_onnx_value *stack = &l->result[l->n_carried + s];
        if (!fe_onnx_is_asked_for(g, l->n_carried + s))
            continue;
        *stack = c->in[0];
        stack->rows = &op->result[0];
        if (stack->rank == IR_MAX_RANK)
            return fe_onnx_error(g, "its result has more than %d dims",
                                 IR_MAX_RANK);
        memmove(stack->dim + 1, stack->dim,
                (size_t)stack->rank++ * sizeof *stack->dim);
        stack->dim[0] = c->steps;
        stack->n *= c->steps;
        stack->batch++;
    }
    return true;
}

/* Whether it is one, and how its steps run. What that takes of elements is not
 * taken from the model's: all trials have as many once more. */
static bool try_cell(struct fe_onnx *g, struct cell *c)
{
    const int64_t left = g->elements_left, limit = g->elements_limit;
    const int64_t given = left < g->trials_left ? left : g->trials_left;
    struct fe_onnx_trial trial;
    fe_onnx_start_trial(g, &trial);
    g->elements_left = given;
    g->trials_left -= given;
    const bool found =
        is_cell(g, c) && (!c->loop->n_before || count_steps(g, c));
    g->trials_left += g->elements_left;
    g->elements_left = left + g->elements_limit - limit; /* of files opened */
    fe_onnx_end_trial(g, &trial);
    return found;
}

bool fe_onnx_build_cell(struct fe_onnx *g, struct fe_onnx_loop *l, bool *good)
{
    struct cell c = {.loop = l};
    const struct fe_onnx_loop before = *l;
    const int64_t left = g->subgraphs_left;
    struct fe_onnx_value *const carried = l->carried;
    l->carried = ir_alloc_array(&g->scratch, l->n_carried, sizeof *carried);
    if (l->n_carried)
        memcpy(l->carried, carried, l->n_carried * sizeof *carried);
    if (!try_cell(g, &c)) {
        *l = before;
        g->subgraphs_left = left;
        return false;
    }
    struct ir_op *op = add_scan(g, &c);
    *good = op && set_results(g, &c, op);
    return true;
}
