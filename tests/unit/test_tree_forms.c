/* test_tree_forms.c: trees as Boolean circuits (circuits.c) and as clusters of
 * nodes (clusters.c), against a walk from node to node: for small trees with
 * every combination of the tests' answers, for large ones with some. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "ir/ir.h"

#include <stdlib.h>
#include <string.h>

enum { most_leaves = 65536, all_answers = 11, some_answers = 30 };

static uint64_t seed;

static int draw(int below)
{
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (int)((seed >> 33) % (uint64_t)below);
}

/* ----------------------------------------------------------------- trees -- */

struct tree {
    int32_t left[most_leaves], right[most_leaves];
    int32_t tree_start[2], leaf_start[2];
    int32_t *where[most_leaves]; /* the side of a node that a leaf is */
    bool young[most_leaves];     /* of a leaf, for Fibonacci's trees */
    int n_nodes, n_leaves;
    struct ir_forest f;
};

static struct tree tree;

static void start(void)
{
    memset(&tree, 0, sizeof(tree));
    tree.n_leaves = 1;
}

/* The leaf becomes a node with it on the left and a new leaf on the right. */
static int split(int leaf)
{
    const int node = tree.n_nodes++, other = tree.n_leaves++;
    if (tree.where[leaf])
        *tree.where[leaf] = node;
    tree.left[node] = ~leaf;
    tree.right[node] = ~other;
    tree.where[leaf] = &tree.left[node];
    tree.where[other] = &tree.right[node];
    return other;
}

static void swap(int32_t *a, int32_t *b)
{
    const int32_t was = *a;
    *a = *b;
    *b = was;
}

/* Numbers nodes, but for the root, and leaves in another order; `more` leaves
 * are reached by no node. */
static void shuffle(int more)
{
    static int32_t node[most_leaves], leaf[most_leaves], to[2][most_leaves];
    const int n = tree.n_nodes;
    tree.n_leaves += more;
    for (int i = 0; i < tree.n_leaves; i++)
        leaf[i] = node[i] = i;
    for (int i = n; i-- > 2;)
        swap(&node[i], &node[1 + draw(i)]);
    for (int i = tree.n_leaves; i-- > 1 && n > 0;)
        swap(&leaf[i], &leaf[draw(i + 1)]);
    for (int i = 0; i < n; i++)
        for (int side = 0; side < 2; side++) {
            const int32_t child = side ? tree.right[i] : tree.left[i];
            to[side][node[i]] = child < 0 ? ~leaf[~child] : node[child];
        }
    memcpy(tree.left, to[0], (size_t)n * sizeof(int32_t));
    memcpy(tree.right, to[1], (size_t)n * sizeof(int32_t));
}

static void finish(void)
{
    tree.tree_start[1] = tree.n_nodes;
    tree.leaf_start[1] = tree.n_leaves;
    tree.f = (struct ir_forest){
        .n_trees = 1, .n_nodes = tree.n_nodes, .n_leaves = tree.n_leaves,
        .tree_start = tree.tree_start, .leaf_start = tree.leaf_start,
        .left = tree.left, .right = tree.right};
}

enum shape { LEFT, RIGHT, ZIGZAG, BALANCED, FIBONACCI, RANDOM, N_SHAPES };

/* A chain of one side or of both in turn, a balanced tree, one of the deepest
 * among those of balanced height, or one that grew at random. */
static void grow(enum shape shape, int n)
{
    int at = 0;
    start();
    while (tree.n_leaves < n) {
        const int round = tree.n_leaves;
        switch (shape) {
        case LEFT: split(0); break;
        case RIGHT: at = split(at); break;
        case ZIGZAG: at = tree.n_nodes % 2 ? (split(at), at) : split(at); break;
        case RANDOM: split(draw(tree.n_leaves)); break;
        default:
            for (int i = 0; i < round && tree.n_leaves < n; i++) {
                if (!tree.young[i])
                    tree.young[split(i)] = shape == FIBONACCI;
                else
                    tree.young[i] = false;
            }
        }
    }
    finish();
}

/* The leaf that a row comes to whose answers these are, by node. */
static int walk(const bool *goes_left)
{
    int32_t at = tree.n_nodes ? 0 : ~0;
    while (at >= 0)
        at = goes_left[at] ? tree.left[at] : tree.right[at];
    return ~at;
}

/* -------------------------------------------------------------- circuits -- */

/* An operand's bit; of IR_ANY, the one given. */
static bool value_of(int32_t operand, const bool *goes_left, const int8_t *made,
                     bool any)
{
    if (operand >= 0) {
        assert_true(operand < IR_MOST_TEMPORARIES);
        assert_true(made[operand] >= 0); /* written before it is read */
        return made[operand];
    }
    return operand == IR_ONES ? true
         : operand == IR_ZEROS ? false
         : operand == IR_ANY ? any : goes_left[IR_TEST(operand)];
}

/* The code that the circuit computes. */
static unsigned run_circuit(const struct ir_circuit *c, const bool *goes_left,
                            bool any)
{
    int8_t made[IR_MOST_TEMPORARIES];
    unsigned code = 0;
    memset(made, -1, sizeof(made));
    for (int i = 0; i < c->n_blends; i++) {
        const struct ir_blend *b = &c->blend[i];
        assert_true(b->left != IR_ANY && b->right != IR_ANY);
        assert_in_range(b->to, 0, c->n_temporaries - 1);
        const bool left = value_of(b->left, goes_left, made, any);
        const bool right = value_of(b->right, goes_left, made, any);
        made[b->to] = goes_left[b->node] ? left : right;
    }
    for (int k = 0; k < c->n_bits; k++)
        code |= (unsigned)value_of(c->bit[k], goes_left, made, any) << k;
    return code;
}

static void check_circuit(const struct ir_circuit *c, const bool *goes_left)
{
    for (int any = 0; any < 2; any++) {
        const unsigned code = run_circuit(c, goes_left, any);
        const struct ir_leaf_code *leaf = &c->leaf[walk(goes_left)];
        assert_true(leaf->reached);
        assert_int_equal((code ^ leaf->code) & ~leaf->any, 0);
    }
}

/* No code is two leaves'; those of no leaf do not count. */
static void check_codes(const struct ir_circuit *c, int n_unreached)
{
    static bool taken[1 << IR_MOST_CODE_BITS];
    memset(taken, 0, sizeof(taken));
    for (int i = 0; i < c->n_leaves; i++) {
        const unsigned any = c->leaf[i].any;
        n_unreached -= !c->leaf[i].reached;
        if (!c->leaf[i].reached)
            continue;
        assert_true((c->leaf[i].code | any) < 1u << c->n_bits);
        /* All subsets of `any`, the empty one last. */
        for (unsigned bits = any;; bits = (bits - 1) & any) {
            const unsigned code = (c->leaf[i].code & ~any) | bits;
            assert_false(taken[code]);
            taken[code] = true;
            if (!bits)
                break;
        }
    }
    assert_int_equal(n_unreached, 0);
}

static void check_circuit_limits(const struct ir_circuit *c)
{
    assert_int_equal(c->n_nodes, tree.n_nodes);
    assert_int_equal(c->n_leaves, tree.n_leaves);
    assert_in_range(c->n_temporaries, 0, IR_MOST_TEMPORARIES);
    assert_in_range(c->n_bits, 0, tree.n_leaves <= 256 ? 8 : IR_MOST_CODE_BITS);
    /* Packing only ever saves operations on one a node and bit. */
    assert_true(c->n_blends <= c->n_nodes * IR_MOST_CODE_BITS);
}

/* -------------------------------------------------------------- clusters -- */

static void check_cut(const struct ir_cut *cut, const bool *goes_left)
{
    int at = 0, steps = 1;
    for (;; steps++) {
        const struct ir_cluster *c = &cut->cluster[at];
        assert_int_equal(c->depth, steps);
        int k = c->n_nodes ? 0 : ~0;
        while (k >= 0)
            k = c->child[k][!goes_left[c->node[k]]];
        const int32_t exit = c->exit[~k];
        if (exit < 0) {
            assert_int_equal(~exit, walk(goes_left));
            return;
        }
        assert_in_range(exit, at + 1, cut->n - 1);
        at = exit;
    }
}

/* Each node is in one cluster, each cluster but the first at one exit, each
 * leaf that is reached too; and clusters are full unless all below is in. */
static void check_cut_form(const struct ir_cut *cut, int lanes, int n_unreached)
{
    static uint8_t node[most_leaves], leaf[most_leaves], cluster[most_leaves];
    int depth = 0, n_nodes = 0, n_leaves = 0;
    memset(node, 0, sizeof(node));
    memset(leaf, 0, sizeof(leaf));
    memset(cluster, 0, sizeof(cluster));
    for (int i = 0; i < cut->n; i++) {
        const struct ir_cluster *c = &cut->cluster[i];
        bool all_leaves = true;
        assert_int_equal(c->n_exits, c->n_nodes + 1);
        assert_in_range(c->n_exits, 1, lanes);
        depth = c->depth > depth ? c->depth : depth;
        n_nodes += c->n_nodes;
        for (int k = 0; k < c->n_nodes; k++)
            assert_int_equal(node[c->node[k]]++, 0);
        for (int k = 0; k < c->n_exits; k++) {
            const int32_t to = c->exit[k];
            all_leaves = all_leaves && to < 0;
            n_leaves += to < 0;
            assert_int_equal((to < 0 ? &leaf[~to] : &cluster[to])[0]++, 0);
        }
        assert_true(all_leaves || c->n_exits == lanes);
        assert_int_equal(cluster[i], i > 0);
    }
    assert_int_equal(depth, cut->depth);
    assert_int_equal(n_nodes, tree.n_nodes);
    assert_int_equal(n_leaves, tree.n_leaves - n_unreached);
}

/* ----------------------------------------------------------------- tests -- */

/* What is used again for all trees, as its callers do. */
static struct ir_circuit circuit;
static struct ir_cut cut[2];

/* Answers number `i`: bits of i for small trees, else all, none or drawn. */
static void answer(bool *goes_left, int i)
{
    for (int node = 0; node < tree.n_nodes; node++)
        goes_left[node] = tree.n_nodes <= all_answers ? i >> node & 1
                          : i < 2                     ? i
                          : i < 6                     ? draw(i) == 0
                                                      : draw(2);
}

/* The same where codes are asked to be of few bits. */
static void check_few_bits(int n_unreached, int few_bits, int n_answers)
{
    static bool goes_left[most_leaves];
    ir_make_circuit(&circuit, &tree.f, 0, few_bits);
    check_circuit_limits(&circuit);
    check_codes(&circuit, n_unreached);
    if (tree.f.n_leaves <= 1 << few_bits)
        assert_in_range(circuit.n_bits, 0, few_bits);
    for (int i = 0; i < n_answers; i++) {
        answer(goes_left, i);
        check_circuit(&circuit, goes_left);
    }
}

static void check_tree(int n_unreached)
{
    static bool goes_left[most_leaves];
    const int n = tree.n_nodes <= all_answers ? 1 << tree.n_nodes
                  : tree.n_nodes < 5000       ? some_answers : 8;
    ir_make_circuit(&circuit, &tree.f, 0, IR_BYTE_BITS);
    check_circuit_limits(&circuit);
    check_codes(&circuit, n_unreached);
    for (int l = 0; l < 2; l++) {
        ir_cut_tree(&cut[l], &tree.f, 0, 16 << l);
        check_cut_form(&cut[l], 16 << l, n_unreached);
    }
    for (int i = 0; i < n; i++) {
        answer(goes_left, i);
        check_circuit(&circuit, goes_left);
        check_cut(&cut[0], goes_left);
        check_cut(&cut[1], goes_left);
    }
    if (tree.n_nodes < 300)
        check_few_bits(n_unreached, 6, n < 64 ? n : 64);
}

static void all_small_trees_of_a_shape(void **state)
{
    (void)state;
    for (int shape = 0; shape < N_SHAPES; shape++)
        for (int n = 1; n <= 70; n++) {
            grow((enum shape)shape, n);
            check_tree(0);
        }
}

static void random_trees(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        const int more = i % 3 ? 0 : draw(5);
        grow(RANDOM, 1 + draw(i % 2 ? 12 : 300));
        shuffle(more);
        finish();
        check_tree(more);
    }
}

/* As many leaves as bytes number, one more, and as many as there may be. */
static void large_trees(void **state)
{
    (void)state;
    static const int sizes[] = {255, 256, 257, 4181, most_leaves};
    for (int shape = 0; shape < N_SHAPES; shape++)
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            grow((enum shape)shape, sizes[i]);
            check_tree(0);
        }
}

/* In a balanced tree a node's highest bit is its test, and each bit below one
 * operation: h - 1 of them at height h. Choosing codes only saves some. */
static void balanced_trees_cost_no_more_than_numbers(void **state)
{
    (void)state;
    int most = 0;
    for (int h = 1; h <= 10; h++) {
        most = 2 * most + h - 1;
        grow(BALANCED, 1 << h);
        ir_make_circuit(&circuit, &tree.f, 0, IR_BYTE_BITS);
        assert_in_range(circuit.n_blends, 0, most);
    }
}

/* The tests of one node are the bit itself; a leaf takes none. */
static void smallest_trees(void **state)
{
    (void)state;
    grow(LEFT, 1);
    ir_make_circuit(&circuit, &tree.f, 0, IR_BYTE_BITS);
    assert_int_equal(circuit.n_blends, 0);
    ir_cut_tree(&cut[0], &tree.f, 0, 16);
    assert_int_equal(cut[0].n, 1);
    assert_int_equal(cut[0].cluster[0].exit[0], ~0);
    grow(LEFT, 2);
    ir_make_circuit(&circuit, &tree.f, 0, IR_BYTE_BITS);
    assert_int_equal(circuit.n_blends, 0);
    assert_int_equal(circuit.bit[0], IR_TEST(0));
}

/* A tree that is not the first: nodes and leaves are numbered in the tree for
 * circuits, nodes in the forest for clusters. */
static void second_tree(void **state)
{
    (void)state;
    static const int32_t left[] = {~0, 1, ~0}, right[] = {~1, ~2, ~1};
    static const int32_t tree_start[] = {0, 1, 3}, leaf_start[] = {0, 2, 5};
    const struct ir_forest f = {
        .n_trees = 2, .n_nodes = 3, .n_leaves = 5, .tree_start = tree_start,
        .leaf_start = leaf_start, .left = left, .right = right};
    ir_make_circuit(&circuit, &f, 1, IR_BYTE_BITS);
    assert_int_equal(circuit.n_nodes, 2);
    assert_int_equal(circuit.n_leaves, 3);
    ir_cut_tree(&cut[0], &f, 1, 16);
    const struct ir_cluster *c = &cut[0].cluster[0];
    assert_int_equal(c->n_nodes, 2);
    assert_int_equal(c->node[0], 1);
    assert_int_equal(c->node[1], 2);
}

static int release(void **state)
{
    (void)state;
    ir_circuit_release(&circuit);
    ir_cut_release(&cut[0]);
    ir_cut_release(&cut[1]);
    ir_circuit_release(&circuit); /* of nothing */
    ir_cut_release(&cut[0]);
    assert_null(circuit.blend);
    assert_null(cut[0].cluster);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smallest_trees),
        cmocka_unit_test(second_tree),
        cmocka_unit_test(balanced_trees_cost_no_more_than_numbers),
        cmocka_unit_test(all_small_trees_of_a_shape),
        cmocka_unit_test(random_trees),
        cmocka_unit_test(large_trees),
    };
    return cmocka_run_group_tests(tests, NULL, release);
}
