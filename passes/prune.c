/* prune.c: drops the branches that no row can take.
 *
 * Each tree is walked once, in preorder, with what can still reach the node:
 * for every feature an interval of numbers, whether a NaN can come and whether
 * the numbers that IR_NODE_ZERO_MISSING calls missing can; for every set test
 * its outcome further up. What is kept is never less than what can really
 * come, so a test that it decides is decided for every row, NaNs included.
 * Then, from the leaves up, a node whose children are the same leaf value
 * becomes that leaf.
 *
 * Trees come out in preorder, the left child first. The `leaf` result is the
 * leaf's number, so while something uses it leaves keep their numbers, even
 * those that cannot be reached, and equal ones are not merged.
 *
 * Not done: linear leaves are never merged; intervals learn nothing from sets,
 * nor sets from each other.
 */
#include "passes/rewrite.h"

#include <stdlib.h>
#include <string.h>

/* What of one feature can reach a node: numbers at the places [low, high]
 * (see pass_order), those within the zero bound only with `zero`. */
struct reach {
    int64_t low, high;
    bool nan, zero;
};

/* Whether the numbers that reach a node are in a set. Set tests have no
 * IR_NODE_ZERO_MISSING, so this is about all of them. */
enum membership { UNKNOWN, MEMBER, NO_MEMBER };

enum verdict { BOTH, LEFT, RIGHT };

/* A kept node on the path from the root: what to put back on leaving it. */
struct step {
    int32_t node;
    int stage;
    struct reach before, right;
    uint8_t membership;
};

struct pruner {
    struct ir_forest forest;
    struct ir_arena scratch;
    bool keep_leaves;
    int64_t zero;            /* of pass_zero_order() */
    struct reach *reach;     /* [n_features] */
    int32_t *test;           /* [n_nodes] of a set node its test, see below */
    uint8_t *membership;     /* [tests] enum membership */
    struct step *path;
    size_t n_path, path_capacity;
    /* Of the tree in hand, by its nodes' numbers. */
    int32_t *order;          /* nodes that were reached, parents first */
    int32_t n_order;
    uint8_t *verdict;        /* enum verdict */
    int32_t *result;         /* what the node became: a child's number */
    /* What remains, written from the start. */
    int64_t n_nodes, n_leaves, n_coefs;
    int32_t *tree_start, *leaf_start, *feature, *left, *right, *set;
    double *threshold, *leaf_value, *leaf_const, *coef;
    uint8_t *flags;
    int32_t *leaf_id, *coef_start, *coef_feature;
    struct emission *todo;
};

/* ---------------------------------------------------------------- tests -- */

/* Set nodes that ask the same: one feature, one set, one way to read it. */
struct set_test {
    int32_t feature, set, reads, node;
};

static int compare_set_tests(const void *a, const void *b)
{
    const struct set_test *x = a, *y = b;
    if (x->feature != y->feature)
        return x->feature < y->feature ? -1 : 1;
    if (x->set != y->set)
        return x->set < y->set ? -1 : 1;
    if (x->reads != y->reads)
        return x->reads < y->reads ? -1 : 1;
    return (x->node > y->node) - (x->node < y->node);
}

static void number_tests(struct pruner *p)
{
    const struct ir_forest *f = &p->forest;
    if (!f->set)
        return;
    const size_t room = (size_t)f->n_nodes;
    struct set_test *tests = ir_alloc_array(&p->scratch, room, sizeof(*tests));
    p->test = ir_alloc_array(&p->scratch, room, sizeof(*p->test));
    size_t n = 0;
    for (int32_t i = 0; i < f->n_nodes; i++)
        if (f->flags[i] & IR_NODE_CATEGORICAL)
            tests[n++] = (struct set_test){
                f->feature[i], f->set[i], f->flags[i] & ~IR_NODE_MISSING_LEFT,
                i};
    qsort(tests, n, sizeof(*tests), compare_set_tests);
    int32_t number = 0;
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && (tests[i].feature != tests[i - 1].feature ||
                      tests[i].set != tests[i - 1].set ||
                      tests[i].reads != tests[i - 1].reads))
            number++;
        p->test[tests[i].node] = number;
    }
    p->membership = ir_alloc(&p->scratch, (size_t)number + 1);
}

/* ---------------------------------------------------------------- reach -- */

static bool is_reached(const struct reach *r)
{
    return r->nan || r->low <= r->high;
}

static void widen(struct reach *r, int64_t low, int64_t high)
{
    if (low > high)
        return;
    r->low = low < r->low ? low : r->low;
    r->high = high > r->high ? high : r->high;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static bool is_empty_set(const struct ir_forest *f, int32_t set)
{
    const int32_t n = f->set_start[set + 1] - f->set_start[set];
    return n == 0 || (n == 1 && f->set_words[f->set_start[set]] == 0);
}

/* Sends the numbers at [low, high] to the sides that they can take at global
 * node `i`; side[0] is the left. */
static void send_numbers(const struct pruner *p, int64_t i, int64_t low,
                         int64_t high, struct reach side[2])
{
    const struct ir_forest *f = &p->forest;
    if (!(f->flags[i] & IR_NODE_CATEGORICAL)) {
        const int64_t split = pass_test_order(f, i);
        widen(&side[0], low, least(high, split));
        widen(&side[1], split == PASS_NEVER ? low : most(low, split + 1),
              high);
        return;
    }
    const int known = is_empty_set(f, f->set[i]) ? NO_MEMBER
                                                 : p->membership[p->test[i]];
    if (known != NO_MEMBER)
        widen(&side[0], low, high);
    if (known != MEMBER)
        widen(&side[1], low, high);
}

/* Splits what reaches global node `i` into what can go left and right. */
static void split_reach(const struct pruner *p, int64_t i,
                        const struct reach *in, struct reach side[2])
{
    const uint8_t flags = p->forest.flags[i];
    const int missing = !(flags & IR_NODE_MISSING_LEFT);
    for (int k = 0; k < 2; k++)
        side[k] = (struct reach){.low = INT64_MAX, .high = INT64_MIN};
    side[missing].nan = in->nan;
    const int64_t low = most(in->low, -p->zero);
    const int64_t high = least(in->high, p->zero);
    if (in->zero && low <= high) {
        struct reach zeros[2] = {{.low = INT64_MAX, .high = INT64_MIN},
                                 {.low = INT64_MAX, .high = INT64_MIN}};
        if (flags & IR_NODE_ZERO_MISSING)
            widen(&zeros[missing], low, high);
        else
            send_numbers(p, i, low, high, zeros);
        for (int k = 0; k < 2; k++) {
            side[k].zero = is_reached(&zeros[k]);
            widen(&side[k], zeros[k].low, zeros[k].high);
        }
    }
    if (in->low <= least(in->high, -p->zero - 1))
        send_numbers(p, i, in->low, least(in->high, -p->zero - 1), side);
    if (most(in->low, p->zero + 1) <= in->high)
        send_numbers(p, i, most(in->low, p->zero + 1), in->high, side);
}

/* -------------------------------------------------------------- the walk -- */

static void push_step(struct pruner *p, struct step step)
{
    if (p->n_path == p->path_capacity) {
        p->path_capacity = p->path_capacity ? 2 * p->path_capacity : 64;
        p->path = ir_realloc_array(p->path, p->path_capacity,
                                   sizeof(*p->path));
    }
    p->path[p->n_path++] = step;
}

/* Enters child `at` of tree `t`: passes through nodes that are decided and
 * stops at a leaf, or at a node that both sides can leave, which is put on the
 * path with its left side in force. */
static void enter(struct pruner *p, int32_t first, int32_t at)
{
    const struct ir_forest *f = &p->forest;
    while (at >= 0) {
        const int64_t i = (int64_t)first + at;
        struct reach *reach = &p->reach[f->feature[i]];
        struct reach side[2];
        split_reach(p, i, reach, side);
        const bool left = is_reached(&side[0]), right = is_reached(&side[1]);
        p->order[p->n_order++] = at;
        p->verdict[at] = left && right ? BOTH : left ? LEFT : RIGHT;
        if (p->verdict[at] == BOTH) {
            push_step(p, (struct step){.node = at, .before = *reach,
                                       .right = side[1]});
            *reach = side[0];
            if (f->flags[i] & IR_NODE_CATEGORICAL) {
                p->path[p->n_path - 1].membership = p->membership[p->test[i]];
                p->membership[p->test[i]] = MEMBER;
            }
            return;
        }
        at = p->verdict[at] == LEFT ? f->left[i] : f->right[i];
    }
}

static void walk_tree(struct pruner *p, int32_t first, int32_t root)
{
    const struct ir_forest *f = &p->forest;
    p->n_order = 0;
    enter(p, first, root);
    while (p->n_path > 0) {
        struct step *step = &p->path[p->n_path - 1];
        const int64_t i = (int64_t)first + step->node;
        const bool is_set = f->flags[i] & IR_NODE_CATEGORICAL;
        struct reach *reach = &p->reach[f->feature[i]];
        switch (step->stage++) {
        case 0:
            enter(p, first, f->left[i]);
            break;
        case 1:
            *reach = step->right;
            if (is_set)
                p->membership[p->test[i]] = NO_MEMBER;
            enter(p, first, f->right[i]);
            break;
        default:
            *reach = step->before;
            if (is_set)
                p->membership[p->test[i]] = step->membership;
            p->n_path--;
            break;
        }
    }
}

/* -------------------------------------------------------------- merging -- */

static bool is_linear(const struct ir_forest *f, int64_t leaf)
{
    return f->coef_start && f->coef_start[leaf] != f->coef_start[leaf + 1];
}

/* Whether two leaves give the same bits for every row. */
static bool equal_leaves(const struct ir_forest *f, int64_t a, int64_t b)
{
    const size_t bytes =
        (size_t)f->leaf_width * ir_dtype_bytes(f->sum_dtype);
    const char *value = f->leaf_value;
    return !is_linear(f, a) && !is_linear(f, b) &&
           memcmp(value + (size_t)a * bytes, value + (size_t)b * bytes,
                  bytes) == 0 &&
           (!f->leaf_const || memcmp(&f->leaf_const[a], &f->leaf_const[b],
                                     sizeof(double)) == 0);
}

/* What the old child `at` has become; anything if it was not reached. */
static int32_t resolved(const struct pruner *p, int32_t at)
{
    return at < 0 ? at : p->result[at];
}

/* Settles what each reached node of tree `t` becomes, children first. */
static void resolve_tree(struct pruner *p, int t)
{
    const struct ir_forest *f = &p->forest;
    const int64_t leaves = f->leaf_start[t];
    for (int32_t k = p->n_order - 1; k >= 0; k--) {
        const int32_t at = p->order[k];
        const int64_t i = (int64_t)f->tree_start[t] + at;
        const int32_t left = resolved(p, f->left[i]);
        const int32_t right = resolved(p, f->right[i]);
        if (p->verdict[at] != BOTH)
            p->result[at] = p->verdict[at] == LEFT ? left : right;
        else if (!p->keep_leaves && left < 0 && right < 0 &&
                 equal_leaves(f, leaves + ~left, leaves + ~right))
            p->result[at] = left;
        else
            p->result[at] = at;
    }
}

/* -------------------------------------------------------------- writing -- */

/* A child of the old tree and where its new number goes. */
struct emission {
    int32_t child;
    int32_t *to;
};

static void copy_leaf(struct pruner *p, int64_t leaf)
{
    const struct ir_forest *f = &p->forest;
    const size_t width = (size_t)f->leaf_width;
    for (size_t k = 0; k < width; k++)
        p->leaf_value[(size_t)p->n_leaves * width + k] = ir_real(
            f->leaf_value, f->sum_dtype, (size_t)leaf * width + k);
    if (f->leaf_id)
        p->leaf_id[p->n_leaves] = f->leaf_id[leaf];
    if (f->coef_start) {
        const int32_t end = f->coef_start[leaf + 1];
        p->leaf_const[p->n_leaves] = f->leaf_const[leaf];
        for (int32_t c = f->coef_start[leaf]; c < end; c++) {
            p->coef[p->n_coefs] = f->coef[c];
            p->coef_feature[p->n_coefs++] = f->coef_feature[c];
        }
        p->coef_start[p->n_leaves + 1] = (int32_t)p->n_coefs;
    }
    p->n_leaves++;
}

static void copy_node(struct pruner *p, int64_t i)
{
    const struct ir_forest *f = &p->forest;
    p->feature[p->n_nodes] = f->feature[i];
    p->threshold[p->n_nodes] = ir_real(f->threshold, f->in_dtype, (size_t)i);
    p->flags[p->n_nodes] = f->flags[i];
    if (f->set)
        p->set[p->n_nodes] = f->set[i];
    p->n_nodes++;
}

/* Writes what tree `t` became, from `root` on, in preorder. */
static void write_tree(struct pruner *p, int t, int32_t root)
{
    const struct ir_forest *f = &p->forest;
    const int64_t first_node = p->n_nodes, first_leaf = p->n_leaves;
    if (p->keep_leaves)
        for (int64_t l = f->leaf_start[t]; l < f->leaf_start[t + 1]; l++)
            copy_leaf(p, l);
    int32_t new_root;
    size_t n = 0;
    p->todo[n++] = (struct emission){root, &new_root};
    while (n > 0) {
        const struct emission e = p->todo[--n];
        if (e.child < 0) {
            *e.to = p->keep_leaves ? e.child
                                   : ~(int32_t)(p->n_leaves - first_leaf);
            if (!p->keep_leaves)
                copy_leaf(p, (int64_t)f->leaf_start[t] + ~e.child);
            continue;
        }
        const int64_t i = (int64_t)f->tree_start[t] + e.child;
        const int64_t at = p->n_nodes;
        *e.to = (int32_t)(at - first_node);
        copy_node(p, i);
        p->todo[n++] = (struct emission){resolved(p, f->right[i]),
                                         &p->right[at]};
        p->todo[n++] = (struct emission){resolved(p, f->left[i]),
                                         &p->left[at]};
    }
    p->tree_start[t + 1] = (int32_t)p->n_nodes;
    p->leaf_start[t + 1] = (int32_t)p->n_leaves;
}

/* Tree `t` became a leaf that has to keep its number, and a tree without nodes
 * is its leaf 0: keeps the root, which still sends every row to `leaf`. */
static void write_decided_tree(struct pruner *p, int t, int32_t leaf)
{
    const int64_t at = p->n_nodes;
    const bool left = p->verdict[0] == LEFT;
    for (int64_t l = p->forest.leaf_start[t]; l < p->forest.leaf_start[t + 1];
         l++)
        copy_leaf(p, l);
    copy_node(p, p->forest.tree_start[t]);
    p->left[at] = left ? leaf : ~0;
    p->right[at] = left ? ~0 : leaf;
    p->tree_start[t + 1] = (int32_t)p->n_nodes;
    p->leaf_start[t + 1] = (int32_t)p->n_leaves;
}

static void prune_tree(struct pruner *p, int t)
{
    const struct ir_forest *f = &p->forest;
    const bool has_nodes = f->tree_start[t] < f->tree_start[t + 1];
    const int32_t root = has_nodes ? 0 : ~0;
    walk_tree(p, f->tree_start[t], root);
    resolve_tree(p, t);
    const int32_t now = resolved(p, root);
    if (p->keep_leaves && now < 0 && now != ~0)
        write_decided_tree(p, t, now);
    else
        write_tree(p, t, now);
}

/* --------------------------------------------------------------- the op -- */

/* Room for as much as there was: a forest never grows. */
static void take_memory(struct pruner *p)
{
    const struct ir_forest *f = &p->forest;
    struct ir_arena *a = &p->scratch;
    const size_t nodes = (size_t)f->n_nodes, leaves = (size_t)f->n_leaves;
    const size_t coefs = f->coef_start ? (size_t)f->coef_start[leaves] : 0;
    p->reach = ir_alloc_array(a, (size_t)f->n_features, sizeof(*p->reach));
    p->order = ir_alloc_array(a, nodes, sizeof(*p->order));
    p->verdict = ir_alloc_array(a, nodes, sizeof(*p->verdict));
    p->result = ir_alloc_array(a, nodes, sizeof(*p->result));
    p->todo = ir_alloc_array(a, nodes + 1, sizeof(*p->todo));
    p->tree_start = ir_alloc_array(a, (size_t)f->n_trees + 1, 4);
    p->leaf_start = ir_alloc_array(a, (size_t)f->n_trees + 1, 4);
    p->feature = ir_alloc_array(a, nodes, sizeof(*p->feature));
    p->threshold = ir_alloc_array(a, nodes, sizeof(*p->threshold));
    p->left = ir_alloc_array(a, nodes, sizeof(*p->left));
    p->right = ir_alloc_array(a, nodes, sizeof(*p->right));
    p->flags = ir_alloc_array(a, nodes, sizeof(*p->flags));
    p->set = ir_alloc_array(a, f->set ? nodes : 0, sizeof(*p->set));
    p->leaf_value = ir_alloc_array(a, leaves * (size_t)f->leaf_width,
                                   sizeof(*p->leaf_value));
    p->leaf_id = ir_alloc_array(a, f->leaf_id ? leaves : 0,
                                sizeof(*p->leaf_id));
    p->leaf_const = ir_alloc_array(a, f->coef_start ? leaves : 0,
                                   sizeof(*p->leaf_const));
    p->coef_start = ir_alloc_array(a, leaves + 1, sizeof(*p->coef_start));
    p->coef_feature = ir_alloc_array(a, coefs, sizeof(*p->coef_feature));
    p->coef = ir_alloc_array(a, coefs, sizeof(*p->coef));
}

static void store(struct pruner *p, struct ir_module *module, struct ir_op *op)
{
    const struct ir_forest *f = &p->forest;
    const int64_t n = p->n_nodes, leaves = p->n_leaves, trees = f->n_trees;
    pass_set_tensor(module, op, "tree_start", IR_I32, trees + 1, p->tree_start);
    pass_set_tensor(module, op, "leaf_start", IR_I32, trees + 1, p->leaf_start);
    pass_set_tensor(module, op, "feature", IR_I32, n, p->feature);
    pass_set_reals(module, op, "threshold", f->in_dtype, n, p->threshold);
    pass_set_tensor(module, op, "left", IR_I32, n, p->left);
    pass_set_tensor(module, op, "right", IR_I32, n, p->right);
    pass_set_tensor(module, op, "flags", IR_U8, n, p->flags);
    pass_set_reals(module, op, "leaf_value", f->sum_dtype,
                   leaves * f->leaf_width, p->leaf_value);
    pass_drop_attr(op, "cover"); /* of leaves that may have been merged */
    if (f->leaf_id)
        pass_set_tensor(module, op, "leaf_id", IR_I32, leaves, p->leaf_id);
    if (f->set)
        pass_set_tensor(module, op, "set", IR_I32, n, p->set);
    if (!f->coef_start)
        return;
    pass_set_tensor(module, op, "leaf_const", IR_F64, leaves, p->leaf_const);
    pass_set_tensor(module, op, "coef_start", IR_I32, leaves + 1,
                    p->coef_start);
    pass_set_tensor(module, op, "coef_feature", IR_I32, p->n_coefs,
                    p->coef_feature);
    pass_set_tensor(module, op, "coef", IR_F64, p->n_coefs, p->coef);
}

static void prune_trees(struct ir_module *module, struct ir_op *op,
                        bool keep_leaves)
{
    struct pruner p = {.keep_leaves = keep_leaves};
    ir_forest_view(op, &p.forest);
    ir_arena_init(&p.scratch);
    take_memory(&p);
    number_tests(&p);
    p.zero = pass_zero_order(&p.forest);
    const int64_t last = pass_last_order(p.forest.in_dtype);
    for (int i = 0; i < p.forest.n_features; i++)
        p.reach[i] = (struct reach){-last, last, true, true};
    for (int t = 0; t < p.forest.n_trees; t++)
        prune_tree(&p, t);
    store(&p, module, op);
    free(p.path);
    ir_arena_release(&p.scratch);
}

bool pass_prune(struct ir_module *module, const struct pass_options *options,
                struct ir_diag *diag)
{
    (void)options;
    (void)diag;
    struct ir_arena scratch;
    ir_arena_init(&scratch);
    const int *uses = pass_count_uses(module, &scratch);
    for (int i = 0; i < module->n_ops; i++)
        if (module->ops[i]->kind == IR_OP_trees)
            prune_trees(module, module->ops[i],
                        uses[module->ops[i]->result[1].id] > 0);
    ir_arena_release(&scratch);
    return true;
}
