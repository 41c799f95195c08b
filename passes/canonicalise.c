/* canonicalise.c: one form for each thing that can be said in several ways.
 *
 * After it each `trees` op compares with "le", has no -0.0 and no NaN as a
 * threshold, asks for IR_NODE_ZERO_MISSING only where a plain test would not
 * do, stores equal sets once without empty words at their end, numbers sets in
 * the order in which nodes use them, and has a threshold of 0 at set nodes.
 * Ops that no output needs are gone. `forest` ops stay as they are: by then
 * codes may have been derived from their thresholds. So does the rare forest
 * with a test that cannot be said with "le", see is_stuck().
 */
#include "passes/rewrite.h"

#include <stdlib.h>
#include <string.h>

/* The nodes' tests as they will be. */
struct tests {
    struct ir_forest forest; /* as it was */
    struct ir_arena scratch;
    double *threshold;
    uint8_t *flags;
    int32_t *set; /* an old set's number, EMPTY_SET, or -1 */
    bool any_sets, any_zero_missing;
};
#define EMPTY_SET INT32_MAX

/* ---------------------------------------------------------- zero missing -- */

/* A numeric test at place `order` that sends the places [-zero, zero] with the
 * missing: they are an interval, so most such tests are plain ones. */
static uint8_t fold_zero(int64_t zero, int64_t *order, uint8_t flags)
{
    const bool left = flags & IR_NODE_MISSING_LEFT;
    if (left ? *order >= zero : *order < -zero)
        return flags & ~IR_NODE_ZERO_MISSING;
    if (left ? *order < -zero - 1 : *order > zero)
        return flags; /* what goes left is in two pieces */
    *order = left ? zero : -zero - 1;
    return flags & ~IR_NODE_ZERO_MISSING;
}

/* ---------------------------------------------------------------- a node -- */

/* A test that no number passes is that for membership of the empty set. */
static void canonicalise_number(struct tests *t, int64_t i, int64_t zero)
{
    const int64_t last = pass_last_order(t->forest.in_dtype);
    int64_t order = pass_test_order(&t->forest, i);
    if (t->flags[i] & IR_NODE_ZERO_MISSING)
        t->flags[i] = fold_zero(zero, &order, t->flags[i]);
    if (order < -last) {
        t->flags[i] |= IR_NODE_CATEGORICAL;
        t->set[i] = EMPTY_SET;
    } else {
        t->threshold[i] = pass_at_order(order, t->forest.in_dtype);
    }
}

/* Whether a test passes no number but those that count as missing: as "le"
 * that takes two nodes, and set tests have no such numbers. */
static bool is_stuck(const struct ir_forest *f, int64_t i)
{
    return !(f->flags[i] & IR_NODE_CATEGORICAL) &&
           (f->flags[i] & IR_NODE_MISSING_LEFT) &&
           (f->flags[i] & IR_NODE_ZERO_MISSING) &&
           pass_test_order(f, i) == PASS_NEVER;
}

static bool any_stuck(const struct ir_forest *f)
{
    for (int64_t i = 0; i < f->n_nodes; i++)
        if (is_stuck(f, i))
            return true;
    return false;
}

static void canonicalise_nodes(struct tests *t)
{
    const struct ir_forest *f = &t->forest;
    const int64_t zero = pass_zero_order(f);
    for (int64_t i = 0; i < f->n_nodes; i++) {
        t->flags[i] = f->flags[i];
        t->set[i] = f->set ? f->set[i] : -1;
        if (!(t->flags[i] & IR_NODE_CATEGORICAL))
            canonicalise_number(t, i, zero);
        t->any_sets |= (t->flags[i] & IR_NODE_CATEGORICAL) != 0;
        t->any_zero_missing |= (t->flags[i] & IR_NODE_ZERO_MISSING) != 0;
    }
}

/* ------------------------------------------------------------------ sets -- */

/* A set without the empty words at its end, but with one at least, so that
 * who reads it need not ask whether there is a first word. */
struct set {
    const uint32_t *words;
    int32_t n_words;
    int32_t number; /* as it was, EMPTY_SET for one that is new */
};

static int compare_sets(const void *a, const void *b)
{
    const struct set *x = a, *y = b;
    if (x->n_words != y->n_words)
        return x->n_words < y->n_words ? -1 : 1;
    const int order = memcmp(x->words, y->words, 4 * (size_t)x->n_words);
    return order ? order : (x->number > y->number) - (x->number < y->number);
}

static bool equal_sets(const struct set *a, const struct set *b)
{
    return a->n_words == b->n_words &&
           memcmp(a->words, b->words, 4 * (size_t)a->n_words) == 0;
}

/* All sets, sorted so that equal ones are neighbours. The empty set is the
 * last of them as numbered, n_sets. */
static struct set *sort_sets(struct tests *t)
{
    static const uint32_t none = 0;
    const struct ir_forest *f = &t->forest;
    struct set *sets = ir_alloc_array(&t->scratch, (size_t)f->n_sets + 1,
                                      sizeof(*sets));
    for (int32_t s = 0; s < f->n_sets; s++) {
        const uint32_t *words = f->set_words + f->set_start[s];
        int32_t n = f->set_start[s + 1] - f->set_start[s];
        while (n > 1 && words[n - 1] == 0)
            n--;
        sets[s] = (struct set){n ? words : &none, n ? n : 1, s};
    }
    sets[f->n_sets] = (struct set){&none, 1, f->n_sets};
    qsort(sets, (size_t)f->n_sets + 1, sizeof(*sets), compare_sets);
    return sets;
}

/* For each set's old number, where the first of its equals is in `sets`. */
static int32_t *find_equals(struct tests *t, const struct set *sets)
{
    const int32_t n = t->forest.n_sets + 1;
    int32_t *first = ir_alloc_array(&t->scratch, (size_t)n, sizeof(*first));
    for (int32_t i = 0, start = 0; i < n; i++) {
        if (!equal_sets(&sets[start], &sets[i]))
            start = i;
        first[sets[i].number] = start;
    }
    return first;
}

/* Numbers the sets anew in the order of use and writes those in use. */
static void store_sets(struct tests *t, struct ir_module *module,
                       struct ir_op *op)
{
    const struct ir_forest *f = &t->forest;
    const struct set *sets = sort_sets(t);
    const int32_t *first = find_equals(t, sets);
    const size_t n = (size_t)f->n_sets + 1;
    int32_t *renumbered = ir_alloc_array(&t->scratch, n, sizeof(int32_t));
    int32_t *start = ir_alloc_array(&t->scratch, n + 1, sizeof(int32_t));
    const size_t n_old = f->n_sets ? (size_t)f->set_start[f->n_sets] : 0;
    uint32_t *words = ir_alloc_array(&t->scratch, n_old + n, sizeof(*words));
    int32_t n_used = 0;
    for (int64_t i = 0; i < f->n_nodes; i++) {
        if (!(t->flags[i] & IR_NODE_CATEGORICAL))
            continue;
        const int32_t old = t->set[i] == EMPTY_SET ? f->n_sets : t->set[i];
        const struct set *set = &sets[first[old]];
        int32_t *number = &renumbered[first[old]];
        if (*number == 0) { /* numbers count from 1 here */
            *number = ++n_used;
            start[n_used] = start[n_used - 1] + set->n_words;
            memcpy(words + start[n_used - 1], set->words,
                   4 * (size_t)set->n_words);
        }
        t->set[i] = *number - 1;
    }
    pass_set_tensor(module, op, "set", IR_I32, f->n_nodes, t->set);
    pass_set_tensor(module, op, "set_start", IR_I32, n_used + 1, start);
    pass_set_tensor(module, op, "set_words", IR_U32, start[n_used], words);
}

/* --------------------------------------------------------------- the op -- */

static void store_tests(struct tests *t, struct ir_module *module,
                        struct ir_op *op)
{
    const struct ir_forest *f = &t->forest;
    ir_set_attr(module, op, ir_string("compare", "le"));
    pass_set_reals(module, op, "threshold", f->in_dtype, f->n_nodes,
                   t->threshold);
    pass_set_tensor(module, op, "flags", IR_U8, f->n_nodes, t->flags);
    if (!t->any_zero_missing && !f->coef_start) /* linear leaves read it */
        pass_drop_attr(op, "zero_bound");
    if (t->any_sets) {
        store_sets(t, module, op);
        return;
    }
    pass_drop_attr(op, "set");
    pass_drop_attr(op, "set_start");
    pass_drop_attr(op, "set_words");
}

static void canonicalise_trees(struct ir_module *module, struct ir_op *op)
{
    struct tests t = {0};
    ir_forest_view(op, &t.forest);
    if (any_stuck(&t.forest))
        return;
    ir_arena_init(&t.scratch);
    const size_t n = (size_t)t.forest.n_nodes;
    t.threshold = ir_alloc_array(&t.scratch, n, sizeof(*t.threshold));
    t.flags = ir_alloc_array(&t.scratch, n, sizeof(*t.flags));
    t.set = ir_alloc_array(&t.scratch, n, sizeof(*t.set));
    canonicalise_nodes(&t);
    store_tests(&t, module, op);
    ir_arena_release(&t.scratch);
}

bool pass_canonicalise(struct ir_module *module,
                       const struct pass_options *options,
                       struct ir_diag *diag)
{
    (void)options;
    (void)diag;
    ir_remove_dead_ops(module);
    for (int i = 0; i < module->n_ops; i++)
        if (module->ops[i]->kind == IR_OP_trees)
            canonicalise_trees(module, module->ops[i]);
    return true;
}
