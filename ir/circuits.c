/* circuits.c: a tree as a circuit of Boolean operations, for the strategy
 * `slice`.
 *
 * Each leaf has a code, and bit k of the code of the leaf that a row comes to
 * is a function of the row's answers to the tests: at a node, that of the left
 * child where the row goes left, else that of the right one. So bits are made
 * from the leaves up, and where the two sides agree nothing has to be done.
 * Codes are given out so that they mostly do: of two subtrees the one with
 * fewer bits lies in a block of 2^s codes, and stands for all of them where s
 * is more than it needs, so that the bits between are whatever the larger one's
 * are. What there is of such room is shared out by leaves. */
#include "ir/ir_impl.h"

#include <stdlib.h>
#include <string.h>

enum { none = -1, most_free = 4 };

/* A subtree as codes are given to it. Codes are relative to its own. */
struct ir_subtree {
    int32_t n_leaves, mass; /* codes that it stands for */
    int n_bits;
    int32_t code;  /* what its parent's are xored with */
    int32_t any;   /* bits in which it stands for both */
    /* Blocks of 2^s codes that no leaf has, some of them: n_free[s]. */
    int32_t free[IR_MOST_CODE_BITS][most_free];
    uint8_t n_free[IR_MOST_CODE_BITS];
};

/* Children of the node, as numbers of subtrees: nodes, then leaves. */
static void children_of(const struct ir_circuit *c, const struct ir_forest *f,
                        int tree, int32_t node, int32_t child[2])
{
    const int64_t at = (int64_t)f->tree_start[tree] + node;
    child[0] = f->left[at] < 0 ? c->n_nodes + ~f->left[at] : f->left[at];
    child[1] = f->right[at] < 0 ? c->n_nodes + ~f->right[at] : f->right[at];
}

static void start_tree(struct ir_circuit *c, const struct ir_forest *f,
                       int tree)
{
    c->n_nodes = f->tree_start[tree + 1] - f->tree_start[tree];
    c->n_leaves = f->leaf_start[tree + 1] - f->leaf_start[tree];
    const size_t n = (size_t)c->n_nodes + (size_t)c->n_leaves;
    c->order = ir_realloc_array(c->order, n + 1, sizeof(*c->order));
    c->subtree = ir_realloc_array(c->subtree, n + 1, sizeof(*c->subtree));
    c->leaf = ir_realloc_array(c->leaf, n + 1, sizeof(*c->leaf));
    c->blend = ir_realloc_array(c->blend, n * IR_MOST_CODE_BITS + 1,
                                sizeof(*c->blend));
    for (size_t i = 0; i < n; i++)
        c->subtree[i] = (struct ir_subtree){.n_leaves = 0, .mass = 1};
    if (c->n_nodes == 0)
        c->subtree[0].n_leaves = 1;
    int found = 0; /* nodes, parents before their children */
    if (c->n_nodes > 0)
        c->order[found++] = 0;
    for (int i = 0; i < found; i++) {
        int32_t child[2];
        children_of(c, f, tree, c->order[i], child);
        for (int side = 0; side < 2; side++)
            if (child[side] < c->n_nodes)
                c->order[found++] = child[side];
            else
                c->subtree[child[side]].n_leaves = 1;
    }
    for (int i = found; i-- > 0;) {
        int32_t child[2];
        children_of(c, f, tree, c->order[i], child);
        c->subtree[c->order[i]].n_leaves = c->subtree[child[0]].n_leaves +
                                           c->subtree[child[1]].n_leaves;
    }
}

/* ---------------------------------------------------------------- codes -- */

static void keep_free(struct ir_subtree *t, int s, int32_t at)
{
    if (t->n_free[s] < most_free)
        t->free[s][t->n_free[s]++] = at;
}

/* Takes a block of 2^s codes out of one of 2^size at `at`: what is left of it
 * are a block of each size between. */
static void split_block(struct ir_subtree *t, int32_t at, int size, int s)
{
    for (int k = s; k < size; k++)
        keep_free(t, k, at ^ (1 << k));
}

/* The smallest free block of at least 2^s codes: its size, or none. */
static int find_block(const struct ir_subtree *t, int s)
{
    for (int size = s; size < t->n_bits; size++)
        if (t->n_free[size])
            return size;
    return none;
}

/* Puts `small` into a block of 2^s codes beside the codes of `large`, which
 * `to` takes over; false when there is no such block among codes of `bits`. */
static bool place_small(struct ir_subtree *to, struct ir_subtree *large,
                        struct ir_subtree *small, int s, int bits,
                        bool large_left)
{
    const int size = find_block(large, s), b = large->n_bits;
    if (size == none && b == bits)
        return false;
    memcpy(to->free, large->free, sizeof(to->free));
    memcpy(to->n_free, large->n_free, sizeof(to->n_free));
    to->n_bits = b;
    large->code = large->any = 0;
    if (size != none) {
        small->code = to->free[size][--to->n_free[size]];
        split_block(to, small->code, size, s);
    } else { /* one more bit, which is one where the row goes left */
        const int32_t high = 1 << b;
        to->n_bits = b + 1;
        small->code = large_left ? 0 : high;
        large->code = large_left ? high : 0;
        for (int k = 0; k < b; k++)
            for (int i = 0; i < to->n_free[k]; i++)
                to->free[k][i] ^= large->code;
        split_block(to, small->code, b, s);
    }
    for (int k = 0; k < small->n_bits; k++)
        for (int i = 0; i < small->n_free[k]; i++)
            keep_free(to, k, small->code ^ small->free[k][i]);
    small->any = (1 << s) - (1 << small->n_bits);
    to->mass = large->mass + (1 << s);
    return true;
}

/* The codes of a node's two subtrees, of at most `bits`; `budget` is shared out
 * by leaves. */
static bool join(struct ir_circuit *c, int32_t node, const int32_t child[2],
                 int bits, int budget)
{
    struct ir_subtree *to = &c->subtree[node];
    struct ir_subtree *left = &c->subtree[child[0]];
    struct ir_subtree *right = &c->subtree[child[1]];
    const bool large_left = left->n_bits > right->n_bits;
    struct ir_subtree *large = large_left ? left : right;
    struct ir_subtree *small = large_left ? right : left;
    /* Of all codes as much as it has of the leaves. */
    const int64_t room =
        ((int64_t)to->n_leaves << budget) / c->subtree[0].n_leaves -
        large->mass;
    int s = large->n_bits;
    while (s > small->n_bits && (int64_t)1 << s > room)
        s--;
    while (s >= small->n_bits)
        if (place_small(to, large, small, s--, bits, large_left))
            return true;
    return false;
}

static bool pack_codes(struct ir_circuit *c, const struct ir_forest *f,
                       int tree, int bits, int budget)
{
    for (int i = 0; i < c->n_leaves; i++)
        c->subtree[c->n_nodes + i].any = 0;
    for (int i = c->n_nodes; i-- > 0;) {
        int32_t child[2];
        children_of(c, f, tree, c->order[i], child);
        if (!join(c, c->order[i], child, bits, budget))
            return false;
    }
    c->n_bits = c->n_nodes > 0 ? c->subtree[0].n_bits : 0;
    return true;
}

/* One code a leaf, from left to right: for trees that cannot be packed. In the
 * reflected code, in which neighbours differ in one bit. */
static void number_leaves(struct ir_circuit *c, const struct ir_forest *f,
                          int tree, int bits)
{
    c->n_bits = bits;
    c->subtree[0].code = 0;
    for (int i = 0; i < c->n_nodes; i++) {
        int32_t child[2];
        children_of(c, f, tree, c->order[i], child);
        const int32_t first = c->subtree[c->order[i]].code;
        const int32_t second = first + c->subtree[child[0]].n_leaves;
        c->subtree[child[0]].code = first;
        c->subtree[child[1]].code = second;
        c->subtree[child[0]].any = c->subtree[child[1]].any = 0;
    }
}

/* From codes relative to parents' to the leaves'. */
static void resolve_codes(struct ir_circuit *c, const struct ir_forest *f,
                          int tree, bool relative)
{
    if (c->n_nodes > 0)
        c->subtree[0].code = c->subtree[0].any = 0;
    for (int i = 0; i < c->n_nodes; i++) {
        int32_t child[2];
        children_of(c, f, tree, c->order[i], child);
        const struct ir_subtree *parent = &c->subtree[c->order[i]];
        for (int side = 0; side < 2 && relative; side++) {
            c->subtree[child[side]].code ^= parent->code;
            c->subtree[child[side]].any |= parent->any;
        }
    }
    for (int i = 0; i < c->n_leaves; i++) {
        struct ir_subtree *leaf = &c->subtree[c->n_nodes + i];
        if (!relative)
            leaf->code ^= leaf->code >> 1;
        c->leaf[i] = (struct ir_leaf_code){(uint16_t)leaf->code,
                                           (uint16_t)leaf->any,
                                           leaf->n_leaves > 0};
    }
}

/* -------------------------------------------------------------- circuit -- */

/* A subtree's bits: operands, or IR_ANY. */
struct ir_bits {
    int32_t bit[IR_MOST_CODE_BITS];
};

/* A node whose children's bits are being made. */
struct frame {
    int32_t node;
    int step;
    bool right_first;
    struct ir_bits result[2];
};

static struct ir_bits leaf_bits(const struct ir_circuit *c, int32_t leaf)
{
    struct ir_bits b;
    for (int k = 0; k < IR_MOST_CODE_BITS; k++)
        b.bit[k] = c->leaf[leaf].any >> k & 1    ? IR_ANY
                   : c->leaf[leaf].code >> k & 1 ? IR_ONES
                                                 : IR_ZEROS;
    return b;
}

static int32_t take_temporary(struct ir_circuit *c)
{
    return c->n_free > 0 ? c->free[--c->n_free] : c->n_temporaries++;
}

static void give_back(struct ir_circuit *c, int32_t operand)
{
    if (operand >= 0)
        c->free[c->n_free++] = operand;
}

/* What a bit is, below a node. */
static int32_t blend(struct ir_circuit *c, int32_t node, int32_t left,
                     int32_t right)
{
    if (left == right || right == IR_ANY)
        return left;
    if (left == IR_ANY)
        return right;
    if (left == IR_ONES && right == IR_ZEROS)
        return IR_TEST(node);
    give_back(c, left);
    give_back(c, right);
    const int32_t to = take_temporary(c);
    c->blend[c->n_blends++] = (struct ir_blend){node, left, right, to};
    return to;
}

/* A row of bits a subtree that waits: at most one a doubling of the leaves. */
static void make_bits(struct ir_circuit *c, const struct ir_forest *f, int tree)
{
    c->n_blends = c->n_temporaries = c->n_free = 0;
    struct frame *stack =
        ir_realloc_array(NULL, (size_t)c->n_nodes + 1, sizeof(*stack));
    struct ir_bits result = leaf_bits(c, 0);
    int depth = c->n_nodes > 0 ? 0 : -1;
    stack[0] = (struct frame){.node = 0};
    while (depth >= 0) {
        struct frame *at = &stack[depth];
        int32_t child[2];
        children_of(c, f, tree, at->node, child);
        if (at->step == 0)
            at->right_first = c->subtree[child[1]].n_leaves >
                              c->subtree[child[0]].n_leaves;
        else
            at->result[(at->step - 1) ^ at->right_first] = result;
        if (at->step == 2) {
            for (int k = 0; k < c->n_bits; k++)
                result.bit[k] = blend(c, at->node, at->result[0].bit[k],
                                      at->result[1].bit[k]);
            depth--;
            continue;
        }
        const int32_t next = child[at->step++ ^ at->right_first];
        if (next < c->n_nodes)
            stack[++depth] = (struct frame){.node = next};
        else
            result = leaf_bits(c, next - c->n_nodes);
    }
    memcpy(c->bit, result.bit, sizeof(c->bit));
    free(stack);
}

/* Packs codes by a budget of 2^budget, or numbers leaves for none; false when
 * they do not fit in `bits`. */
static bool try_budget(struct ir_circuit *c, const struct ir_forest *f,
                       int tree, int bits, int budget)
{
    if (budget == none)
        number_leaves(c, f, tree, bits);
    else if (!pack_codes(c, f, tree, bits, budget))
        return false;
    resolve_codes(c, f, tree, budget != none);
    make_bits(c, f, tree);
    return true;
}

/* How much room is shared out is found by trying: with much, subtrees stand for
 * many codes and cost little, but may come to need more bits than there are.
 * Codes are a byte where that can be. */
void ir_make_circuit(struct ir_circuit *c, const struct ir_forest *f, int tree,
                     int few_bits)
{
    int least = 0, best = none;
    start_tree(c, f, tree);
    while (1 << least < c->n_leaves)
        least++;
    const int bits = least <= few_bits               ? few_bits
                     : least <= IR_BYTE_BITS         ? IR_BYTE_BITS
                     : least + 1 < IR_MOST_CODE_BITS ? least + 1
                                                     : IR_MOST_CODE_BITS;
    try_budget(c, f, tree, least, none);
    int fewest = c->n_blends;
    for (int budget = bits + 3; budget >= least; budget--)
        if (try_budget(c, f, tree, bits, budget) && c->n_blends < fewest) {
            fewest = c->n_blends;
            best = budget;
        }
    try_budget(c, f, tree, best == none ? least : bits, best);
}

void ir_circuit_release(struct ir_circuit *c)
{
    free(c->order);
    free(c->subtree);
    free(c->leaf);
    free(c->blend);
    memset(c, 0, sizeof(*c));
}
