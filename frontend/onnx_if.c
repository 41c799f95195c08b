/* onnx_if.c: If. A condition that is known at import picks a branch, and the
 * other one is not even looked at. One of the row has both computed and one
 * taken, where a row is all that the inputs hold; with a batch it would be one
 * condition for all rows. */
#include "frontend/onnx_loop.h"

#include <string.h>

/* Builds the branch in a scope of its own; its results into value[n]. */
static bool build_branch(struct fe_onnx *g, const char *name, size_t n,
                         struct fe_onnx_value *value)
{
    const Onnx__AttributeProto *a = fe_onnx_attribute(g, name);
    struct fe_onnx_scope scope, *const outer = g->scope;
    if (!a)
        return fe_onnx_error(g, "there is no %s", name);
    const Onnx__GraphProto *graph = a->g;
    if (graph->n_output != n)
        return fe_onnx_error(g, "%s has %zu outputs, the node has %zu", name,
                             graph->n_output, n);
    if (!fe_onnx_take_graph(g, graph))
        return false;
    fe_onnx_open_scope(g, &scope, fe_onnx_count_names(graph), false);
    bool good = fe_onnx_define_initializers(g, graph);
    for (size_t i = 0; good && i < graph->n_node; i++)
        good = fe_onnx_build_node(g, graph->node[i], i);
    for (size_t i = 0; good && i < n; i++) {
        const char *output = fe_onnx_text(graph->output[i]->name);
        const struct fe_onnx_value *found = fe_onnx_find(g, output);
        good = found || fe_onnx_error(g, "the output '%.200s' of %s is given "
                                      "by no node", output, name);
        if (found)
            value[i] = *found;
    }
    g->scope = outer;
    return good;
}

/* Output i as a's or b's elements, as the condition of the row says. */
static bool give_either(struct fe_onnx *g, size_t i, struct ir_value *which,
                        struct fe_onnx_value *a, struct fe_onnx_value *b)
{
    struct fe_onnx_value *const both[] = {a, b};
    struct fe_onnx_shape shape;
    bool same = a->type == b->type && a->rank == b->rank;
    for (int d = 0; same && d < a->rank; d++)
        same = a->dim[d] == b->dim[d];
    if (!same)
        return fe_onnx_error(g, "output %zu has other dims, or another type, "
                             "in each branch, and the row says which it is",
                             i);
    if (!fe_onnx_broadcast(g, 2, both, &shape))
        return false;
    const enum ir_dtype dtype = fe_onnx_dtype(a->type);
    struct ir_value *y = fe_onnx_map(
        g, "x0 x1 x2 where", dtype, fe_onnx_convert(g, which, dtype),
        fe_onnx_spread(g, &shape, a, dtype),
        fe_onnx_spread(g, &shape, b, dtype));
    return fe_onnx_give_shape(g, i, a->type, y, &shape);
}

static bool by_row(struct fe_onnx *g, const struct fe_onnx_value *condition,
                   size_t n)
{
    struct fe_onnx_value *a = ir_alloc_array(&g->scratch, n, sizeof *a);
    struct fe_onnx_value *b = ir_alloc_array(&g->scratch, n, sizeof *b);
    if (condition->batched)
        return fe_onnx_error(g, "its condition '%.200s' is one of each row, "
                             "where it has to be one of all",
                             condition->name);
    if (!build_branch(g, "then_branch", n, a) ||
        !build_branch(g, "else_branch", n, b))
        return false;
    struct ir_value *which = fe_onnx_numbers(g, condition);
    for (size_t i = 0; which && i < n; i++)
        if (!give_either(g, i, which, &a[i], &b[i]))
            return false;
    return which != NULL;
}

bool fe_onnx_if(struct fe_onnx *g)
{
    const size_t n = g->node->n_output;
    const struct fe_onnx_value *condition = fe_onnx_input(g, 0);
    if (!condition)
        return false;
    if (condition->type != FE_ONNX_BOOL || condition->n != 1)
        return fe_onnx_error(g, "its condition '%.200s' is %lld elements of "
                             "type %s, not one of BOOL", condition->name,
                             (long long)condition->n,
                             fe_onnx_type_name(condition->type));
    if (!condition->constant)
        return by_row(g, condition, n);
    struct fe_onnx_value *value =
        ir_alloc_array(&g->scratch, n, sizeof *value);
    if (!build_branch(g, condition->constant->whole[0] ? "then_branch"
                                                       : "else_branch",
                      n, value))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!fe_onnx_give(g, i, &value[i]))
            return false;
    return true;
}
