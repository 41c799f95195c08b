/* onnx_loop.c: Loop and Scan. How many steps there are has to be known at
 * import; then the body is built once for each step. What is the same in all
 * steps is built once, and a loop that is a recurrent layer becomes a `scan`
 * (onnx_cell.c).
 *
 * How much may be built is limited in all (FE_ONNX_MAX_SUBGRAPHS), and counted
 * before a step is made: loops in loops are small files that stand for a lot.
 */
#include "frontend/onnx_loop.h"

#include <stdlib.h>
#include <string.h>

/* Constants of so few elements are what steps are counted by. */
enum { MAX_COUNTER = 16, MAX_COUNTERS = 16 };

/* ---------------------------------------------------------------- flags -- */

struct fe_onnx_flags {
    const char *name;
    int flags;
};

static struct fe_onnx_flags *flags_slot(const struct fe_onnx_loop *l,
                                        const char *name)
{
    size_t i = fe_onnx_hash(name) & (l->flags_size - 1);
    while (l->flags[i].name && strcmp(l->flags[i].name, name) != 0)
        i = (i + 1) & (l->flags_size - 1);
    return &l->flags[i];
}

int fe_onnx_name_flags(const struct fe_onnx_loop *l, const char *name)
{
    return flags_slot(l, name)->flags;
}

/* What the nodes of a subgraph ask for; names that it gives itself count as
 * well, which does no harm. */
static int graph_flags(const struct fe_onnx_loop *l,
                       const Onnx__GraphProto *graph)
{
    int flags = 0;
    for (size_t i = 0; i < graph->n_node; i++)
        flags |= fe_onnx_node_flags(l, graph->node[i]);
    for (size_t i = 0; i < graph->n_output; i++)
        flags |= fe_onnx_name_flags(l, fe_onnx_text(graph->output[i]->name));
    return flags;
}

int fe_onnx_node_flags(const struct fe_onnx_loop *l,
                       const Onnx__NodeProto *node)
{
    int flags = 0;
    for (size_t i = 0; i < node->n_input; i++)
        flags |= fe_onnx_name_flags(l, node->input[i]);
    for (size_t i = 0; i < node->n_attribute; i++)
        if (node->attribute[i]->g)
            flags |= graph_flags(l, node->attribute[i]->g);
    return flags;
}

static bool add_name(struct fe_onnx *g, struct fe_onnx_loop *l,
                     const char *name)
{
    struct fe_onnx_flags *slot = flags_slot(l, name);
    if (slot->name)
        return fe_onnx_error(g, "the name '%.200s' is given twice", name);
    slot->name = name;
    return true;
}

/* The names that the body gives, each once. */
static bool collect_names(struct fe_onnx *g, struct fe_onnx_loop *l)
{
    const Onnx__GraphProto *body = l->body;
    size_t n = body->n_input + 1;
    for (size_t i = 0; i < body->n_node; i++)
        n += body->node[i]->n_output;
    for (l->flags_size = 16; l->flags_size < 2 * n; l->flags_size *= 2)
        ;
    l->flags = ir_alloc_array(&g->scratch, l->flags_size, sizeof *l->flags);
    for (size_t i = 0; i < body->n_input; i++)
        if (!add_name(g, l, fe_onnx_text(body->input[i]->name)))
            return false;
    for (size_t i = 0; i < body->n_node; i++)
        for (size_t k = 0; k < body->node[i]->n_output; k++)
            if (*body->node[i]->output[k] &&
                !add_name(g, l, body->node[i]->output[k]))
                return false;
    for (size_t i = 0; i < body->n_initializer; i++)
        if (flags_slot(l, fe_onnx_text(body->initializer[i]->name))->name)
            return fe_onnx_error(g, "the name '%.200s' is given twice",
                                 body->initializer[i]->name);
    return true;
}

static const char *carried_name(const struct fe_onnx_loop *l, size_t k)
{
    return fe_onnx_text(l->body->input[l->n_before + k]->name);
}

static const char *next_name(const struct fe_onnx_loop *l, size_t k)
{
    return fe_onnx_text(l->body->output[l->n_after + k]->name);
}

bool fe_onnx_is_kept(const struct fe_onnx_loop *l, size_t k)
{
    return !strcmp(carried_name(l, k), next_name(l, k));
}

/* What the body's inputs start from. */
static void mark_inputs(struct fe_onnx_loop *l)
{
    size_t n_counters = 0;
    for (size_t i = 0; i < l->body->n_input; i++) {
        const size_t k = i - l->n_before;
        int flags = FE_ONNX_VARIES | FE_ONNX_ROW;
        if (i < l->n_before)
            flags = FE_ONNX_VARIES;
        else if (k < l->n_carried && fe_onnx_is_kept(l, k))
            flags = 0;
        else if (k < l->n_carried && l->carried[k].constant &&
                 l->carried[k].n <= MAX_COUNTER && n_counters < MAX_COUNTERS) {
            flags = FE_ONNX_VARIES;
            n_counters++;
        }
        flags_slot(l, fe_onnx_text(l->body->input[i]->name))->flags = flags;
    }
}

/* Whether a name is that of a value of the row which is around the body. */
static bool is_row(struct fe_onnx *g, const struct fe_onnx_loop *l,
                   const char *name)
{
    const struct fe_onnx_value *x =
        *name && !fe_onnx_name_flags(l, name) ? fe_onnx_find(g, name) : NULL;
    return x && !x->constant;
}

/* Whether the node sees such a value. */
static bool sees_row(struct fe_onnx *g, const struct fe_onnx_loop *l,
                     const Onnx__NodeProto *node)
{
    for (size_t i = 0; i < node->n_input; i++)
        if (is_row(g, l, node->input[i]))
            return true;
    for (size_t i = 0; i < node->n_attribute; i++) {
        const Onnx__GraphProto *graph = node->attribute[i]->g;
        for (size_t k = 0; graph && k < graph->n_node; k++)
            if (sees_row(g, l, graph->node[k]))
                return true;
        for (size_t k = 0; graph && k < graph->n_output; k++)
            if (is_row(g, l, fe_onnx_text(graph->output[k]->name)))
                return true;
    }
    return false;
}

enum { FEW_INPUTS = 8, FEW_BYTES = 64 };

/* What a name counts as: nothing but where it is long. */
static size_t name_size(const char *name)
{
    return strlen(fe_onnx_text(name)) / FEW_BYTES;
}

/* Lists, texts and tensors of an attribute. */
static size_t attribute_size(const Onnx__AttributeProto *a)
{
    size_t size = a->n_floats + a->n_ints + a->s.len / sizeof(float);
    for (size_t i = 0; i < a->n_strings; i++)
        size += 1 + a->strings[i].len / sizeof(float);
    return size * sizeof(float) / FEW_BYTES;
}

size_t fe_onnx_node_size(const Onnx__NodeProto *node)
{
    size_t size = 1 + node->n_output + node->n_input / FEW_INPUTS;
    for (size_t i = 0; i < node->n_input; i++)
        size += name_size(node->input[i]);
    for (size_t i = 0; i < node->n_output; i++)
        size += name_size(node->output[i]);
    for (size_t i = 0; i < node->n_attribute; i++)
        size += attribute_size(node->attribute[i]);
    return size;
}

/* Hands flags on from node to node. A value of `rows` that is around the body
 * counts, once it is there. */
static void mark_nodes(struct fe_onnx *g, struct fe_onnx_loop *l, bool rows)
{
    l->n_names = l->body->n_input;
    l->step_size = l->body->n_input + l->body->n_output;
    l->n_varying = 0;
    for (size_t i = 0; i < l->body->n_node; i++) {
        const Onnx__NodeProto *node = l->body->node[i];
        int flags = fe_onnx_node_flags(l, node);
        if (flags && rows && sees_row(g, l, node))
            flags |= FE_ONNX_ROW;
        if (flags) {
            l->varying[l->n_varying++] = (struct fe_onnx_varying){i, flags};
            l->n_names += node->n_output;
            l->step_size += fe_onnx_node_size(node);
        }
        for (size_t k = 0; k < node->n_output; k++)
            if (*node->output[k])
                flags_slot(l, node->output[k])->flags = flags;
    }
}

/* A carried constant that becomes one of the row is one from the start. */
static void mark_body(struct fe_onnx *g, struct fe_onnx_loop *l)
{
    bool changed = true;
    while (changed) {
        mark_nodes(g, l, true);
        changed = false;
        for (size_t k = 0; k < l->n_carried; k++) {
            struct fe_onnx_flags *in = flags_slot(l, carried_name(l, k));
            const int next = fe_onnx_name_flags(l, next_name(l, k));
            if (in->flags == FE_ONNX_VARIES && (next & FE_ONNX_ROW)) {
                in->flags |= FE_ONNX_ROW;
                changed = true;
            }
        }
    }
}

/* Builds what is the same in all steps, into l->once. */
static bool build_once(struct fe_onnx *g, struct fe_onnx_loop *l)
{
    const Onnx__GraphProto *body = l->body;
    l->varying = ir_alloc_array(&g->scratch, body->n_node, sizeof *l->varying);
    mark_inputs(l);
    mark_nodes(g, l, false);
    fe_onnx_open_scope(g, &l->once, fe_onnx_count_names(body), false);
    if (!fe_onnx_define_initializers(g, body))
        return false;
    for (size_t k = 0; k < l->n_carried; k++)
        if (fe_onnx_is_kept(l, k) &&
            !fe_onnx_define(g, carried_name(l, k), &l->carried[k]))
            return false;
    for (size_t i = 0; i < body->n_node; i++)
        if (!fe_onnx_node_flags(l, body->node[i]) &&
            !fe_onnx_build_node(g, body->node[i], i))
            return false;
    mark_body(g, l);
    return true;
}

/* ---------------------------------------------------------------- steps -- */

/* Takes a size from what all subgraphs may come to; `what` says of what. */
static bool take_size(struct fe_onnx *g, const char *what, size_t size)
{
    if ((int64_t)size > g->subgraphs_left)
        return fe_onnx_error(g, "%s %zu more nodes and values, where %lld are "
                             "left of the %d that all subgraphs may come to",
                             what, size, (long long)g->subgraphs_left,
                             FE_ONNX_MAX_SUBGRAPHS);
    g->subgraphs_left -= (int64_t)size;
    return true;
}

bool fe_onnx_take_step(struct fe_onnx *g, const struct fe_onnx_loop *l,
                       size_t size)
{
    char what[48];
    snprintf(what, sizeof what, "step %lld would have", (long long)l->steps);
    return take_size(g, what, size);
}

static size_t graph_size(const Onnx__GraphProto *graph)
{
    size_t n = graph->n_input + graph->n_initializer + graph->n_output + 1;
    for (size_t i = 0; i < graph->n_input; i++)
        n += name_size(graph->input[i]->name);
    for (size_t i = 0; i < graph->n_initializer; i++)
        n += name_size(graph->initializer[i]->name);
    for (size_t i = 0; i < graph->n_output; i++)
        n += name_size(graph->output[i]->name);
    for (size_t i = 0; i < graph->n_node; i++) {
        const Onnx__NodeProto *node = graph->node[i];
        n += fe_onnx_node_size(node) + node->n_input;
        for (size_t k = 0; k < node->n_attribute; k++)
            if (node->attribute[k]->g)
                n += graph_size(node->attribute[k]->g);
    }
    return n;
}

bool fe_onnx_take_graph(struct fe_onnx *g, const Onnx__GraphProto *graph)
{
    return take_size(g, "its graph has", graph_size(graph));
}

static bool define_number(struct fe_onnx *g, const char *name, int type,
                          int64_t number)
{
    struct fe_onnx_tensor *t = fe_onnx_new_tensor(g, type, 0, NULL);
    t->real[0] = (double)(t->whole[0] = number);
    const struct fe_onnx_value value = {.type = type, .constant = t, .n = 1};
    return fe_onnx_define(g, name, &value);
}

bool fe_onnx_start_step(struct fe_onnx *g, const struct fe_onnx_loop *l)
{
    Onnx__ValueInfoProto *const *input = l->body->input;
    if (l->n_before == 2 &&
        (!define_number(g, fe_onnx_text(input[0]->name), FE_ONNX_INT64,
                        l->steps) ||
         !define_number(g, fe_onnx_text(input[1]->name), FE_ONNX_BOOL, 1)))
        return false;
    for (size_t k = 0; k < l->n_carried; k++)
        if (fe_onnx_name_flags(l, carried_name(l, k)) == FE_ONNX_VARIES &&
            !fe_onnx_define(g, carried_name(l, k), &l->carried[k]))
            return false;
    return true;
}

/* What the body gives as its output i. */
static struct fe_onnx_value *body_output(struct fe_onnx *g,
                                         const struct fe_onnx_loop *l,
                                         size_t i)
{
    const char *name = fe_onnx_text(l->body->output[i]->name);
    struct fe_onnx_value *value = fe_onnx_find(g, name);
    if (!value)
        fe_onnx_error(g, "the body's output '%.200s' is given by no node",
                      name);
    return value;
}

bool fe_onnx_read_condition(struct fe_onnx *g, struct fe_onnx_loop *l)
{
    if (!l->n_after)
        return true;
    const struct fe_onnx_value *value = body_output(g, l, 0);
    if (!value)
        return false;
    if (value->type != FE_ONNX_BOOL || value->n != 1)
        return fe_onnx_error(g, "the body's condition '%.200s' is %lld "
                             "elements of type %s, not one of BOOL",
                             value->name, (long long)value->n,
                             fe_onnx_type_name(value->type));
    if (!value->constant)
        return fe_onnx_error(g, "the body's condition '%.200s' depends on the "
                             "row, so there is no telling how many steps there "
                             "are", value->name);
    l->condition = value->constant->whole[0];
    return true;
}

/* Part `step` of a slice as a value of its own. */
static bool take_slice(struct fe_onnx *g, const struct fe_onnx_slice *slice,
                       int64_t step, struct fe_onnx_value *y)
{
    const struct fe_onnx_value *x = slice->x;
    struct fe_onnx_shape shape = fe_onnx_shape_of(x);
    int64_t stride[IR_MAX_RANK];
    fe_onnx_strides(x->rank, x->dim, stride);
    const int64_t at = slice->reverse ? x->dim[slice->axis] - 1 - step : step;
    const int64_t offset = at * stride[slice->axis];
    shape.rank--;
    for (int d = slice->axis; d < shape.rank; d++) {
        shape.dim[d] = shape.dim[d + 1];
        stride[d] = stride[d + 1];
    }
    shape.batch -= x->batched && x->batch > slice->axis;
    return fe_onnx_size(g, &shape) &&
           fe_onnx_view(g, x, &shape, stride, offset, y);
}

static bool define_rows(struct fe_onnx *g, const struct fe_onnx_loop *l)
{
    for (size_t k = 0; k < l->n_carried; k++)
        if ((fe_onnx_name_flags(l, carried_name(l, k)) & FE_ONNX_ROW) &&
            !fe_onnx_define(g, carried_name(l, k), &l->carried[k]))
            return false;
    for (size_t s = 0; s < l->n_slices; s++) {
        struct fe_onnx_value part;
        if (!take_slice(g, &l->slice[s], l->steps, &part) ||
            !fe_onnx_define(g, carried_name(l, l->n_carried + s), &part))
            return false;
    }
    return true;
}

/* Room for one more step of each stack. */
static void grow_stacks(struct fe_onnx *g, struct fe_onnx_loop *l)
{
    const int64_t more = l->capacity ? 2 * l->capacity : 8;
    struct fe_onnx_value **grown = ir_alloc_array(
        &g->scratch, l->n_stacks * (size_t)more, sizeof *grown);
    for (size_t s = 0; s < l->n_stacks && l->capacity; s++)
        memcpy(grown + s * (size_t)more, l->stack + s * (size_t)l->capacity,
               (size_t)l->capacity * sizeof *grown);
    l->stack = grown;
    l->capacity = more;
}

/* What a step gives: carried values, stacks, and whether there is another. */
static bool end_step(struct fe_onnx *g, struct fe_onnx_loop *l)
{
    struct fe_onnx_value *next =
        ir_alloc_array(&g->scratch, l->n_carried, sizeof *next);
    if (!fe_onnx_read_condition(g, l))
        return false;
    for (size_t k = 0; k < l->n_carried; k++) {
        const struct fe_onnx_value *value = body_output(g, l, l->n_after + k);
        if (!value)
            return false;
        if (value->type != l->carried[k].type)
            return fe_onnx_error(g, "'%.200s' becomes '%.200s' of type %s "
                                 "from one of type %s", carried_name(l, k),
                                 value->name, fe_onnx_type_name(value->type),
                                 fe_onnx_type_name(l->carried[k].type));
        next[k] = *value;
    }
    l->carried = next;
    if (l->steps == l->capacity)
        grow_stacks(g, l);
    for (size_t s = 0; s < l->n_stacks; s++) {
        struct fe_onnx_value *value =
            body_output(g, l, l->n_after + l->n_carried + s);
        if (!value)
            return false;
        l->stack[s * (size_t)l->capacity + (size_t)l->steps] = value;
    }
    return true;
}

static bool make_step(struct fe_onnx *g, struct fe_onnx_loop *l)
{
    struct fe_onnx_scope scope, *const outer = g->scope;
    if (!fe_onnx_take_step(g, l, l->step_size))
        return false;
    fe_onnx_open_scope(g, &scope, l->n_names, false);
    bool good = fe_onnx_start_step(g, l) && define_rows(g, l);
    for (size_t i = 0; good && i < l->n_varying; i++) {
        const size_t at = l->varying[i].node;
        good = fe_onnx_build_node(g, l->body->node[at], at);
    }
    good = good && end_step(g, l);
    g->scope = outer;
    l->steps++;
    return good;
}

/* ---------------------------------------------------------------- stacks -- */

/* [T][..] of constants. */
static bool stack_constants(struct fe_onnx *g, int64_t steps,
                            struct fe_onnx_value *const *part,
                            struct fe_onnx_value *y)
{
    struct fe_onnx_tensor *t =
        fe_onnx_new_tensor(g, y->type, y->rank, y->dim);
    const size_t n = (size_t)part[0]->n;
    for (int64_t i = 0; i < steps; i++) {
        const struct fe_onnx_tensor *from = part[i]->constant;
        const size_t at = (size_t)i * n;
        if (t->text)
            memcpy(t->text + at, from->text, n * sizeof *t->text);
        if (t->real)
            memcpy(t->real + at, from->real, n * sizeof *t->real);
        if (t->whole)
            memcpy(t->whole + at, from->whole, n * sizeof *t->whole);
    }
    y->constant = t;
    return true;
}

static bool stack_rows(struct fe_onnx *g, int64_t steps,
                       struct fe_onnx_value *const *part,
                       struct fe_onnx_value *y)
{
    struct ir_value **rows =
        ir_alloc_array(&g->scratch, (size_t)steps, sizeof *rows);
    for (int64_t i = 0; i < steps; i++) {
        struct ir_value *numbers = fe_onnx_numbers(g, part[i]);
        rows[i] = numbers ? fe_onnx_shaped(g, numbers, 1, &part[i]->n) : NULL;
        if (!rows[i])
            return false;
    }
    y->rows = fe_onnx_concat(g, (int)steps, rows);
    return y->rows != NULL;
}

/* All steps' values of stack s, one behind the other: *y is [T][..]. */
static bool stack_steps(struct fe_onnx *g, const struct fe_onnx_loop *l,
                        size_t s, struct fe_onnx_value *y)
{
    struct fe_onnx_value *const *part = l->stack + s * (size_t)l->capacity;
    bool constant = true;
    if (l->steps == 0)
        return fe_onnx_error(g, "it makes no step, and its output %zu would "
                             "have no element", l->n_carried + s);
    *y = (struct fe_onnx_value){
        .name = part[0]->name, .type = part[0]->type, .rank = part[0]->rank,
        .batched = part[0]->batched, .batch = part[0]->batch,
        .ahead = part[0]->ahead};
    memcpy(y->dim, part[0]->dim, sizeof y->dim);
    for (int64_t i = 0; i < l->steps; i++) {
        const struct fe_onnx_value *x = part[i];
        bool same = x->type == y->type && x->rank == y->rank;
        for (int d = 0; same && d < x->rank; d++)
            same = x->dim[d] == y->dim[d];
        same = same && (!x->batched || !y->batched ||
                        (x->batch == y->batch && x->ahead == y->ahead));
        if (!same || x->rank == IR_MAX_RANK || l->steps > IR_MAX_OPERANDS)
            return fe_onnx_error(g, "what it stacks as output %zu has other "
                                 "dims in each step, or too many",
                                 l->n_carried + s);
        constant = constant && x->constant;
        if (x->batched) {
            y->batched = true;
            y->batch = x->batch;
            y->ahead = x->ahead;
        }
    }
    memmove(y->dim + 1, y->dim, (size_t)y->rank++ * sizeof *y->dim);
    y->dim[0] = l->steps;
    y->batch++;
    y->n = fe_onnx_volume(g, y->rank, y->dim, constant ? 0 : 1);
    if (y->n < 0 || !fe_onnx_take_elements(g, y->n))
        return false;
    return constant ? stack_constants(g, l->steps, part, y)
                    : stack_rows(g, l->steps, part, y);
}

/* [T][..] with T as another axis, or from the last to the first. */
static bool turn_stack(struct fe_onnx *g, int64_t axis, bool reverse,
                       struct fe_onnx_value *y)
{
    struct fe_onnx_shape shape = fe_onnx_shape_of(y);
    const struct fe_onnx_value x = *y;
    int64_t own[IR_MAX_RANK], stride[IR_MAX_RANK];
    int to;
    if (!fe_onnx_axis(g, axis, y->rank, &to))
        return false;
    if (to == 0 && !reverse)
        return true;
    fe_onnx_strides(x.rank, x.dim, own);
    for (int d = 0; d < x.rank; d++) {
        const int from = d == to ? 0 : d < to ? d + 1 : d;
        shape.dim[d] = x.dim[from];
        stride[d] = from == 0 && reverse ? -own[0] : own[from];
    }
    if (x.batched && x.batch <= to)
        shape.batch--;
    return fe_onnx_view(g, &x, &shape, stride,
                        reverse ? (x.dim[0] - 1) * own[0] : 0, y);
}

/* ------------------------------------------------------------------ both -- */

static bool check_counts(struct fe_onnx *g, const struct fe_onnx_loop *l)
{
    const Onnx__GraphProto *body = l->body;
    const size_t n_in = l->n_before + l->n_carried + l->n_slices;
    if (body->n_input != n_in)
        return fe_onnx_error(g, "its body has %zu inputs, where %zu are "
                             "expected", body->n_input, n_in);
    if (body->n_output < l->n_after + l->n_carried)
        return fe_onnx_error(g, "its body has %zu outputs, where there are %zu "
                             "carried values", body->n_output, l->n_carried);
    if (g->node->n_output > body->n_output - l->n_after)
        return fe_onnx_error(g, "it has %zu outputs, its body gives %zu",
                             g->node->n_output, body->n_output - l->n_after);
    return true;
}

/* The body from the attribute; the counts of its values are set but for
 * stacks. */
static bool read_body(struct fe_onnx *g, struct fe_onnx_loop *l)
{
    const Onnx__AttributeProto *a = fe_onnx_attribute(g, "body");
    if (!a)
        return fe_onnx_error(g, "there is no body");
    l->body = a->g;
    if (!check_counts(g, l) || !fe_onnx_take_graph(g, l->body))
        return false;
    l->n_stacks = l->body->n_output - l->n_after - l->n_carried;
    l->result = ir_alloc_array(&g->scratch, l->n_carried + l->n_stacks,
                               sizeof *l->result);
    return collect_names(g, l);
}

/* Carried values from input `first` on. */
static bool read_carried(struct fe_onnx *g, struct fe_onnx_loop *l,
                         size_t first)
{
    l->carried = ir_alloc_array(&g->scratch, l->n_carried,
                                sizeof *l->carried);
    for (size_t k = 0; k < l->n_carried; k++) {
        const struct fe_onnx_value *value = fe_onnx_input(g, first + k);
        if (!value)
            return false;
        l->carried[k] = *value;
    }
    return true;
}

bool fe_onnx_is_asked_for(const struct fe_onnx *g, size_t i)
{
    return i < g->node->n_output && *g->node->output[i];
}

/* Step by step, into l->result. */
static bool unroll(struct fe_onnx *g, struct fe_onnx_loop *l)
{
    while (l->steps < l->limit && l->condition)
        if (!make_step(g, l))
            return false;
    for (size_t k = 0; k < l->n_carried; k++)
        l->result[k] = l->carried[k];
    for (size_t s = 0; s < l->n_stacks; s++)
        if (fe_onnx_is_asked_for(g, l->n_carried + s) &&
            !stack_steps(g, l, s, &l->result[l->n_carried + s]))
            return false;
    return true;
}

static bool build_loop(struct fe_onnx *g, struct fe_onnx_loop *l)
{
    struct fe_onnx_scope *const outer = g->scope;
    bool good = build_once(g, l);
    if (good && !fe_onnx_build_cell(g, l, &good))
        good = unroll(g, l);
    g->scope = outer;
    return good;
}

/* ------------------------------------------------------------------ Loop -- */

/* Input i, one constant whole number; `fallback` when it is absent. */
static bool read_number(struct fe_onnx *g, size_t i, const char *what,
                        int64_t fallback, int64_t *number)
{
    *number = fallback;
    if (!fe_onnx_has_input(g, i))
        return true;
    const struct fe_onnx_value *value = fe_onnx_input(g, i);
    if (!value->constant)
        return fe_onnx_error(g, "its %s '%.200s' is one of the row, so there "
                             "is no telling how many steps there are", what,
                             value->name);
    if (value->n != 1 || !value->constant->whole)
        return fe_onnx_error(g, "its %s '%.200s' is %lld elements of type %s, "
                             "not one whole number", what, value->name,
                             (long long)value->n,
                             fe_onnx_type_name(value->type));
    *number = value->constant->whole[0];
    return !fe_onnx_batches(*number) ||
           fe_onnx_error(g, "its %s is the size of the batch", what);
}

bool fe_onnx_loop_op(struct fe_onnx *g)
{
    struct fe_onnx_loop l = {.n_before = 2, .n_after = 1,
                             .n_carried = g->node->n_input - 2};
    int64_t condition;
    if (!read_number(g, 0, "trip count", INT64_MAX, &l.limit) ||
        !read_number(g, 1, "condition", 1, &condition) ||
        !read_carried(g, &l, 2) || !read_body(g, &l))
        return false;
    l.condition = condition != 0;
    if (!build_loop(g, &l))
        return false;
    for (size_t i = 0; i < g->node->n_output; i++)
        if (!fe_onnx_give(g, i, &l.result[i]))
            return false;
    return true;
}

/* ------------------------------------------------------------------ Scan -- */

/* Number i of a list of n, which is absent where all are 0. */
static bool read_choice(struct fe_onnx *g, const char *name, size_t n,
                        size_t i, int64_t *number)
{
    const Onnx__AttributeProto *a = fe_onnx_attribute(g, name);
    *number = 0;
    if (!a)
        return true;
    if (a->n_ints != n)
        return fe_onnx_error(g, "%s has %zu elements, not %zu", name,
                             a->n_ints, n);
    *number = a->ints[i];
    return true;
}

static bool read_slices(struct fe_onnx *g, struct fe_onnx_loop *l)
{
    l->slice = ir_alloc_array(&g->scratch, l->n_slices, sizeof *l->slice);
    for (size_t s = 0; s < l->n_slices; s++) {
        int64_t axis, reverse;
        struct fe_onnx_slice *slice = &l->slice[s];
        slice->x = fe_onnx_input(g, l->n_carried + s);
        if (!slice->x ||
            !read_choice(g, "scan_input_axes", l->n_slices, s, &axis) ||
            !read_choice(g, "scan_input_directions", l->n_slices, s,
                         &reverse) ||
            !fe_onnx_own_axis(g, slice->x, axis, &slice->axis))
            return false;
        slice->reverse = reverse;
        const int64_t steps = slice->x->dim[slice->axis];
        if (s && steps != l->limit)
            return fe_onnx_error(g, "'%.200s' has %lld steps, another input "
                                 "has %lld", slice->x->name,
                                 (long long)steps, (long long)l->limit);
        l->limit = steps;
    }
    return true;
}

bool fe_onnx_scan_op(struct fe_onnx *g)
{
    const int64_t n = fe_onnx_int(g, "num_scan_inputs", 0);
    struct fe_onnx_loop l = {.condition = true};
    if (g->opset < 9)
        return fe_onnx_error(g, "that of operator set %lld, with a batch of "
                             "its own, is not read", (long long)g->opset);
    if (n < 1 || (uint64_t)n > g->node->n_input)
        return fe_onnx_error(g, "num_scan_inputs is %lld, it has %zu inputs",
                             (long long)n, g->node->n_input);
    l.n_slices = (size_t)n;
    l.n_carried = g->node->n_input - l.n_slices;
    if (!read_carried(g, &l, 0) || !read_slices(g, &l) || !read_body(g, &l) ||
        !build_loop(g, &l))
        return false;
    for (size_t i = 0; i < g->node->n_output; i++) {
        int64_t axis = 0, reverse = 0;
        const size_t s = i - l.n_carried;
        if (i >= l.n_carried && fe_onnx_is_asked_for(g, i) &&
            (!read_choice(g, "scan_output_axes", l.n_stacks, s, &axis) ||
             !read_choice(g, "scan_output_directions", l.n_stacks, s,
                          &reverse) ||
             !turn_stack(g, axis, reverse, &l.result[i])))
            return false;
        if (!fe_onnx_give(g, i, &l.result[i]))
            return false;
    }
    return true;
}
