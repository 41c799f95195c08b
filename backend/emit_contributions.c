/* emit_contributions.c: the op contributions (ir/contributions.c) as tables and
 * a function that runs over them, whatever the forest: for as many rows side by
 * side as a register has lanes of f64, and for one row. Every operation is the
 * interpreter's.
 */
#include "backend/llvm.h"

#include <stdlib.h>
#include <string.h>

/* A tree, a path and an element of one, as the code reads them. Nodes, leaves,
 * paths and elements are numbered over the forest. */
struct tree_entry {
    int32_t first_node, end_node, first_path, end_path, target;
};
struct path_entry {
    int32_t first, end; /* elements */
    int32_t leaf, blocks, rule;
    int32_t inverse; /* the first of its elements' inverses, 4 * blocks each */
};
struct element_entry {
    double share;
    int32_t feature, first_step, end_step, unused;
};
_Static_assert(sizeof(struct tree_entry) == 20 &&
               sizeof(struct path_entry) == 24 &&
               sizeof(struct element_entry) == 24,
               "the emitted code's strides");

/* What is emitted once for an op and read by all of its functions. */
struct tables {
    LLVMValueRef nodes, trees, paths, elements, steps, rules, inverses,
        leaf_values;
};

/* Where the work of a function for so many lanes lies. Each entry is one number
 * a lane. */
struct work {
    int64_t out;   /* f64 by target and feature, the mean's place among them */
    int64_t off;   /* f64: the four sums of the elements off the path */
    int64_t sums;  /* f64 by element of the path: the four sums of each */
    int64_t rows;  /* of the features' dtype, by feature */
    int64_t on;    /* u8 by element of the path, all ones: the row is on it */
    int64_t sides; /* u8 by node of the tree and side (1: left), likewise */
    int64_t bytes; /* in all */
};

static struct work work_of(const struct be_forest *forest, int lanes)
{
    const struct ir_forest *f = &forest->f;
    const struct ir_paths *p = forest->paths;
    struct work w = {.out = 0};
    w.off = (int64_t)f->n_targets * (f->n_features + 1) * 8 * lanes;
    w.sums = w.off + 4 * 8 * lanes;
    w.rows = w.sums + (int64_t)p->longest * 4 * 8 * lanes;
    w.on = w.rows +
           f->n_features * (int64_t)ir_dtype_bytes(f->in_dtype) * lanes;
    w.sides = w.on + (int64_t)p->longest * lanes;
    w.bytes = w.sides + (int64_t)p->most_nodes * 2 * lanes;
    return w;
}

static int lanes_of(const struct be_level *level)
{
    return level->vector_bytes / 8;
}

int64_t be_contributions_work(const struct be_emitter *e,
                              const struct be_forest *forest, bool one_row)
{
    int most = 1;
    for (int l = 0; l < e->n_levels && !one_row; l++)
        if (lanes_of(e->levels[l]) > most)
            most = lanes_of(e->levels[l]);
    return work_of(forest, most).bytes;
}

/* ------------------------------------------------------------------ tables */

static LLVMValueRef tree_table(struct be_emitter *e,
                               const struct be_forest *forest)
{
    const struct ir_forest *f = &forest->f;
    struct tree_entry *table =
        ir_realloc_array(NULL, (size_t)f->n_trees + 1, sizeof(*table));
    for (int t = 0; t < f->n_trees; t++)
        table[t] = (struct tree_entry){
            f->tree_start[t], f->tree_start[t + 1],
            forest->paths->path_start[t], forest->paths->path_start[t + 1],
            f->target[t]};
    LLVMValueRef at = be_bytes(e, "contribution_tree", table,
                               (size_t)f->n_trees * sizeof(*table), 4);
    free(table);
    return at;
}

static LLVMValueRef path_table(struct be_emitter *e,
                               const struct ir_paths *p)
{
    struct path_entry *table =
        ir_realloc_array(NULL, (size_t)p->n_paths + 1, sizeof(*table));
    int64_t inverse = 0;
    for (int i = 0; i < p->n_paths; i++) {
        const int n = p->first[i + 1] - p->first[i], blocks = (n + 7) / 8;
        table[i] = (struct path_entry){
            p->first[i], p->first[i + 1], p->leaf[i], blocks,
            (int32_t)ir_rule_start(blocks), (int32_t)(inverse / 4)};
        inverse += (int64_t)4 * blocks * n;
    }
    LLVMValueRef at = be_bytes(e, "contribution_path", table,
                               (size_t)p->n_paths * sizeof(*table), 4);
    free(table);
    return at;
}

/* By path, element and point. */
static LLVMValueRef inverse_table(struct be_emitter *e,
                                  const struct ir_paths *p,
                                  const double *rules)
{
    const size_t most = (size_t)p->n_elements * 4 * ((p->longest + 7) / 8);
    double *table = ir_realloc_array(NULL, most + 1, sizeof(*table));
    size_t at = 0;
    for (int i = 0; i < p->n_paths; i++) {
        const int points = 4 * ((p->first[i + 1] - p->first[i] + 7) / 8);
        const double *point = rules + ir_rule_start(points / 4);
        for (int k = p->first[i]; k < p->first[i + 1]; k++)
            for (int q = 0; q < points; q++)
                table[at++] = ir_rule_inverse(p->share[k], point[q],
                                              point[points + q]);
    }
    LLVMValueRef bytes =
        be_bytes(e, "contribution_inverse", table, at * 8, 8);
    free(table);
    return bytes;
}

static LLVMValueRef element_table(struct be_emitter *e,
                                  const struct ir_paths *p)
{
    const size_t n = (size_t)p->n_elements;
    struct element_entry *table =
        ir_realloc_array(NULL, n + 1, sizeof(*table));
    for (size_t i = 0; i < n; i++)
        table[i] = (struct element_entry){p->share[i], p->feature[i],
                                          p->step_start[i],
                                          p->step_start[i + 1], 0};
    LLVMValueRef at =
        be_bytes(e, "contribution_element", table, n * sizeof(*table), 8);
    free(table);
    return at;
}

static LLVMValueRef leaf_table(struct be_emitter *e,
                               const struct ir_forest *f)
{
    const size_t n = (size_t)f->n_leaves * (size_t)f->leaf_width;
    double *table = ir_realloc_array(NULL, n + 1, sizeof(*table));
    for (size_t i = 0; i < n; i++)
        table[i] = ir_real(f->leaf_value, f->sum_dtype, i);
    LLVMValueRef at = be_bytes(e, "contribution_leaf", table, n * 8, 8);
    free(table);
    return at;
}

static void make_tables(struct be_emitter *e, struct be_forest *forest,
                        struct tables *t)
{
    const struct ir_paths *p = forest->paths;
    const double *rules = ir_rules(p, &e->arena);
    const int64_t n = ir_rule_start((p->longest + 7) / 8 + 1);
    t->nodes = be_walk_nodes(e, forest);
    t->trees = tree_table(e, forest);
    t->paths = path_table(e, p);
    t->elements = element_table(e, p);
    t->steps = be_bytes(e, "contribution_step", p->step,
                        (size_t)p->n_steps * sizeof(*p->step), 4);
    t->rules = be_bytes(e, "contribution_rule", rules, (size_t)n * 8, 64);
    t->inverses = inverse_table(e, p, rules);
    t->leaf_values = leaf_table(e, &forest->f);
}

/* ---------------------------------------------------------------- function */

/* The function being emitted. */
struct frame {
    struct be_emitter *e;
    struct be_forest *forest;
    const struct tables *tables;
    int lanes;
    LLVMTypeRef reals, bytes, bits; /* f64, i8 and i1 by lane */
    LLVMValueRef out, off, sums, rows, on, sides;
};

/* An i32 field of an entry, as an i64. */
static LLVMValueRef field(struct be_emitter *e, LLVMValueRef entry,
                          size_t offset)
{
    LLVMValueRef at = be_offset(e, entry, be_i64(e, (int64_t)offset));
    return LLVMBuildZExt(e->b, be_load(e, e->i32, at), e->i64, "");
}

static LLVMValueRef entry_at(struct be_emitter *e, LLVMValueRef table,
                             LLVMValueRef index, size_t stride)
{
    return be_offset(
        e, table,
        LLVMBuildNSWMul(e->b, index, be_i64(e, (int64_t)stride), ""));
}

/* Number `index` of an array of `type`, one a lane. */
static LLVMValueRef at_lanes(const struct frame *f, LLVMTypeRef type,
                             LLVMValueRef base, LLVMValueRef index)
{
    struct be_emitter *e = f->e;
    return be_at(e, type, base,
                 LLVMBuildNSWMul(e->b, index, be_i64(e, f->lanes), ""));
}

/* The same i32 or i64 number times `by`, plus `plus`. */
static LLVMValueRef scaled(struct be_emitter *e, LLVMValueRef v, int64_t by,
                           int64_t plus)
{
    return LLVMBuildNSWAdd(e->b, LLVMBuildNSWMul(e->b, v, be_i64(e, by), ""),
                           be_i64(e, plus), "");
}

static LLVMValueRef constant_at(struct be_emitter *e, LLVMValueRef table,
                                LLVMValueRef index)
{
    return be_load(e, e->f64, be_at(e, e->f64, table, index));
}

/* ------------------------------------------------------------------- nodes */

/* sides[2 * i + 1] is all ones where the row goes left at node i of the tree,
 * sides[2 * i] where it goes right. */
static void store_sides(const struct frame *f, LLVMTypeRef type,
                        LLVMValueRef at, int64_t stride, LLVMValueRef left)
{
    struct be_emitter *e = f->e;
    LLVMValueRef mask = LLVMBuildSExt(e->b, left, type, "");
    be_store(e, LLVMBuildNot(e->b, mask, ""), at);
    be_store(e, mask, be_offset(e, at, be_i64(e, stride)));
}

/* A set test, row by row. */
static void decide_set(const struct frame *f, LLVMValueRef node,
                       LLVMValueRef values, LLVMValueRef at)
{
    struct be_emitter *e = f->e;
    LLVMTypeRef type = be_type(e, f->forest->f.in_dtype);
    struct be_loop lane;
    be_loop_begin(e, &lane, be_i64(e, 0), be_i64(e, f->lanes), 1);
    LLVMValueRef v = be_load(e, type, be_at(e, type, values, lane.index));
    store_sides(f, e->i8, be_offset(e, at, lane.index), f->lanes,
                be_walk_goes_left(e, f->forest, node, v));
    be_loop_end(e, &lane);
}

static void decide_node(const struct frame *f, LLVMValueRef index,
                        LLVMValueRef at)
{
    struct be_emitter *e = f->e;
    LLVMTypeRef type = be_type(e, f->forest->f.in_dtype);
    LLVMValueRef feature;
    LLVMValueRef node = be_walk_node(e, f->tables->nodes, index, &feature);
    LLVMValueRef values = at_lanes(f, type, f->rows, feature);
    LLVMBasicBlockRef number = NULL, done = NULL;
    if (f->forest->f.set) {
        LLVMBasicBlockRef set = be_block(e, "set_test");
        number = be_block(e, "number_test");
        done = be_block(e, "decided");
        LLVMBuildCondBr(e->b, be_walk_is_set(e, node), set, number);
        LLVMPositionBuilderAtEnd(e->b, set);
        decide_set(f, node, values, at);
        LLVMBuildBr(e->b, done);
        LLVMPositionBuilderAtEnd(e->b, number);
    }
    LLVMValueRef v = be_load(e, be_vector(type, f->lanes), values);
    store_sides(f, f->bytes, at, f->lanes,
                be_walk_number_left(e, f->forest, node, v, f->lanes));
    if (done) {
        LLVMBuildBr(e->b, done);
        LLVMPositionBuilderAtEnd(e->b, done);
    }
}

static void decide_nodes(const struct frame *f, LLVMValueRef tree)
{
    struct be_emitter *e = f->e;
    LLVMValueRef first =
        field(e, tree, offsetof(struct tree_entry, first_node));
    struct be_loop loop;
    be_loop_begin(e, &loop, first,
                  field(e, tree, offsetof(struct tree_entry, end_node)), 1);
    LLVMValueRef local = LLVMBuildNSWSub(e->b, loop.index, first, "");
    decide_node(f, loop.index,
                at_lanes(f, e->i8, f->sides, scaled(e, local, 2, 0)));
    be_loop_end(e, &loop);
}

/* -------------------------------------------------------------------- path */

/* The loop over the path's elements: returns the entry of the one in hand;
 * loop->index is its number on the path. */
static LLVMValueRef begin_elements(const struct frame *f, LLVMValueRef path,
                                   struct be_loop *loop)
{
    struct be_emitter *e = f->e;
    LLVMValueRef first = field(e, path, offsetof(struct path_entry, first));
    LLVMValueRef end = field(e, path, offsetof(struct path_entry, end));
    be_loop_begin(e, loop, be_i64(e, 0), LLVMBuildNSWSub(e->b, end, first, ""),
                  1);
    return entry_at(e, f->tables->elements,
                    LLVMBuildNSWAdd(e->b, first, loop->index, ""),
                    sizeof(struct element_entry));
}

/* on[i], and sums of nothing, for element i of the path. */
static void decide_element(const struct frame *f, LLVMValueRef element,
                           LLVMValueRef i)
{
    struct be_emitter *e = f->e;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    struct be_loop loop;
    LLVMValueRef first =
        field(e, element, offsetof(struct element_entry, first_step));
    LLVMValueRef end =
        field(e, element, offsetof(struct element_entry, end_step));
    be_loop_begin(e, &loop, first, end, 1);
    LLVMValueRef on = be_carry(e, &loop, LLVMConstAllOnes(f->bytes), before);
    LLVMValueRef step = be_load(
        e, e->i32, be_at(e, e->i32, f->tables->steps, loop.index));
    LLVMValueRef side = be_load(
        e, f->bytes, at_lanes(f, e->i8, f->sides,
                              LLVMBuildZExt(e->b, step, e->i64, "")));
    be_carried(e, on, LLVMBuildAnd(e->b, on, side, ""));
    be_loop_end(e, &loop);
    be_store(e, on, at_lanes(f, e->i8, f->on, i));
    for (int q = 0; q < 4; q++)
        be_store(e, LLVMConstNull(f->reals),
                 at_lanes(f, e->f64, f->sums, scaled(e, i, 4, q)));
}

static LLVMValueRef is_on(const struct frame *f, LLVMValueRef i)
{
    struct be_emitter *e = f->e;
    LLVMValueRef on = be_load(e, f->bytes, at_lanes(f, e->i8, f->on, i));
    return LLVMBuildTrunc(e->b, on, f->bits, "");
}

static LLVMValueRef share_of(const struct frame *f, LLVMValueRef element)
{
    return be_splat(f->e, be_load(f->e, f->e->f64, element), f->lanes);
}

/* One of the four arrays of the path's rule, at point q of block `block`. */
enum { POINT, REST, WEIGHT, INVERSE };
static LLVMValueRef rule_at(const struct frame *f, LLVMValueRef path,
                            LLVMValueRef blocks, LLVMValueRef block, int array,
                            int q)
{
    struct be_emitter *e = f->e;
    LLVMValueRef rule = field(e, path, offsetof(struct path_entry, rule));
    LLVMValueRef at = LLVMBuildNSWAdd(
        e->b, block,
        LLVMBuildNSWMul(e->b, blocks, be_i64(e, array), ""), "");
    at = LLVMBuildNSWAdd(e->b, rule, scaled(e, at, 4, q), "");
    return be_splat(e, constant_at(e, f->tables->rules, at), f->lanes);
}

/* p[q]: the weights of the block's points times the factors of all elements. */
static void products(const struct frame *f, LLVMValueRef path,
                     LLVMValueRef blocks, LLVMValueRef block, LLVMValueRef *p)
{
    struct be_emitter *e = f->e;
    LLVMBasicBlockRef before;
    LLVMValueRef point[4], rest[4], weight[4];
    struct be_loop loop;
    for (int q = 0; q < 4; q++) {
        point[q] = rule_at(f, path, blocks, block, POINT, q);
        rest[q] = rule_at(f, path, blocks, block, REST, q);
        weight[q] = rule_at(f, path, blocks, block, WEIGHT, q);
    }
    before = LLVMGetInsertBlock(e->b);
    LLVMValueRef element = begin_elements(f, path, &loop);
    LLVMValueRef share = share_of(f, element), on = is_on(f, loop.index);
    for (int q = 0; q < 4; q++) {
        p[q] = be_carry(e, &loop, weight[q], before);
        LLVMValueRef apart = LLVMBuildFMul(e->b, share, rest[q], "");
        LLVMValueRef both = LLVMBuildFAdd(e->b, point[q], apart, "");
        LLVMValueRef by = LLVMBuildSelect(e->b, on, both, apart, "");
        be_carried(e, p[q], LLVMBuildFMul(e->b, p[q], by, ""));
    }
    be_loop_end(e, &loop);
}

/* sum[q] += p[q] * by[q], in memory. */
static void add_product(const struct frame *f, LLVMValueRef at, LLVMValueRef p,
                        LLVMValueRef by)
{
    struct be_emitter *e = f->e;
    LLVMValueRef sum = LLVMBuildFAdd(e->b, be_load(e, f->reals, at),
                                     LLVMBuildFMul(e->b, p, by, ""), "");
    be_store(e, sum, at);
}

/* Adds the block's points to the sums of each element. Those of an element that
 * a row is off are not used for it. */
static void add_sums(const struct frame *f, LLVMValueRef path,
                     LLVMValueRef blocks, LLVMValueRef block,
                     const LLVMValueRef *p)
{
    struct be_emitter *e = f->e;
    LLVMValueRef inverse =
        field(e, path, offsetof(struct path_entry, inverse));
    struct be_loop loop;
    begin_elements(f, path, &loop);
    LLVMValueRef first = LLVMBuildNSWAdd(
        e->b, LLVMBuildNSWMul(e->b, loop.index, blocks, ""), block, "");
    first = LLVMBuildNSWAdd(e->b, inverse, first, "");
    for (int q = 0; q < 4; q++)
        add_product(f, at_lanes(f, e->f64, f->sums,
                                scaled(e, loop.index, 4, q)), p[q],
                    be_splat(e, constant_at(e, f->tables->inverses,
                                            scaled(e, first, 4, q)),
                             f->lanes));
    be_loop_end(e, &loop);
}

/* (s0 + s2) + (s1 + s3) of the four sums from number `first` on. */
static LLVMValueRef fold(const struct frame *f, LLVMValueRef base,
                         LLVMValueRef first)
{
    struct be_emitter *e = f->e;
    LLVMValueRef s[4];
    for (int q = 0; q < 4; q++)
        s[q] = be_load(e, f->reals,
                       at_lanes(f, e->f64, base, scaled(e, first, 1, q)));
    return LLVMBuildFAdd(e->b, LLVMBuildFAdd(e->b, s[0], s[2], ""),
                         LLVMBuildFAdd(e->b, s[1], s[3], ""), "");
}

/* out[(target + k) * (n_features + 1) + feature] += part * leaf value k */
static void add_part(const struct frame *f, LLVMValueRef target,
                     LLVMValueRef leaf, LLVMValueRef feature,
                     LLVMValueRef part)
{
    struct be_emitter *e = f->e;
    const struct ir_forest *forest = &f->forest->f;
    struct be_loop loop;
    be_loop_begin(e, &loop, be_i64(e, 0), be_i64(e, forest->leaf_width), 1);
    LLVMValueRef v = LLVMBuildNSWAdd(
        e->b, scaled(e, leaf, forest->leaf_width, 0), loop.index, "");
    v = be_splat(e, constant_at(e, f->tables->leaf_values, v), f->lanes);
    LLVMValueRef to = scaled(
        e, LLVMBuildNSWAdd(e->b, target, loop.index, ""),
        (int64_t)forest->n_features + 1, 0);
    add_product(f, at_lanes(f, e->f64, f->out,
                            LLVMBuildNSWAdd(e->b, to, feature, "")), part, v);
    be_loop_end(e, &loop);
}

static void add_parts(const struct frame *f, LLVMValueRef path,
                      LLVMValueRef target)
{
    struct be_emitter *e = f->e;
    struct be_loop loop;
    LLVMValueRef leaf = field(e, path, offsetof(struct path_entry, leaf));
    LLVMValueRef off =
        LLVMBuildFNeg(e->b, fold(f, f->off, be_i64(e, 0)), "");
    LLVMValueRef element = begin_elements(f, path, &loop);
    LLVMValueRef one = be_splat(e, be_real(e, IR_F64, 1), f->lanes);
    LLVMValueRef rest =
        LLVMBuildFSub(e->b, one, share_of(f, element), "");
    LLVMValueRef sum = fold(f, f->sums, scaled(e, loop.index, 4, 0));
    LLVMValueRef part =
        LLVMBuildSelect(e->b, is_on(f, loop.index),
                        LLVMBuildFMul(e->b, rest, sum, ""), off, "");
    add_part(f, target, leaf,
             field(e, element, offsetof(struct element_entry, feature)), part);
    be_loop_end(e, &loop);
}

static void follow_path(const struct frame *f, LLVMValueRef path,
                        LLVMValueRef target)
{
    struct be_emitter *e = f->e;
    struct be_loop loop;
    LLVMValueRef element = begin_elements(f, path, &loop);
    decide_element(f, element, loop.index);
    be_loop_end(e, &loop);

    LLVMValueRef blocks = field(e, path, offsetof(struct path_entry, blocks));
    for (int q = 0; q < 4; q++)
        be_store(e, LLVMConstNull(f->reals),
                 at_lanes(f, e->f64, f->off, be_i64(e, q)));
    be_loop_begin(e, &loop, be_i64(e, 0), blocks, 1);
    LLVMValueRef p[4];
    products(f, path, blocks, loop.index, p);
    add_sums(f, path, blocks, loop.index, p);
    for (int q = 0; q < 4; q++)
        add_product(f, at_lanes(f, e->f64, f->off, be_i64(e, q)), p[q],
                    rule_at(f, path, blocks, loop.index, INVERSE, q));
    be_loop_end(e, &loop);
    add_parts(f, path, target);
}

static void explain_tree(const struct frame *f, LLVMValueRef number)
{
    struct be_emitter *e = f->e;
    LLVMValueRef tree =
        entry_at(e, f->tables->trees, number, sizeof(struct tree_entry));
    decide_nodes(f, tree);
    struct be_loop loop;
    be_loop_begin(e, &loop,
                  field(e, tree, offsetof(struct tree_entry, first_path)),
                  field(e, tree, offsetof(struct tree_entry, end_path)), 1);
    follow_path(f, entry_at(e, f->tables->paths, loop.index,
                            sizeof(struct path_entry)),
                field(e, tree, offsetof(struct tree_entry, target)));
    be_loop_end(e, &loop);
}

/* fn(work): adds what each tree gives to the contributions of the rows
 * there. */
static LLVMValueRef emit_function(struct be_emitter *e,
                                  struct be_forest *forest,
                                  const struct tables *tables, int level,
                                  int lanes)
{
    const struct work w = work_of(forest, lanes);
    char name[64];
    snprintf(name, sizeof(name), "contributions_%d_%s_%d", forest->number,
             e->levels[level]->name, lanes);
    LLVMValueRef fn =
        be_function(e, name, e->none, &e->ptr, 1, e->levels[level]);
    LLVMValueRef work = LLVMGetParam(fn, 0);
    struct frame f = {
        .e = e, .forest = forest, .tables = tables, .lanes = lanes,
        .reals = be_vector(e->f64, lanes), .bytes = be_vector(e->i8, lanes),
        .bits = be_vector(e->i1, lanes),
        .out = be_offset(e, work, be_i64(e, w.out)),
        .off = be_offset(e, work, be_i64(e, w.off)),
        .sums = be_offset(e, work, be_i64(e, w.sums)),
        .rows = be_offset(e, work, be_i64(e, w.rows)),
        .on = be_offset(e, work, be_i64(e, w.on)),
        .sides = be_offset(e, work, be_i64(e, w.sides))};
    struct be_loop loop;
    be_loop_begin(e, &loop, be_i64(e, 0), be_i64(e, forest->f.n_trees), 1);
    explain_tree(&f, loop.index);
    be_loop_end(e, &loop);
    LLVMBuildRetVoid(e->b);
    return fn;
}

void be_contributions_emit(struct be_emitter *e, struct be_forest *forest)
{
    struct tables tables;
    forest->paths = ir_alloc(&e->arena, sizeof(*forest->paths));
    ir_paths_make(forest->op, forest->paths, &e->arena);
    make_tables(e, forest, &tables);
    forest->expected =
        be_bytes(e, "contribution_expected", forest->paths->expected,
                 (size_t)forest->f.n_targets * 8, 8);
    for (int l = 0; l < e->n_levels; l++)
        for (int batch = 0; batch < 2; batch++)
            forest->contributions[l][batch] =
                emit_function(e, forest, &tables, l,
                              batch ? lanes_of(e->levels[l]) : 1);
}

/* ---------------------------------------------------------------- lowering */

/* Some rows of the tile, side by side in the op's work. */
struct group {
    struct be_emitter *e;
    const struct be_forest *forest;
    const struct ir_op *op;
    int lanes;
    LLVMValueRef first, out, rows; /* of the tile; and in the work */
};

static void load_rows(const struct group *g)
{
    struct be_emitter *e = g->e;
    const struct ir_forest *f = &g->forest->f;
    const struct be_view x = be_view_of(e, g->op->operand[0]);
    struct be_loop feature, lane;
    be_loop_begin(e, &feature, be_i64(e, 0), be_i64(e, f->n_features), 1);
    be_loop_begin(e, &lane, be_i64(e, 0), be_i64(e, g->lanes), 1);
    LLVMValueRef row = LLVMBuildNSWAdd(e->b, g->first, lane.index, "");
    LLVMValueRef v = be_load(e, be_type(e, x.dtype),
                             be_view_at(e, &x, row, feature.index));
    LLVMValueRef to = LLVMBuildNSWAdd(
        e->b, scaled(e, feature.index, g->lanes, 0), lane.index, "");
    be_store(e, be_convert(e, v, x.dtype, f->in_dtype),
             be_at(e, be_type(e, f->in_dtype), g->rows, to));
    be_loop_end(e, &lane);
    be_loop_end(e, &feature);
}

static void clear_sums(const struct group *g)
{
    struct be_emitter *e = g->e;
    struct be_loop loop;
    be_loop_begin(e, &loop, be_i64(e, 0),
                  be_i64(e, ir_type_volume(&g->op->result[0].type) * g->lanes),
                  1);
    be_store(e, LLVMConstNull(e->f64), be_at(e, e->f64, g->out, loop.index));
    be_loop_end(e, &loop);
}

/* The sums, divided, to where the op's result is; then each target's mean. */
static void store_rows(const struct group *g)
{
    struct be_emitter *e = g->e;
    const struct ir_forest *f = &g->forest->f;
    const int64_t width = f->n_features + 1, n = f->n_targets * width;
    struct be_loop lane, at, target;
    be_loop_begin(e, &lane, be_i64(e, 0), be_i64(e, g->lanes), 1);
    LLVMValueRef row = LLVMBuildNSWAdd(e->b, g->first, lane.index, "");
    LLVMValueRef to = be_at(e, e->f64, be_buffer(e, &g->op->result[0]),
                            scaled(e, row, n, 0));
    be_loop_begin(e, &at, be_i64(e, 0), be_i64(e, n), 1);
    LLVMValueRef v = constant_at(
        e, g->out, LLVMBuildNSWAdd(e->b, scaled(e, at.index, g->lanes, 0),
                                   lane.index, ""));
    if (f->divisor != 1)
        v = LLVMBuildFDiv(e->b, v, be_real(e, IR_F64, f->divisor), "");
    be_store(e, v, be_at(e, e->f64, to, at.index));
    be_loop_end(e, &at);
    be_loop_begin(e, &target, be_i64(e, 0), be_i64(e, f->n_targets), 1);
    be_store(e, constant_at(e, g->forest->expected, target.index),
             be_at(e, e->f64, to, scaled(e, target.index, width, width - 1)));
    be_loop_end(e, &target);
    be_loop_end(e, &lane);
}

/* The tile's rows [first, end), so many at a time. */
static void lower_groups(struct be_emitter *e, const struct ir_op *op,
                         LLVMValueRef first, LLVMValueRef end, bool batch)
{
    const struct be_forest *forest = e->forests[be_op_number(e, op)];
    const struct be_layout *layout = e->one_row ? e->layout_one : e->layout;
    const int lanes = batch ? lanes_of(e->level) : 1;
    const struct work w = work_of(forest, lanes);
    LLVMValueRef work = be_offset(e, e->workspace,
                                  be_i64(e, layout->work[forest->number]));
    struct be_loop loop;
    be_loop_begin(e, &loop, first, end, lanes);
    const struct group g = {
        .e = e, .forest = forest, .op = op, .lanes = lanes,
        .first = loop.index, .out = be_offset(e, work, be_i64(e, w.out)),
        .rows = be_offset(e, work, be_i64(e, w.rows))};
    load_rows(&g);
    clear_sums(&g);
    be_call(e, forest->contributions[be_level_index(e)][batch], &work, 1);
    store_rows(&g);
    be_loop_end(e, &loop);
}

void be_lower_contributions(struct be_emitter *e, const struct ir_op *op)
{
    LLVMValueRef whole = be_i64(e, 0);
    if (!e->one_row) {
        whole = LLVMBuildAnd(e->b, e->n_rows, be_i64(e, -lanes_of(e->level)),
                             "");
        lower_groups(e, op, be_i64(e, 0), whole, true);
    }
    lower_groups(e, op, whole, e->n_rows, false);
}
