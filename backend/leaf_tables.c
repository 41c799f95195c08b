/* leaf_tables.c: trees of few different tests as tables of leaves, for the
 * strategy oblivious.
 *
 * A tree with d different tests, however many nodes ask them, is a table of 2^d
 * leaves: the answers, side by side, are the number of an entry. Where all
 * nodes of a level ask the same, as in CatBoost's trees, d is the depth; what
 * the pass prune leaves of such a tree asks no more. Which tests they are, and
 * whether the tables are in proportion, is ir_tree_tests()'s matter.
 */
#include "backend/llvm.h"

#include <stdlib.h>
#include <string.h>

enum {
    step_trees = 32,  /* that are looked at for a run to go on */
    most_padded = 16, /* values of a leaf that fit the smallest registers */
};

/* The leaf of a row whose answers are the bits of `entry`. */
static int32_t leaf_of(const struct be_forest *forest, int tree,
                       const int32_t *tests, int n, uint32_t entry)
{
    const struct ir_forest *f = &forest->f;
    const int64_t first = f->tree_start[tree];
    int32_t at = first == f->tree_start[tree + 1] ? ~0 : 0;
    while (at >= 0) {
        const int64_t node = first + at;
        int k = 0;
        while (f->node_column[tests[k]] != f->node_column[node] ||
               f->node_code[tests[k]] != f->node_code[node])
            k++;
        const bool passed = entry >> (n - 1 - k) & 1;
        at = passed == be_node_test(forest, node).left ? f->left[node]
                                                       : f->right[node];
    }
    return f->leaf_start[tree] + ~at;
}

struct texts {
    struct ir_text entries, values, numbers;
};

static void append_leaf(const struct be_forest *forest, int stride, int tree,
                        int32_t leaf, struct texts *to)
{
    static const uint8_t zeros[64];
    const struct ir_forest *f = &forest->f;
    be_leaf_append(forest, leaf, &to->values);
    ir_text_append(&to->values, zeros,
                   (size_t)stride * ir_dtype_bytes(f->leaf_dtype) -
                       forest->leaf_bytes);
    const int32_t number =
        f->leaf_id ? f->leaf_id[leaf] : leaf - f->leaf_start[tree];
    ir_text_append(&to->numbers, &number, sizeof(number));
}

static void append_tree(const struct be_forest *forest, int stride, int tree,
                        struct texts *to)
{
    int32_t tests[IR_MAX_TREE_TESTS];
    const int n = ir_tree_tests(&forest->f, tree, tests);
    const struct be_entry entry = {(uint32_t)(to->numbers.length / 4), tree};
    ir_text_append(&to->entries, &entry, sizeof(entry));
    for (uint32_t i = 0; i < 1u << n; i++)
        append_leaf(forest, stride, tree,
                    leaf_of(forest, tree, tests, n, i), to);
}

int be_tree_values(const struct be_forest *forest, int tree,
                   struct ir_text *to)
{
    const struct ir_forest *f = &forest->f;
    const size_t width = (size_t)f->leaf_width * ir_dtype_bytes(f->sum_dtype);
    int32_t tests[IR_MAX_TREE_TESTS];
    const int n = ir_tree_tests(f, tree, tests);
    for (uint32_t i = 0; i < 1u << n; i++) {
        const int32_t leaf = leaf_of(forest, tree, tests, n, i);
        ir_text_append(to, (const uint8_t *)f->leaf_value +
                               (size_t)leaf * width, width);
    }
    return 1 << n;
}

void be_run_tests(const struct ir_forest *f, const struct be_run *run, int tree,
                  int32_t node[IR_MAX_TREE_TESTS])
{
    int32_t own[IR_MAX_TREE_TESTS];
    const int n = ir_tree_tests(f, tree, own), none = run->n_tests - n;
    for (int k = 0; k < run->n_tests; k++)
        node[k] = k < none ? -1 : own[k - none];
}

static void order_by_target(const struct ir_forest *f, int *order)
{
    int *next = ir_realloc_array(NULL, (size_t)f->n_targets + 1, sizeof(*next));
    memset(next, 0, ((size_t)f->n_targets + 1) * sizeof(*next));
    for (int t = 0; t < f->n_trees; t++)
        next[f->target[t] + 1]++;
    for (int k = 0; k < f->n_targets; k++)
        next[k + 1] += next[k];
    for (int t = 0; t < f->n_trees; t++)
        order[next[f->target[t]]++] = t;
    free(next);
}

/* Runs begin where the target changes, and where the next few trees need more
 * or fewer tests than those before. */
static void plan_runs(const struct ir_forest *f, struct be_leaf_tables *t)
{
    order_by_target(f, t->order);
    for (int i = 0, end; i < f->n_trees; i = end) {
        int most = 0;
        int32_t tests[IR_MAX_TREE_TESTS];
        for (end = i; end < f->n_trees && end < i + step_trees &&
                      f->target[t->order[end]] == f->target[t->order[i]];
             end++) {
            const int k = ir_tree_tests(f, t->order[end], tests);
            most = k > most ? k : most;
        }
        struct be_run *last = t->n_runs > 0 ? &t->runs[t->n_runs - 1] : NULL;
        if (last && last->n_tests == most &&
            f->target[t->order[last->first]] == f->target[t->order[i]])
            last->n += end - i;
        else
            t->runs[t->n_runs++] = (struct be_run){i, end - i, most};
    }
}

static LLVMValueRef table(struct be_emitter *e, const char *name,
                          struct ir_text *text)
{
    LLVMValueRef v = be_bytes(e, name, text->data, text->length, 64);
    ir_text_release(text);
    return v;
}

const struct be_leaf_tables *be_leaf_tables(struct be_emitter *e,
                                            struct be_forest *forest)
{
    const struct ir_forest *f = &forest->f;
    if (forest->leaf_tables)
        return forest->leaf_tables;
    struct be_leaf_tables *t = ir_alloc(&e->arena, sizeof(*t));
    const int w = f->leaf_width;
    t->order = ir_alloc_array(&e->arena, (size_t)f->n_trees, sizeof(*t->order));
    t->runs = ir_alloc_array(&e->arena, (size_t)f->n_trees, sizeof(*t->runs));
    /* A leaf of three is read as four. */
    t->stride = w <= 2 || w > most_padded ? w : (w + 3) / 4 * 4;
    plan_runs(f, t);
    struct texts texts;
    ir_text_init(&texts.entries);
    ir_text_init(&texts.values);
    ir_text_init(&texts.numbers);
    for (int i = 0; i < f->n_trees; i++)
        append_tree(forest, t->stride, t->order[i], &texts);
    t->entries = table(e, "tree_entry", &texts.entries);
    t->values = table(e, "leaf_value", &texts.values);
    t->numbers = table(e, "leaf_number", &texts.numbers);
    return forest->leaf_tables = t;
}
