/* fold.c: preprocessing that only feeds a forest's tests goes into the tests.
 *
 * A node that asks whether f(v) <= t, with v a number of the row, asks instead
 * what that means for v: scaling and other monotone maps move the threshold,
 * imputation gives the NaN its side, one-hot and ordinal codes become sets of
 * the raw codes (fold_solve.c). The leaves, their numbers and the order of sums
 * stay, so every output keeps its bits, for every float.
 *
 * A feature is folded when all nodes that test it are; else, and when linear
 * leaves multiply by it, it stays what it is, beside the raw numbers in the
 * forest's new operand. Forests that compare with "lt" are left alone:
 * canonicalise has made others of nearly all of them.
 */
#include "passes/fold.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Steps that may be computed for one forest, and more for each of its nodes:
 * the pass stays linear in the model, with seconds at most for a small one. */
#define FUEL (INT64_C(1) << 26)
#define FUEL_PER_NODE 1000
/* Words that a forest's sets may take. */
#define MAX_SET_WORDS (INT64_C(1) << 22)

/* A node and what it asks: those that ask the same are neighbours. */
struct question {
    int32_t feature, set, node;
    uint8_t flags;
    double threshold;
};

/* What becomes of a feature. */
enum fate {
    UNUSED,
    KEPT,   /* it is computed as before */
    SAME,   /* it is a number of the row, or of some other op, as it is */
    FOLDED,
    DECIDED, /* a constant: its tests need no number */
};

struct feature {
    enum fate fate;
    bool multiplied; /* by a linear leaf */
    const struct ir_value *source; /* element `index` of this value */
    int64_t index;
    int32_t place; /* in the new operand */
};

struct folder {
    struct ir_module *module;
    struct fold_graph graph;
    struct ir_arena arena; /* for the whole pass */
    int32_t *slot;         /* by element's number: place in an operand, or -1 */
    bool changed;
};

/* One forest being folded. */
struct plan {
    struct folder *folder;
    struct ir_op *op;
    struct ir_forest forest;
    struct ir_arena arena;
    enum ir_dtype dtype; /* of the new operand */
    int64_t fuel;
    struct feature *feature;
    struct question *question;
    /* By node, what it will be. */
    double *threshold;
    uint8_t *flags;
    int32_t *set, *left, *right;
    /* Sets: the old ones, then new ones; malloc'd. */
    int32_t n_sets;
    int64_t n_words;
    int32_t *set_start;
    uint32_t *set_words;
    /* The new operand: numbers of the row, then other elements. */
    int32_t n_places;
    const struct ir_value **value;
    int64_t *index;
};

/* ------------------------------------------------------------- questions -- */

static int compare_questions(const void *a, const void *b)
{
    const struct question *x = a, *y = b;
    if (x->feature != y->feature)
        return x->feature < y->feature ? -1 : 1;
    if (x->flags != y->flags)
        return x->flags < y->flags ? -1 : 1;
    if (x->set != y->set)
        return x->set < y->set ? -1 : 1;
    if (x->threshold != y->threshold)
        return x->threshold < y->threshold ? -1 : 1;
    return (x->node > y->node) - (x->node < y->node);
}

static bool same_question(const struct question *a, const struct question *b)
{
    return a->feature == b->feature && a->flags == b->flags &&
           a->set == b->set && a->threshold == b->threshold;
}

static void sort_questions(struct plan *p)
{
    const struct ir_forest *f = &p->forest;
    p->question = ir_alloc_array(&p->arena, (size_t)f->n_nodes,
                                 sizeof(*p->question));
    for (int32_t i = 0; i < f->n_nodes; i++) {
        const bool is_set = f->flags[i] & IR_NODE_CATEGORICAL;
        p->question[i] = (struct question){
            f->feature[i], is_set ? f->set[i] : -1, i, f->flags[i],
            is_set ? 0 : ir_real(f->threshold, f->in_dtype, (size_t)i)};
    }
    if (f->n_nodes > 0)
        qsort(p->question, (size_t)f->n_nodes, sizeof(*p->question),
              compare_questions);
}

/* ------------------------------------------------------------------ sets -- */

static void take_old_sets(struct plan *p)
{
    const struct ir_forest *f = &p->forest;
    p->n_sets = f->n_sets;
    p->set_start = ir_realloc_array(NULL, (size_t)f->n_sets + 1,
                                    sizeof(*p->set_start));
    p->set_start[0] = 0;
    if (f->n_sets == 0)
        return;
    memcpy(p->set_start, f->set_start,
           ((size_t)f->n_sets + 1) * sizeof(*p->set_start));
    p->n_words = f->set_start[f->n_sets];
    p->set_words = ir_realloc_array(NULL, (size_t)p->n_words + 1,
                                    sizeof(*p->set_words));
    memcpy(p->set_words, f->set_words,
           (size_t)p->n_words * sizeof(*p->set_words));
}

/* Returns the new set's number, or -1 when there are too many words. */
static int32_t add_set(struct plan *p, const struct fold_test *test)
{
    if (p->n_words + test->n_words > MAX_SET_WORDS)
        return -1;
    p->set_words = ir_realloc_array(p->set_words,
                                    (size_t)(p->n_words + test->n_words),
                                    sizeof(*p->set_words));
    memcpy(p->set_words + p->n_words, test->words,
           (size_t)test->n_words * sizeof(*p->set_words));
    p->n_words += test->n_words;
    p->set_start = ir_realloc_array(p->set_start, (size_t)p->n_sets + 2,
                                    sizeof(*p->set_start));
    p->set_start[p->n_sets + 1] = (int32_t)p->n_words;
    return p->n_sets++;
}

/* -------------------------------------------------------------- features -- */

/* Writes the test to all nodes that ask the same, from question `first` on. */
static bool put_test(struct plan *p, int64_t first, int64_t end,
                     const struct fold_test *test)
{
    const struct ir_forest *f = &p->forest;
    const int32_t set = test->words ? add_set(p, test) : -1;
    if (test->words && set < 0)
        return false;
    for (int64_t q = first; q < end; q++) {
        const int32_t i = p->question[q].node;
        p->threshold[i] = test->words ? 0 : test->threshold;
        p->flags[i] = test->flags;
        p->set[i] = set;
        p->left[i] = test->swap ? f->right[i] : f->left[i];
        p->right[i] = test->swap ? f->left[i] : f->right[i];
    }
    return true;
}

static bool fold_questions(struct plan *p, int64_t first, int64_t end,
                           const struct fold_function *function,
                           struct ir_arena *arena)
{
    struct fold_pieces pieces;
    if (!pass_fold_cut(&pieces, function, &p->fuel, arena))
        return false;
    for (int64_t q = first, next; q < end; q = next) {
        struct fold_test test;
        for (next = q + 1; next < end; next++)
            if (!same_question(&p->question[q], &p->question[next]))
                break;
        if (!pass_fold_solve(&pieces, &p->forest, p->question[q].node, arena,
                             &test) ||
            !put_test(p, q, next, &test))
            return false;
    }
    return true;
}

/* The nodes of questions [first, end) stay as they are. */
static void keep_questions(struct plan *p, int64_t first, int64_t end)
{
    const struct ir_forest *f = &p->forest;
    for (int64_t q = first; q < end; q++) {
        const int32_t i = p->question[q].node;
        p->threshold[i] = ir_real(f->threshold, f->in_dtype, (size_t)i);
        p->flags[i] = f->flags[i];
        p->set[i] = f->set ? f->set[i] : -1;
        p->left[i] = f->left[i];
        p->right[i] = f->right[i];
    }
}

/* Decides the fate of the feature that questions [first, end), perhaps none,
 * are about. */
static void fold_feature(struct plan *p, int32_t number, int64_t first,
                         int64_t end)
{
    const struct ir_value *x = p->op->operand[0];
    struct feature *feature = &p->feature[number];
    struct ir_arena arena;
    struct fold_function *function =
        ir_realloc_array(NULL, 1, sizeof(*function));
    const int32_t n_sets = p->n_sets;
    const int64_t n_words = p->n_words;
    feature->fate = KEPT;
    feature->index = number;
    feature->source = pass_fold_origin(x, &feature->index);
    ir_arena_init(&arena);
    if (pass_fold_trace(&p->folder->graph, x, number, p->dtype, function)) {
        if (function->n == 1 && function->source)
            feature->fate = SAME;
        else if (!feature->multiplied &&
                 fold_questions(p, first, end, function, &arena))
            feature->fate = function->source ? FOLDED : DECIDED;
    }
    if (feature->fate == SAME || feature->fate == FOLDED) {
        feature->source = function->source;
        feature->index = function->index;
    }
    if (feature->fate == SAME || feature->fate == KEPT) {
        keep_questions(p, first, end);
        p->n_sets = n_sets;
        p->n_words = n_words;
    }
    ir_arena_release(&arena);
    free(function);
}

static void fold_features(struct plan *p)
{
    const struct ir_forest *f = &p->forest;
    const int64_t n = f->n_nodes;
    for (int64_t q = 0, end; q < n; q = end) {
        const int32_t feature = p->question[q].feature;
        for (end = q + 1; end < n && p->question[end].feature == feature;)
            end++;
        fold_feature(p, feature, q, end);
    }
    for (int32_t i = 0; i < f->n_features; i++)
        if (p->feature[i].multiplied && p->feature[i].fate == UNUSED)
            fold_feature(p, i, 0, 0);
}

/* ------------------------------------------------------- the new operand -- */

/* Whether the new operand reads it from the row as it is. */
static bool is_of_row(const struct plan *p, const struct ir_value *value)
{
    return value->op->kind == IR_OP_input && value->type.dtype == p->dtype;
}

/* Where the place of a source is kept. A number of the row as another dtype is
 * another number. */
static int32_t *slot_of(const struct plan *p, const struct ir_value *value,
                        int64_t index)
{
    const struct fold_graph *g = &p->folder->graph;
    return &p->folder->slot[is_of_row(p, value)
                                ? pass_fold_number(g, value, index)
                                : g->first[value->id] + index];
}

/* Gives the features whose source is a number of the row (or is not) places,
 * one for each number. */
static void give_places(struct plan *p, bool of_row)
{
    for (int32_t i = 0; i < p->forest.n_features; i++) {
        struct feature *feature = &p->feature[i];
        if (feature->fate == UNUSED || feature->fate == DECIDED ||
            is_of_row(p, feature->source) != of_row)
            continue;
        int32_t *slot = slot_of(p, feature->source, feature->index);
        if (*slot < 0) {
            *slot = p->n_places;
            p->value[p->n_places] = feature->source;
            p->index[p->n_places++] = feature->index;
        }
        feature->place = *slot;
    }
}

static struct ir_value *add(struct plan *p, enum ir_op_kind kind, int n,
                            struct ir_value *const *x, int n_attrs,
                            const struct ir_attr *attrs)
{
    struct ir_diag diag;
    ir_diag_init(&diag);
    struct ir_op *op = ir_add_op(p->folder->module, kind, n, x, n_attrs,
                                 attrs, &diag);
    if (!op)
        ir_bug("fold: %s", diag.message[0]);
    ir_diag_release(&diag);
    op->loc = p->op->loc;
    return &op->result[0];
}

static struct ir_value *gather(struct plan *p, struct ir_value *x, int n,
                               const int32_t *index)
{
    bool whole = ir_type_volume(&x->type) == n && x->type.rank == 1;
    for (int i = 0; i < n && whole; i++)
        whole = index[i] == i;
    if (whole)
        return x;
    const struct ir_attr attr = ir_tensor_attr(
        "index", ir_tensor_copy(p->folder->module, IR_I32, n, index));
    return add(p, IR_OP_gather, 1, &x, 1, &attr);
}

/* The column that holds element `element` of the row. */
static int column_of(const struct ir_module *m, int64_t element)
{
    int column = 0;
    while (element >= m->columns[column].n_elements)
        element -= m->columns[column++].n_elements;
    return column;
}

/* The columns from that of the first to that of the last number of the row
 * that the places [0, n) name; `start` is where they begin in the row. */
static struct ir_value *add_input(struct plan *p, int n, int64_t *start)
{
    const struct fold_graph *g = &p->folder->graph;
    int64_t low = INT64_MAX, high = 0;
    for (int i = 0; i < n; i++) {
        const int64_t at = pass_fold_number(g, p->value[i], p->index[i]);
        low = at < low ? at : low;
        high = at > high ? at : high;
    }
    const int first = column_of(g->module, low);
    const struct ir_attr attrs[] = {
        ir_int("first", first),
        ir_int("count", column_of(g->module, high) - first + 1),
        ir_string("dtype", ir_dtype_name(p->dtype))};
    *start = ir_column_offset(g->module, first);
    return add(p, IR_OP_input, 0, NULL, 3, attrs);
}

/* All that is read of the row, and nothing else: an input alone. */
static struct ir_value *row_alone(struct plan *p)
{
    int64_t start;
    struct ir_value *input = add_input(p, p->n_places, &start);
    for (int32_t i = 0; i < p->forest.n_features; i++) {
        struct feature *f = &p->feature[i];
        if (f->fate == SAME || f->fate == FOLDED)
            f->place = (int32_t)(pass_fold_number(&p->folder->graph, f->source,
                                                  f->index) - start);
    }
    return input;
}

static struct ir_value *widen(struct plan *p, struct ir_value *x)
{
    const struct ir_attr attrs[] = {
        ir_string("program", "x0"),
        ir_string("dtype", ir_dtype_name(p->dtype))};
    return x->type.dtype == p->dtype ? x : add(p, IR_OP_map, 1, &x, 2, attrs);
}

/* What is read of the row, and from `n_row` on what is read of other values. */
static struct ir_value *concatenate(struct plan *p, int n_row)
{
    const struct fold_graph *g = &p->folder->graph;
    const size_t n = (size_t)p->n_places;
    int32_t *index = ir_alloc_array(&p->arena, n, sizeof(*index));
    struct ir_value **part = ir_alloc_array(&p->arena, n, sizeof(*part));
    int n_parts = 0;
    if (n_row > 0) {
        int64_t start;
        struct ir_value *input = add_input(p, n_row, &start);
        for (int i = 0; i < n_row; i++)
            index[i] = (int32_t)(pass_fold_number(g, p->value[i], p->index[i]) -
                                 start);
        part[n_parts++] = gather(p, input, n_row, index);
    }
    for (int i = n_row, end; i < p->n_places; i = end) {
        struct ir_value *x = &p->value[i]->op->result[p->value[i]->index];
        for (end = i; end < p->n_places && p->value[end] == x; end++)
            index[end - i] = (int32_t)p->index[end];
        part[n_parts++] = widen(p, gather(p, x, end - i, index));
    }
    if (n_parts == 1 && part[0]->type.rank == 1)
        return part[0];
    return add(p, IR_OP_concat, n_parts, part, 0, NULL);
}

/* Places by value, so that each is gathered from once. */
static struct ir_value *add_operand(struct plan *p)
{
    const size_t n = (size_t)p->forest.n_features;
    p->value = ir_alloc_array(&p->arena, n, sizeof(*p->value));
    p->index = ir_alloc_array(&p->arena, n, sizeof(*p->index));
    give_places(p, true);
    const int n_row = p->n_places;
    give_places(p, false);
    for (int32_t i = 0; i < p->n_places; i++)
        *slot_of(p, p->value[i], p->index[i]) = -1;
    if (p->n_places == 0)
        return NULL;
    return n_row == p->n_places ? row_alone(p) : concatenate(p, n_row);
}

/* ---------------------------------------------------------------- the op -- */

static void store(struct plan *p, struct ir_value *operand)
{
    const struct ir_forest *f = &p->forest;
    struct ir_module *m = p->folder->module;
    const int64_t n = f->n_nodes;
    int32_t *feature = ir_alloc_array(&p->arena, (size_t)n, sizeof(*feature));
    for (int64_t i = 0; i < n; i++)
        feature[i] = p->feature[f->feature[i]].place;
    pass_set_tensor(m, p->op, "feature", IR_I32, n, feature);
    pass_set_reals(m, p->op, "threshold", p->dtype, n, p->threshold);
    pass_set_tensor(m, p->op, "left", IR_I32, n, p->left);
    pass_set_tensor(m, p->op, "right", IR_I32, n, p->right);
    pass_set_tensor(m, p->op, "flags", IR_U8, n, p->flags);
    if (p->n_sets > 0) {
        pass_set_tensor(m, p->op, "set", IR_I32, n, p->set);
        pass_set_tensor(m, p->op, "set_start", IR_I32, p->n_sets + 1,
                        p->set_start);
        pass_set_tensor(m, p->op, "set_words", IR_U32, p->n_words,
                        p->set_words);
    }
    if (f->coef_start) {
        const int32_t n_coefs = f->coef_start[f->n_leaves];
        int32_t *of = ir_alloc_array(&p->arena, (size_t)n_coefs, sizeof(*of));
        for (int32_t i = 0; i < n_coefs; i++)
            of[i] = p->feature[f->coef_feature[i]].place;
        pass_set_tensor(m, p->op, "coef_feature", IR_I32, n_coefs, of);
    }
    p->op->operand[0] = operand;
    p->folder->changed = true;
}

/* Worth it when something was folded, or all that is computed is which numbers
 * of the row come where. */
static bool is_worth_it(const struct plan *p)
{
    bool all_same = true;
    for (int32_t i = 0; i < p->forest.n_features; i++) {
        const enum fate fate = p->feature[i].fate;
        if (fate == FOLDED || fate == DECIDED)
            return true;
        all_same = all_same && fate != KEPT;
    }
    return all_same;
}

static void take_memory(struct plan *p)
{
    const size_t n = (size_t)p->forest.n_nodes;
    struct ir_arena *a = &p->arena;
    p->feature = ir_alloc_array(a, (size_t)p->forest.n_features,
                                sizeof(*p->feature));
    p->threshold = ir_alloc_array(a, n, sizeof(*p->threshold));
    p->flags = ir_alloc_array(a, n, sizeof(*p->flags));
    p->set = ir_alloc_array(a, n, sizeof(*p->set));
    p->left = ir_alloc_array(a, n, sizeof(*p->left));
    p->right = ir_alloc_array(a, n, sizeof(*p->right));
}

/* The dtype that holds the sources of all features, and those that stay. */
static enum ir_dtype operand_dtype(const struct plan *p)
{
    for (int32_t i = 0; i < p->forest.n_nodes; i++)
        if (pass_fold_root_dtype(&p->folder->graph, p->op->operand[0],
                                 p->forest.feature[i]) == IR_F64)
            return IR_F64;
    return p->forest.in_dtype;
}

static void fold_forest(struct folder *folder, struct ir_op *op)
{
    struct plan p = {.folder = folder, .op = op};
    ir_forest_view(op, &p.forest);
    const struct ir_forest *f = &p.forest;
    if (f->strict)
        return;
    ir_arena_init(&p.arena);
    take_memory(&p);
    for (int32_t i = 0; f->coef_start && i < f->coef_start[f->n_leaves]; i++)
        p.feature[f->coef_feature[i]].multiplied = true;
    p.dtype = operand_dtype(&p);
    p.fuel = FUEL + FUEL_PER_NODE * (int64_t)f->n_nodes;
    take_old_sets(&p);
    sort_questions(&p);
    fold_features(&p);
    struct ir_value *operand = is_worth_it(&p) ? add_operand(&p) : NULL;
    if (operand)
        store(&p, operand);
    free(p.set_start);
    free(p.set_words);
    ir_arena_release(&p.arena);
}

/* Whether it is a forest that reads anything but columns. */
static bool is_fed(const struct ir_op *op)
{
    if (op->kind != IR_OP_trees)
        return false;
    const struct ir_op *x = op->operand[0]->op;
    for (int i = 0; x->kind == IR_OP_concat && i < x->n_operands; i++)
        if (x->operand[i]->op->kind != IR_OP_input)
            return true;
    return x->kind != IR_OP_input && x->kind != IR_OP_concat;
}

/* Puts the ops that were appended, those of the i-th of the n old ones from
 * end[i - 1] to end[i], before the old op that they are for. */
static void order_ops(struct folder *folder, int n, const int *end)
{
    struct ir_module *m = folder->module;
    struct ir_op **ordered = ir_alloc_array(&folder->arena, (size_t)m->n_ops,
                                            sizeof(*ordered));
    int at = 0;
    for (int i = 0, new = n; i < n; i++) {
        while (new < end[i])
            ordered[at++] = m->ops[new++];
        ordered[at++] = m->ops[i];
    }
    memcpy(m->ops, ordered, (size_t)m->n_ops * sizeof(*ordered));
    ir_renumber(m);
}

struct ir_probe *pass_probe_new(const struct ir_module *module, uint64_t seed)
{
    const struct pass_options options = {0};
    struct ir_diag diag;
    ir_diag_init(&diag);
    bool any = false;
    for (int i = 0; i < module->n_ops; i++)
        any = any || is_fed(module->ops[i]);
    struct ir_module *folded = any ? ir_module_clone(module) : NULL;
    if (folded && (!pass_canonicalise(folded, &options, &diag) ||
                   !pass_fold(folded, &options, &diag)))
        ir_bug("fold: %s", diag.message[0]);
    struct ir_probe *probe = ir_probe_new(folded ? folded : module, seed);
    ir_module_free(folded);
    ir_diag_release(&diag);
    return probe;
}

bool pass_fold(struct ir_module *module, const struct pass_options *options,
               struct ir_diag *diag)
{
    struct folder folder = {.module = module};
    const int n = module->n_ops;
    bool any = false;
    for (int i = 0; i < n; i++)
        any = any || is_fed(module->ops[i]);
    if (!any)
        return true;
    ir_renumber(module);
    ir_arena_init(&folder.arena);
    int64_t n_elements =
        pass_fold_graph_init(&folder.graph, module, &folder.arena);
    if (n_elements >= 0) {
        int *end = ir_alloc_array(&folder.arena, (size_t)n, sizeof(*end));
        folder.slot = ir_alloc_array(&folder.arena, (size_t)n_elements,
                                     sizeof(*folder.slot));
        memset(folder.slot, -1, (size_t)n_elements * sizeof(*folder.slot));
        for (int i = 0; i < n; i++) {
            if (is_fed(module->ops[i]))
                fold_forest(&folder, module->ops[i]);
            end[i] = module->n_ops;
        }
        order_ops(&folder, n, end);
    }
    ir_arena_release(&folder.arena);
    return !folder.changed || pass_canonicalise(module, options, diag);
}
