/* emit_contributions.c: the op contributions (ir/contributions.c) as tables and
 * one function that runs over them, whatever the forest. Four points of the
 * quadrature are computed side by side; every operation is the interpreter's.
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
};
struct element_entry {
    double share;
    int32_t feature, first_step, end_step, unused;
};
_Static_assert(sizeof(struct tree_entry) == 20 &&
               sizeof(struct path_entry) == 20 &&
               sizeof(struct element_entry) == 24, "the emitted code's strides");

/* What is emitted once for an op and read by the function of each level. */
struct tables {
    LLVMValueRef nodes, trees, paths, elements, steps, rules, leaf_values;
};

/* Where the function's work lies behind the copy of the row. */
struct work {
    int64_t left;  /* u8 by node of the tree: goes left */
    int64_t on;    /* u8 by element of the path: the row stays on it */
    int64_t sums;  /* 4 x f64 by element */
    int64_t bytes; /* in all */
};

static struct work work_of(const struct be_forest *forest)
{
    const struct ir_forest *f = &forest->f;
    const struct ir_paths *p = forest->paths;
    struct work w;
    w.sums = (f->n_features * (int64_t)ir_dtype_bytes(f->in_dtype) + 63) / 64 *
             64;
    w.on = w.sums + (int64_t)p->longest * 32;
    w.left = w.on + p->longest;
    w.bytes = w.left + p->most_nodes;
    return w;
}

int64_t be_contributions_work(const struct be_forest *forest)
{
    return work_of(forest).bytes;
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
    for (int i = 0; i < p->n_paths; i++) {
        const int blocks = (p->first[i + 1] - p->first[i] + 7) / 8;
        table[i] = (struct path_entry){p->first[i], p->first[i + 1],
                                       p->leaf[i], blocks,
                                       (int32_t)ir_rule_start(blocks)};
    }
    LLVMValueRef at = be_bytes(e, "contribution_path", table,
                               (size_t)p->n_paths * sizeof(*table), 4);
    free(table);
    return at;
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
    t->leaf_values = leaf_table(e, &forest->f);
}

/* ---------------------------------------------------------------- function */

/* The function being emitted, and of the tree, path and element in hand. */
struct frame {
    struct be_emitter *e;
    struct be_forest *forest;
    const struct tables *tables;
    LLVMTypeRef quad; /* 4 x f64 */
    LLVMValueRef row, left, on, sums, out;
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

/* A value that a loop carries: `start` before it, then what carried() gets.
 * `before` is the block that enters the loop. */
static LLVMValueRef carry(struct be_emitter *e, const struct be_loop *loop,
                          LLVMValueRef start, LLVMBasicBlockRef before)
{
    LLVMBasicBlockRef body = LLVMGetInsertBlock(e->b);
    LLVMPositionBuilderBefore(e->b, LLVMGetFirstInstruction(loop->head));
    LLVMValueRef phi = LLVMBuildPhi(e->b, LLVMTypeOf(start), "");
    LLVMAddIncoming(phi, &start, &before, 1);
    LLVMPositionBuilderAtEnd(e->b, body);
    return phi;
}

static void carried(struct be_emitter *e, LLVMValueRef phi, LLVMValueRef next)
{
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(e->b);
    LLVMAddIncoming(phi, &next, &latch, 1);
}

/* left[i] for each node of the tree. */
static void decide_nodes(const struct frame *f, LLVMValueRef tree)
{
    struct be_emitter *e = f->e;
    LLVMTypeRef type = be_type(e, f->forest->f.in_dtype);
    LLVMValueRef first =
        field(e, tree, offsetof(struct tree_entry, first_node));
    struct be_loop loop;
    be_loop_begin(e, &loop, first,
                  field(e, tree, offsetof(struct tree_entry, end_node)), 1);
    LLVMValueRef node, feature;
    node = be_walk_node(e, f->tables->nodes, loop.index, &feature);
    LLVMValueRef v = be_load(e, type, be_at(e, type, f->row, feature));
    LLVMValueRef left = LLVMBuildZExt(
        e->b, be_walk_goes_left(e, f->forest, node, v), e->i8, "");
    be_store(e, left,
             be_offset(e, f->left,
                       LLVMBuildNSWSub(e->b, loop.index, first, "")));
    be_loop_end(e, &loop);
}

/* on[i], and a sum of nothing, for element i of the path. */
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
    LLVMValueRef on = carry(e, &loop, LLVMConstInt(e->i1, 1, false), before);
    LLVMValueRef step = be_load(
        e, e->i32, be_at(e, e->i32, f->tables->steps, loop.index));
    LLVMValueRef node = LLVMBuildZExt(
        e->b, LLVMBuildLShr(e->b, step, be_i32(e, 1), ""), e->i64, "");
    LLVMValueRef left = be_load(e, e->i8, be_offset(e, f->left, node));
    LLVMValueRef same = LLVMBuildICmp(
        e->b, LLVMIntEQ, LLVMBuildTrunc(e->b, left, e->i1, ""),
        LLVMBuildTrunc(e->b, step, e->i1, ""), "");
    carried(e, on, LLVMBuildAnd(e->b, on, same, ""));
    be_loop_end(e, &loop);
    be_store(e, LLVMBuildZExt(e->b, on, e->i8, ""), be_offset(e, f->on, i));
    be_store(e, LLVMConstNull(f->quad), be_at(e, f->quad, f->sums, i));
}

static LLVMValueRef is_on(const struct frame *f, LLVMValueRef i)
{
    struct be_emitter *e = f->e;
    LLVMValueRef on = be_load(e, e->i8, be_offset(e, f->on, i));
    return LLVMBuildTrunc(e->b, on, e->i1, "");
}

static LLVMValueRef share_of(const struct frame *f, LLVMValueRef element)
{
    return be_load(f->e, f->e->f64, element);
}

/* Block number `block` of the path's rule: four points, and what belongs to
 * them. */
struct points {
    LLVMValueRef point, rest, weight, inverse;
};

static struct points load_points(const struct frame *f, LLVMValueRef path,
                                 LLVMValueRef blocks, LLVMValueRef block)
{
    struct be_emitter *e = f->e;
    LLVMValueRef rule = be_at(
        e, e->f64, f->tables->rules,
        field(e, path, offsetof(struct path_entry, rule)));
    LLVMValueRef v[4], at = block;
    for (int i = 0; i < 4; i++) {
        v[i] = be_load(e, f->quad, be_at(e, f->quad, rule, at));
        at = LLVMBuildNSWAdd(e->b, at, blocks, "");
    }
    return (struct points){v[0], v[1], v[2], v[3]};
}

/* The loop over the path's elements: `element` is its entry, and loop->index
 * its number on the path. */
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

/* The factor of an element at the four points. */
static LLVMValueRef factor(const struct frame *f, const struct points *q,
                           LLVMValueRef share, LLVMValueRef on)
{
    LLVMBuilderRef b = f->e->b;
    LLVMValueRef apart =
        LLVMBuildFMul(b, be_splat(f->e, share, 4), q->rest, "");
    LLVMValueRef both = LLVMBuildFAdd(b, q->point, apart, "");
    return on ? LLVMBuildSelect(b, on, both, apart, "") : both;
}

/* The weights times the factors of all elements. */
static LLVMValueRef product(const struct frame *f, LLVMValueRef path,
                            const struct points *q)
{
    struct be_emitter *e = f->e;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    struct be_loop loop;
    LLVMValueRef element = begin_elements(f, path, &loop);
    LLVMValueRef p = carry(e, &loop, q->weight, before);
    LLVMValueRef by =
        factor(f, q, share_of(f, element), is_on(f, loop.index));
    carried(e, p, LLVMBuildFMul(e->b, p, by, ""));
    be_loop_end(e, &loop);
    return p;
}

/* Adds the four points to the sums of those elements that are on the path;
 * what is off it gets nothing, which changes no sum. */
static void add_sums(const struct frame *f, LLVMValueRef path,
                     const struct points *q, LLVMValueRef p)
{
    struct be_emitter *e = f->e;
    struct be_loop loop;
    LLVMValueRef element = begin_elements(f, path, &loop);
    LLVMValueRef at = be_at(e, f->quad, f->sums, loop.index);
    LLVMValueRef without = LLVMBuildFDiv(
        e->b, p, factor(f, q, share_of(f, element), NULL), "");
    without = LLVMBuildSelect(e->b, is_on(f, loop.index), without,
                              LLVMConstNull(f->quad), "");
    be_store(e,
             LLVMBuildFAdd(e->b, be_load(e, f->quad, at), without, ""), at);
    be_loop_end(e, &loop);
}

/* (v0 + v2) + (v1 + v3) */
static LLVMValueRef fold(struct be_emitter *e, LLVMValueRef v)
{
    LLVMValueRef lane[4];
    for (int i = 0; i < 4; i++)
        lane[i] = LLVMBuildExtractElement(e->b, v, be_i32(e, i), "");
    return LLVMBuildFAdd(e->b, LLVMBuildFAdd(e->b, lane[0], lane[2], ""),
                         LLVMBuildFAdd(e->b, lane[1], lane[3], ""), "");
}

/* out[(target + k) * (n_features + 1) + feature] += part * the leaf's value k */
static void add_part(const struct frame *f, LLVMValueRef target,
                     LLVMValueRef leaf, LLVMValueRef feature,
                     LLVMValueRef part)
{
    struct be_emitter *e = f->e;
    const struct ir_forest *forest = &f->forest->f;
    struct be_loop loop;
    be_loop_begin(e, &loop, be_i64(e, 0), be_i64(e, forest->leaf_width), 1);
    LLVMValueRef v = LLVMBuildNSWAdd(
        e->b,
        LLVMBuildNSWMul(e->b, leaf, be_i64(e, forest->leaf_width), ""),
        loop.index, "");
    v = be_load(e, e->f64, be_at(e, e->f64, f->tables->leaf_values, v));
    LLVMValueRef to = LLVMBuildNSWMul(
        e->b, LLVMBuildNSWAdd(e->b, target, loop.index, ""),
        be_i64(e, (int64_t)forest->n_features + 1), "");
    LLVMValueRef at =
        be_at(e, e->f64, f->out, LLVMBuildNSWAdd(e->b, to, feature, ""));
    be_store(e,
             LLVMBuildFAdd(e->b, be_load(e, e->f64, at),
                           LLVMBuildFMul(e->b, part, v, ""), ""), at);
    be_loop_end(e, &loop);
}

static void add_parts(const struct frame *f, LLVMValueRef path,
                      LLVMValueRef target, LLVMValueRef off)
{
    struct be_emitter *e = f->e;
    struct be_loop loop;
    LLVMValueRef leaf = field(e, path, offsetof(struct path_entry, leaf));
    LLVMValueRef element = begin_elements(f, path, &loop);
    LLVMValueRef sum =
        be_load(e, f->quad, be_at(e, f->quad, f->sums, loop.index));
    LLVMValueRef rest = LLVMBuildFSub(e->b, be_real(e, IR_F64, 1),
                                      share_of(f, element), "");
    LLVMValueRef part = LLVMBuildSelect(
        e->b, is_on(f, loop.index),
        LLVMBuildFMul(e->b, rest, fold(e, sum), ""), off, "");
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
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    be_loop_begin(e, &loop, be_i64(e, 0), blocks, 1);
    LLVMValueRef off = carry(e, &loop, LLVMConstNull(f->quad), before);
    const struct points q = load_points(f, path, blocks, loop.index);
    LLVMValueRef p = product(f, path, &q);
    add_sums(f, path, &q, p);
    carried(e, off,
            LLVMBuildFAdd(e->b, off, LLVMBuildFMul(e->b, p, q.inverse, ""),
                          ""));
    be_loop_end(e, &loop);
    add_parts(f, path, target, LLVMBuildFNeg(e->b, fold(e, off), ""));
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

/* fn(row, work, out): adds what each tree gives to a row's contributions. */
static LLVMValueRef emit_function(struct be_emitter *e,
                                  struct be_forest *forest,
                                  const struct tables *tables, int level)
{
    const struct work w = work_of(forest);
    char name[64];
    snprintf(name, sizeof(name), "contributions_%d_%s", forest->number,
             e->levels[level]->name);
    LLVMTypeRef params[] = {e->ptr, e->ptr, e->ptr};
    LLVMValueRef fn =
        be_function(e, name, e->none, params, 3, e->levels[level]);
    LLVMValueRef work = LLVMGetParam(fn, 1);
    struct frame f = {
        .e = e, .forest = forest, .tables = tables,
        .quad = be_vector(e->f64, 4), .row = LLVMGetParam(fn, 0),
        .left = be_offset(e, work, be_i64(e, w.left)),
        .on = be_offset(e, work, be_i64(e, w.on)),
        .sums = be_offset(e, work, be_i64(e, w.sums)),
        .out = LLVMGetParam(fn, 2)};
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
        forest->contributions[l] = emit_function(e, forest, &tables, l);
}

/* ---------------------------------------------------------------- lowering */

/* Divides the sums of the row at `out`, and puts the mean behind each target's. */
static void finish_row(struct be_emitter *e, const struct be_forest *forest,
                       LLVMValueRef out)
{
    const struct ir_forest *f = &forest->f;
    struct be_loop target, feature;
    LLVMValueRef width = be_i64(e, (int64_t)f->n_features + 1);
    be_loop_begin(e, &target, be_i64(e, 0), be_i64(e, f->n_targets), 1);
    LLVMValueRef to =
        be_at(e, e->f64, out, LLVMBuildNSWMul(e->b, target.index, width, ""));
    if (f->divisor != 1) {
        be_loop_begin(e, &feature, be_i64(e, 0), be_i64(e, f->n_features), 1);
        LLVMValueRef at = be_at(e, e->f64, to, feature.index);
        be_store(e,
                 LLVMBuildFDiv(e->b, be_load(e, e->f64, at),
                               be_real(e, IR_F64, f->divisor), ""), at);
        be_loop_end(e, &feature);
    }
    be_store(e,
             be_load(e, e->f64, be_at(e, e->f64, forest->expected,
                                      target.index)),
             be_at(e, e->f64, to, be_i64(e, f->n_features)));
    be_loop_end(e, &target);
}

void be_lower_contributions(struct be_emitter *e, const struct ir_op *op)
{
    struct be_forest *forest = e->forests[be_op_number(e, op)];
    const int64_t n = ir_type_volume(&op->result[0].type);
    const struct be_layout *layout = e->one_row ? e->layout_one : e->layout;
    struct be_loop row, zero;
    be_loop_begin(e, &row, be_i64(e, 0), e->n_rows, 1);
    LLVMValueRef out =
        be_at(e, e->f64, be_buffer(e, &op->result[0]),
              LLVMBuildNSWMul(e->b, row.index, be_i64(e, n), ""));
    be_loop_begin(e, &zero, be_i64(e, 0), be_i64(e, n), 1);
    be_store(e, LLVMConstNull(e->f64), be_at(e, e->f64, out, zero.index));
    be_loop_end(e, &zero);
    LLVMValueRef args[] = {
        be_contiguous_row(e, forest, row.index),
        be_offset(e, e->workspace,
                  be_i64(e, layout->work[forest->number])), out};
    be_call(e, forest->contributions[be_level_index(e)], args, 3);
    finish_row(e, forest, out);
    be_loop_end(e, &row);
}
