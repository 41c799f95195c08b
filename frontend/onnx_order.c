/* onnx_order.c: nodes in an order in which each comes after what it uses.
 *
 * The standard asks files for that order. ONNX Runtime does not, and tools that
 * put nodes into a model leave them at its end: so graphs are sorted once, when
 * a file is read, and everything else relies on it. A node stays at its place
 * unless one before it uses what it gives; then it goes right before that one,
 * with what it uses itself. A graph in order comes out as it was.
 *
 * A node uses its inputs, and what the graphs in it take from around them: what
 * such a graph gives itself is none of it. Time is linear in the names; nothing
 * recurses but graphs in graphs. A circle is an error.
 */
#include "frontend/onnx.h"

#include <stdlib.h>
#include <string.h>

/* Which node of a graph gives a name. */
struct giver {
    const char *name; /* NULL: free */
    int64_t node;     /* or -1: an input or an initializer */
};

/* That a node uses the name that another one gives. */
struct need {
    const char *name;
    size_t giver;
};

/* A graph that is being sorted, within others. */
struct level {
    struct level *outer;
    Onnx__GraphProto *graph;
    struct giver *table;
    size_t size;   /* of it, a power of 2 */
    size_t *start; /* [n_node + 1]: the needs of each node */
    struct need *need;
    size_t n_needs, capacity;
};

/* A node that is not where it is in the file. */
struct fe_onnx_moved {
    const Onnx__NodeProto *node;
    size_t index; /* in its graph of the file */
};

struct sorter {
    struct fe_onnx *g;
    struct ir_arena arena;
    struct fe_onnx_moved *moved;
    size_t n_moved, capacity;
};

/* ---------------------------------------------------------------- names -- */

static struct giver *slot_of(const struct level *l, const char *name)
{
    size_t i = fe_onnx_hash(name) & (l->size - 1);
    while (l->table[i].name && strcmp(l->table[i].name, name) != 0)
        i = (i + 1) & (l->size - 1);
    return &l->table[i];
}

/* Of a name that is given twice it is the first: that is said elsewhere. */
static void add_giver(struct level *l, const char *name, int64_t node)
{
    struct giver *slot = slot_of(l, name);
    if (*name && !slot->name)
        *slot = (struct giver){name, node};
}

static void collect_givers(struct sorter *s, struct level *l)
{
    const Onnx__GraphProto *graph = l->graph;
    const size_t n = fe_onnx_count_names(graph) + 1;
    for (l->size = 16; l->size < 2 * n; l->size *= 2)
        ;
    l->table = ir_alloc_array(&s->arena, l->size, sizeof *l->table);
    for (size_t i = 0; i < graph->n_input; i++)
        add_giver(l, fe_onnx_text(graph->input[i]->name), -1);
    for (size_t i = 0; i < graph->n_initializer; i++)
        add_giver(l, fe_onnx_text(graph->initializer[i]->name), -1);
    for (size_t i = 0; i < graph->n_node; i++)
        for (size_t k = 0; k < graph->node[i]->n_output; k++)
            add_giver(l, graph->node[i]->output[k], (int64_t)i);
}

/* Room for one more element of a list of n. */
static void *grow(struct sorter *s, void *list, size_t n, size_t *capacity,
                  size_t element)
{
    if (n < *capacity)
        return list;
    *capacity = n ? 2 * n : 16;
    void *grown = ir_alloc_array(&s->arena, *capacity, element);
    if (n)
        memcpy(grown, list, n * element);
    return grown;
}

/* The name is used at level l: by the node of the level that gives it. */
static void add_need(struct sorter *s, struct level *l, const char *name)
{
    for (; *name && l; l = l->outer) {
        const struct giver *giver = slot_of(l, name);
        if (!giver->name)
            continue;
        if (giver->node < 0)
            return;
        l->need = grow(s, l->need, l->n_needs, &l->capacity, sizeof *l->need);
        l->need[l->n_needs++] =
            (struct need){giver->name, (size_t)giver->node};
        return;
    }
}

/* ----------------------------------------------------------------- order -- */

enum state { NEW, OPEN, DONE };

/* A node whose needs come first: those from `next` on are left. */
struct visit {
    size_t node, next;
};

static bool say_circle(struct fe_onnx *g, const struct level *l, size_t node,
                       const char *name)
{
    g->node = l->graph->node[node];
    g->node_index = node;
    return fe_onnx_error(g, "it uses '%.200s', which is computed from what it "
                         "gives", name);
}

/* Fills order[n_node]. */
static bool find_order(struct sorter *s, const struct level *l, size_t *order)
{
    const size_t n = l->graph->n_node;
    uint8_t *state = ir_alloc_array(&s->arena, n, sizeof *state);
    struct visit *stack = ir_alloc_array(&s->arena, n, sizeof *stack);
    size_t depth = 0, n_done = 0;
    for (size_t i = 0; i < n; i++) {
        if (state[i] == NEW) {
            state[i] = OPEN;
            stack[depth++] = (struct visit){i, l->start[i]};
        }
        while (depth) {
            struct visit *v = &stack[depth - 1];
            if (v->next == l->start[v->node + 1]) {
                state[v->node] = DONE;
                order[n_done++] = v->node;
                depth--;
                continue;
            }
            const struct need *need = &l->need[v->next++];
            if (state[need->giver] == OPEN)
                return say_circle(s->g, l, v->node, need->name);
            if (state[need->giver] == NEW) {
                state[need->giver] = OPEN;
                stack[depth++] =
                    (struct visit){need->giver, l->start[need->giver]};
            }
        }
    }
    return true;
}

static void put_order(struct sorter *s, const struct level *l,
                      const size_t *order)
{
    const size_t n = l->graph->n_node;
    Onnx__NodeProto **old = ir_alloc_array(&s->arena, n, sizeof *old);
    for (size_t i = 0; i < n; i++)
        old[i] = l->graph->node[i];
    for (size_t i = 0; i < n; i++) {
        l->graph->node[i] = old[order[i]];
        if (order[i] == i)
            continue;
        s->moved = grow(s, s->moved, s->n_moved, &s->capacity,
                        sizeof *s->moved);
        s->moved[s->n_moved++] =
            (struct fe_onnx_moved){old[order[i]], order[i]};
    }
}

/* Sorts the graph, whose names go before those of `outer`. */
static bool sort_graph(struct sorter *s, Onnx__GraphProto *graph,
                       struct level *outer)
{
    struct fe_onnx *g = s->g;
    struct level l = {.outer = outer, .graph = graph};
    bool good = true;
    collect_givers(s, &l);
    l.start = ir_alloc_array(&s->arena, graph->n_node + 1, sizeof *l.start);
    for (size_t i = 0; good && i < graph->n_node; i++) {
        const Onnx__NodeProto *node = graph->node[i];
        const struct fe_onnx_place place = {g->within, node, i};
        l.start[i] = l.n_needs;
        for (size_t k = 0; k < node->n_input; k++)
            add_need(s, &l, node->input[k]);
        g->within = &place;
        for (size_t k = 0; good && k < node->n_attribute; k++)
            if (node->attribute[k]->g)
                good = sort_graph(s, node->attribute[k]->g, &l);
        g->within = place.outer;
    }
    l.start[graph->n_node] = l.n_needs;
    for (size_t i = 0; outer && i < graph->n_output; i++)
        if (!slot_of(&l, fe_onnx_text(graph->output[i]->name))->name)
            add_need(s, outer, fe_onnx_text(graph->output[i]->name));
    size_t *order = ir_alloc_array(&s->arena, graph->n_node, sizeof *order);
    if (!good || !find_order(s, &l, order))
        return false;
    put_order(s, &l, order);
    return true;
}

/* ----------------------------------------------------------------- moved -- */

static int compare_moved(const void *a, const void *b)
{
    const uintptr_t x = (uintptr_t)((const struct fe_onnx_moved *)a)->node;
    const uintptr_t y = (uintptr_t)((const struct fe_onnx_moved *)b)->node;
    return (x > y) - (x < y);
}

size_t fe_onnx_index_of(const struct fe_onnx *g, const Onnx__NodeProto *node,
                        size_t index)
{
    const struct fe_onnx_moved key = {.node = node}, *moved = NULL;
    if (g->n_moved)
        moved = bsearch(&key, g->moved, g->n_moved, sizeof key, compare_moved);
    return moved ? moved->index : index;
}

bool fe_onnx_sort(struct fe_onnx *g)
{
    struct sorter s = {.g = g};
    ir_arena_init(&s.arena);
    const bool good = sort_graph(&s, g->model->graph, NULL);
    if (good && s.n_moved) {
        g->moved = ir_alloc_array(&g->kept, s.n_moved, sizeof *g->moved);
        g->n_moved = s.n_moved;
        memcpy(g->moved, s.moved, s.n_moved * sizeof *g->moved);
        qsort(g->moved, g->n_moved, sizeof *g->moved, compare_moved);
    }
    ir_arena_release(&s.arena);
    return good;
}
