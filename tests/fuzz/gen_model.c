/* gen_model.c: see gen_model.h.
 *
 *   byte  0  bit 0 f32 features, 1 f32 sums, 2 "lt", 3 a divisor,
 *            4-5 the zero bound (none, 0, 1e-35f, 2.5), 6 a second forest,
 *            7 nodes and leaves numbered backwards
 *   byte  1  bits 0-3 columns less 1, 4 the last column is a tensor of three,
 *            5 the columns are joined by concat, 6 the margins too,
 *            7 no forest but ops on values, see add_value(); or with bit 7
 *            of byte 3 a net, see gen_nets.c
 *   byte  2  a bit for each of the first eight columns: a category
 *   byte  3  bits 0-1 targets less 1, 2-7 a divisor
 *   byte  4  a bit each: output of margin, leaf, and all that links give;
 *            3 the second forest's margin, 4 its leaf, 5 base margins,
 *            6 leaves have ids, 7 each leaf has a value for each target
 *   byte  5-7  two links each, 4 bits: see add_link()
 *   byte  8-15 the targets' base margins, two bytes each
 *   byte 16-   records of 8 bytes: see add_record(); those of kind 12 are ops
 *            before the forest, see add_value()
 */
#include "fuzz/gen_parts.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

enum {
    max_records = 512,
    max_nodes = max_records + 1,
    max_level = 256, /* leaves that are split at once */
};

/* ---------------------------------------------------------------- trees -- */

/* A tree as it grows: leaves are split one after the other. */
struct node {
    unsigned feature;
    double threshold;
    uint32_t words[3];
    int n_words;
    int left, right; /* a node, or ~ of a leaf */
    uint8_t flags;
};
struct leaf {
    int *parent; /* where its number stands, NULL at the root or unlinked */
    double value, constant;
    int n_coefs;
    int32_t feature[4];
    double coef[4];
};
struct growth {
    struct gen_bytes bytes;
    struct ir_forest_builder *builder;
    bool narrow, narrow_sums, backwards, ids, wide;
    int n_features, n_targets;
    double zero_bound, previous;
    int n_nodes, n_leaves, n_trees, target;
    struct node node[max_nodes];
    struct leaf leaf[max_nodes + 1];
};

static void begin_tree(struct growth *g, int target, double value)
{
    g->n_nodes = 0;
    g->n_leaves = 1;
    g->target = target;
    g->leaf[0] = (struct leaf){.value = value};
}

/* A child's number as the builder is told it; the root stays the first. */
static int numbered(const struct growth *g, int child)
{
    if (!g->backwards)
        return child;
    if (child < 0)
        return ~(g->n_leaves - 1 - ~child);
    return child == 0 ? 0 : g->n_nodes - child;
}

static void put_node(struct growth *g, const struct node *node)
{
    const int left = numbered(g, node->left);
    const int right = numbered(g, node->right);
    if (node->flags & IR_NODE_CATEGORICAL)
        ir_forest_set_node(g->builder, (int)node->feature, node->words,
                           node->n_words, left, right, node->flags);
    else
        ir_forest_node(g->builder, (int)node->feature, node->threshold, left,
                       right, node->flags);
    ir_forest_node_cover(g->builder, (double)(node->feature * 7 % 5));
}

static void put_leaf(struct growth *g, const struct leaf *leaf)
{
    if (g->wide) {
        double values[4];
        for (int k = 0; k < g->n_targets; k++)
            values[k] = leaf->value * (1 - 0.75 * k);
        ir_forest_leaf_values(g->builder, values);
    } else {
        ir_forest_leaf(g->builder, leaf->value);
    }
    ir_forest_leaf_cover(g->builder, (double)((int)(leaf->value * 7) & 7));
    if (g->ids)
        ir_forest_leaf_id(g->builder, (int32_t)(leaf->value * 3) - 1);
    if (leaf->n_coefs > 0 && !g->wide)
        ir_forest_linear(g->builder, leaf->constant, leaf->n_coefs,
                         leaf->feature, leaf->coef);
}

static void end_tree(struct growth *g)
{
    ir_forest_tree(g->builder, g->wide ? 0 : g->target);
    g->n_trees++;
    for (int i = 0; i < g->n_nodes; i++)
        put_node(g, &g->node[numbered(g, i)]);
    for (int i = 0; i < g->n_leaves; i++)
        put_leaf(g, &g->leaf[~numbered(g, ~i)]);
}

static double leaf_value(const struct growth *g, unsigned payload)
{
    const double value = (int8_t)payload / (double)(1 + (payload >> 8 & 7));
    return g->narrow_sums ? (float)value : value;
}

static void read_set(struct node *node, unsigned payload)
{
    node->n_words = payload >> 13 & 3;
    node->words[0] = (payload & 0xff) | (payload & 0xf00) << 20;
    node->words[1] = payload & 0x1000 ? 0x80000001u : 0;
    node->words[2] = 0;
}

/* The test that the record at `r` asks. */
static struct node read_test(struct growth *g, size_t r)
{
    const struct gen_bytes b = g->bytes;
    struct node node = {.feature = gen_at(b, r + 2) % (unsigned)g->n_features,
                        .flags = gen_at(b, r + 3) & 7};
    node.threshold = gen_odd_number(gen_at(b, r + 3) >> 3,
                                    gen_pair_at(b, r + 4),
                                    g->zero_bound, g->previous);
    if (g->narrow)
        node.threshold = (float)node.threshold;
    if (node.flags & IR_NODE_CATEGORICAL) {
        static const uint8_t reading[] = {0, 0, IR_NODE_FLOOR, IR_NODE_EXACT};
        node.flags &= ~IR_NODE_ZERO_MISSING; /* set tests do not have it */
        node.flags |= reading[gen_at(b, r + 3) >> 3 & 3];
        read_set(&node, gen_pair_at(b, r + 4));
    } else {
        g->previous = node.threshold;
    }
    return node;
}

/* Splits leaf l: its old value goes left and a new one right, or the other way
 * round. */
static void split_leaf(struct growth *g, int l, const struct node *test,
                       bool swapped, double value)
{
    struct leaf *old = &g->leaf[l];
    if (g->n_nodes >= max_nodes - 1 || g->n_leaves >= max_nodes)
        return;
    if (l > 0 && !old->parent) /* is not in the tree */
        return;
    const int n = g->n_nodes++;
    if (old->parent)
        *old->parent = n;
    struct node *node = &g->node[n];
    *node = *test;
    const int m = g->n_leaves++;
    node->left = ~(swapped ? m : l);
    node->right = ~(swapped ? l : m);
    old->parent = swapped ? &node->right : &node->left;
    g->leaf[m] = (struct leaf){.parent = swapped ? &node->left : &node->right,
                               .value = value};
}

/* Splits all leaves alike, so that a symmetric tree stays one. */
static void split_level(struct growth *g, const struct node *test, bool swapped,
                        double value)
{
    const int n = g->n_leaves;
    for (int l = 0; l < n && n <= max_level; l++)
        split_leaf(g, l, test, swapped,
                   g->narrow_sums ? (float)(value + l) : value + l);
}

static void make_linear(struct growth *g, size_t r)
{
    const struct gen_bytes b = g->bytes;
    struct leaf *leaf = &g->leaf[gen_at(b, r + 1) % (unsigned)g->n_leaves];
    leaf->n_coefs = gen_at(b, r + 3) & 3;
    leaf->constant = (int8_t)gen_at(b, r + 4) / 7.0;
    for (int i = 0; i < leaf->n_coefs; i++) {
        leaf->feature[i] = (int32_t)((gen_at(b, r + 2) + 3 * (unsigned)i) %
                                     (unsigned)g->n_features);
        leaf->coef[i] = (int8_t)gen_at(b, r + 5 + (size_t)i) / 3.0;
    }
}

/* A record: byte 0 says what (its top bit swaps a split's children), 1 which
 * leaf, 2 the feature, 3 flags and the kind of threshold, 4-5 the threshold or
 * the set, 6-7 the new leaf's value. */
static void add_record(struct growth *g, size_t r)
{
    const struct gen_bytes b = g->bytes;
    const bool swapped = gen_at(b, r) & 0x80;
    const double value = leaf_value(g, gen_pair_at(b, r + 6));
    struct node test;
    switch (gen_at(b, r) & 15) {
    case 15: /* another tree; byte 2: its target */
        end_tree(g);
        begin_tree(g, (int)(gen_at(b, r + 2) % (unsigned)g->n_targets), value);
        break;
    case 14: /* a leaf that no node leads to */
        if (g->n_leaves < max_nodes)
            g->leaf[g->n_leaves++] = (struct leaf){.value = value};
        break;
    case 13: /* a leaf becomes linear */
        make_linear(g, r);
        break;
    case 12: /* was an op */
        break;
    case 11: /* all leaves are split, by one test */
        test = read_test(g, r);
        split_level(g, &test, swapped, value);
        break;
    default:
        test = read_test(g, r);
        split_leaf(g, (int)(gen_at(b, r + 1) % (unsigned)g->n_leaves), &test,
                   swapped, value);
        break;
    }
}

/* --------------------------------------------------------------- columns -- */

static void add_columns(struct ir_module *module, struct gen_bytes b)
{
    const int n = 1 + (gen_at(b, 1) & 15);
    for (int i = 0; i < n; i++) {
        const bool tensor = i == n - 1 && (gen_at(b, 1) & 0x10);
        const bool category = !tensor && i < 8 && (gen_at(b, 2) >> i & 1);
        const char name[] = {'c', (char)('a' + i), 0};
        ir_add_column(module, name,
                      tensor ? IR_TENSOR_COLUMN
                             : category ? IR_CATEGORY : IR_NUMBER,
                      tensor ? 3 : 1);
    }
}

static struct ir_value *add_inputs(struct ir_module *module, struct gen_bytes b,
                                   bool narrow, struct ir_diag *diag)
{
    const int n = module->n_columns;
    if (!(gen_at(b, 1) & 0x20))
        return gen_input(module, 0, n, narrow, diag);
    struct ir_value *part[16];
    for (int i = 0; i < n; i++)
        part[i] = gen_input(module, i, 1, narrow, diag);
    return gen_op(module, IR_OP_concat, n, part, 0, NULL, diag);
}

/* ---------------------------------------------------------------- links -- */

/* Adds what 4 bits of the header say; NULL when the chain ends, because
 * nothing here computes on classes. */
static struct ir_value *add_link(struct ir_module *module, unsigned kind,
                                 struct ir_value *x, struct ir_diag *diag)
{
    static const double alpha[] = {1, 0.5, -2, 0};
    const struct ir_attr sigmoid = ir_float("alpha", alpha[kind & 3]);
    const struct ir_attr divisor = ir_float("divisor", alpha[kind & 1] * 3);
    const struct ir_attr bound = ir_float("bound", alpha[kind & 3]);
    switch (kind) {
    case 1: case 2: case 3: case 4:
        return gen_op(module, IR_OP_sigmoid, 1, &x, 1, &sigmoid, diag);
    case 5: return gen_op(module, IR_OP_exp, 1, &x, 0, NULL, diag);
    case 6: return gen_op(module, IR_OP_log1p_exp, 1, &x, 0, NULL, diag);
    case 7: return gen_op(module, IR_OP_signed_square, 1, &x, 0, NULL, diag);
    case 8: case 9: return gen_op(module, IR_OP_softmax, 1, &x, 0, NULL, diag);
    case 10: case 11:
        return gen_op(module, IR_OP_divide, 1, &x, 1, &divisor, diag);
    case 12: case 13:
        gen_output(module, "class",
                   gen_op(module, IR_OP_above, 1, &x, 1, &bound, diag));
        return NULL;
    case 14: case 15:
        gen_output(module, "class",
                   gen_op(module, IR_OP_argmax, 1, &x, 0, NULL, diag));
        return NULL;
    default: return x;
    }
}

static void add_links(struct ir_module *module, struct gen_bytes b,
                      struct ir_value *x, struct ir_diag *diag)
{
    for (int i = 0; i < 6 && x; i++) {
        struct ir_value *y = add_link(
            module, gen_at(b, 5 + (size_t)i / 2) >> (i % 2 ? 4 : 0) & 15, x,
            diag);
        if (y && y != x && ((gen_at(b, 4) & 4) || i == 5))
            gen_output(module, "link", y);
        x = y;
    }
}

/* ---------------------------------------------------------------- model -- */

static struct ir_op *add_forest(struct ir_module *module, struct growth *g,
                                struct ir_value *x, struct ir_diag *diag)
{
    const struct gen_bytes b = g->bytes;
    double base[4];
    for (int i = 0; i < g->n_targets; i++)
        base[i] = leaf_value(g, gen_pair_at(b, 8 + 2 * (size_t)i));
    const double divisor =
        gen_at(b, 0) & 8 ? (double)(1 + (gen_at(b, 3) >> 2)) : 1;
    struct ir_op *op = ir_forest_finish(
        g->builder, module, x, gen_at(b, 0) & 4 ? "lt" : "le",
        gen_at(b, 4) & 32 ? base : NULL, divisor, g->zero_bound,
        ir_loc_file(NULL), diag);
    gen_checked(op, diag);
    if (gen_at(b, 2) & 0x40 && !g->wide) {
        ir_set_attr(module, op, ir_int("stop_every", 1 + (gen_at(b, 15) & 3)));
        ir_set_attr(module, op, ir_float("stop_margin",
                                         (gen_at(b, 15) >> 2) / 4.0));
    }
    return op;
}

/* The records [first, last) as a forest on `x`. */
static struct ir_op *grow_forest(struct ir_module *module, struct gen_bytes b,
                                 struct ir_value *x, size_t first, size_t last,
                                 struct ir_diag *diag)
{
    static const double bound[] = {0, 0, 1e-35f, 2.5};
    struct growth *g = ir_realloc_array(NULL, 1, sizeof(*g));
    *g = (struct growth){
        .bytes = b,
        .narrow = x->type.dtype == IR_F32,
        .narrow_sums = gen_at(b, 0) & 2,
        .backwards = gen_at(b, 0) & 0x80,
        .ids = gen_at(b, 4) & 0x40,
        .wide = gen_at(b, 4) & 0x80,
        .n_features = (int)x->type.dim[0],
        .n_targets = 1 + (gen_at(b, 3) & 3),
        .zero_bound = bound[gen_at(b, 0) >> 4 & 3],
    };
    g->builder = ir_forest_begin(x->type.dtype,
                                 g->narrow_sums ? IR_F32 : IR_F64,
                                 g->n_targets);
    if (g->wide)
        ir_forest_width(g->builder, g->n_targets);
    begin_tree(g, 0, leaf_value(g, gen_pair_at(b, 8)));
    for (size_t i = first; i < last; i++)
        add_record(g, gen_header_bytes + i * gen_record_bytes);
    end_tree(g);
    struct ir_op *op = add_forest(module, g, x, diag);
    free(g);
    return op;
}

static void build_model(struct ir_module *module, struct gen_bytes b,
                        struct ir_diag *diag)
{
    const size_t bytes =
        b.size > gen_header_bytes ? b.size - gen_header_bytes : 0;
    size_t n = (bytes + gen_record_bytes - 1) / gen_record_bytes;
    n = n < max_records ? n : max_records;
    const bool two = gen_at(b, 0) & 0x40;
    if (gen_at(b, 1) & 0x80 && gen_at(b, 3) & 0x80) {
        gen_nets(module, b, n, diag);
        return;
    }
    add_columns(module, b);
    if (gen_at(b, 1) & 0x80) {
        gen_values(module, b, n, diag);
        return;
    }
    struct ir_value *x = add_inputs(module, b, gen_at(b, 0) & 1, diag);
    if (ir_type_volume(&x->type) <= gen_max_width)
        x = gen_preprocess(module, b, x, n, diag);
    struct ir_op *trees = grow_forest(module, b, x, 0, two ? n / 2 : n, diag);
    struct ir_value *margin = &trees->result[0];
    if (gen_at(b, 4) & 1)
        gen_output(module, "margin", margin);
    if (gen_at(b, 4) & 2)
        gen_output(module, "leaf", &trees->result[1]);
    if (gen_at(b, 2) & 0x80 && !ir_find_attr(trees, "coef_start") &&
        ir_find_attr(trees, "cover"))
        gen_output(module, "contribution",
                   gen_op(module, IR_OP_contributions, 1, &x, trees->n_attrs,
                          trees->attr, diag));
    if (two) {
        struct ir_value *y = add_inputs(module, b, !(gen_at(b, 0) & 1), diag);
        struct ir_op *more = grow_forest(module, b, y, n / 2, n, diag);
        if (gen_at(b, 4) & 8)
            gen_output(module, "margin", &more->result[0]);
        if (gen_at(b, 4) & 16)
            gen_output(module, "leaf", &more->result[1]);
        struct ir_value *margins[] = {margin, &more->result[0]};
        if (gen_at(b, 1) & 0x40)
            margin = gen_op(module, IR_OP_concat, 2, margins, 0, NULL, diag);
    }
    add_links(module, b, margin, diag);
    if (module->n_outputs == 0)
        gen_output(module, "value", margin);
}

struct ir_module *gen_model(const uint8_t *data, size_t size)
{
    struct ir_diag diag;
    ir_diag_init(&diag);
    struct ir_module *module = ir_module_new("generated");
    build_model(module, (struct gen_bytes){data, size}, &diag);
    if (!ir_verify(module, &diag)) {
        ir_diag_print(&diag, stderr);
        ir_bug("the generator made a bad model");
    }
    ir_diag_release(&diag);
    return module;
}

void gen_row(const struct ir_module *module, const uint8_t *data, size_t size,
             double *row)
{
    const struct gen_bytes b = {data, size};
    const int64_t n = ir_row_elements(module);
    double previous = 0;
    for (int64_t i = 0; i < n; i++) {
        const unsigned word = gen_pair_at(b, 2 * (size_t)i);
        row[i] = (word & 31) == 31 ? NAN
                 : gen_odd_number(word, word >> 5, 1e-35f, previous);
        previous = isnan(row[i]) ? 0 : row[i];
    }
}
