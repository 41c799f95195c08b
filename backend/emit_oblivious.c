/* emit_oblivious.c: the batch strategy `oblivious`, for trees that ask few
 * different questions.
 *
 * A row's answers to a tree's tests, side by side, are the number of an entry
 * of the tree's table (leaf_tables.c).
 *
 * Rows go through in blocks of 64, trees in chunks whose tables stay in L1.
 * First each tree's number is found for all rows of the block: for each test
 * one compare, one addition and one subtraction of a vector. Then eight rows at
 * a time run through the chunk's trees with their margins in registers: eight
 * chains of additions, each in the order of the trees; or all of the block at
 * once where leaf values are looked up in registers (emit_planes.c). Trees are
 * taken target by target, since margins of different targets never meet.
 *
 * The code is loops over tables and does not grow with the forest; there is one
 * function for each number of tests. Codes are signed, as in emit_select.c.
 */
#include "backend/llvm.h"

#include <stdlib.h>
#include <string.h>

enum {
    block_rows = 64,
    word_rows = 8, /* that run through a chunk together */
    most_sums = 8, /* vectors of margins in registers */
    chunk_trees = 32, chunk_least = 16,
    chunk_bytes = 32768, /* of tables */
};

struct oblivious {
    struct be_emitter *e;
    struct be_forest *forest;
    const struct ir_forest *f;
    bool masked;    /* there are set tests */
    int test_bytes; /* of a test in the tables: column, limit, mask */
    const struct be_leaf_tables *t;
    LLVMValueRef tests; /* of each run's trees */
    int64_t *tests_at;  /* of a run, in `tests` */
    LLVMValueRef planes; /* of each run's trees, for lookups, or NULL */
    int64_t *planes_at;
    /* Of the function being emitted. */
    int n_tests, lanes;
    LLVMTypeRef code, place; /* i8 or i16: a row's code, its table entry */
    LLVMValueRef codes, out, n_rows, run_tests, run_entries, n_trees;
    LLVMValueRef run_planes;
    LLVMValueRef first, n_chunk; /* trees of the chunk */
    LLVMValueRef row, n_here;    /* first of the block; how many there are */
    LLVMValueRef places;         /* [chunk_trees][block_rows] */
};

/* --------------------------------------------------------------- tables -- */

static void append_test(const struct oblivious *o, int64_t node,
                        struct ir_text *to)
{
    const uint32_t same = o->forest->code_bytes == 1 ? 0x01010101 : 0x00010001;
    const struct be_test test = node < 0 ? be_never(o->forest)
                                         : be_node_test(o->forest, node);
    const uint32_t word[3] = {
        (uint32_t)(test.column * o->forest->tile_rows * o->forest->code_bytes),
        same * test.limit, same * test.mask};
    ir_text_append(to, word, (size_t)o->test_bytes);
}

/* Each run's tests, tree by tree. */
static void emit_tests(struct oblivious *o)
{
    struct ir_text tests;
    ir_text_init(&tests);
    for (int r = 0; r < o->t->n_runs; r++) {
        const struct be_run *run = &o->t->runs[r];
        o->tests_at[r] = (int64_t)tests.length;
        for (int i = run->first; i < run->first + run->n; i++) {
            int32_t node[IR_MAX_TREE_TESTS];
            be_run_tests(o->f, run, o->t->order[i], node);
            for (int k = 0; k < run->n_tests; k++)
                append_test(o, node[k], &tests);
        }
    }
    o->tests = be_bytes(o->e, "tree_test", tests.data, tests.length, 64);
    ir_text_release(&tests);
}

/* The tables that leaf values are looked up in, if trees are small enough. */
static void emit_planes(struct oblivious *o)
{
    int most = 0;
    for (int r = 0; r < o->t->n_runs; r++)
        most = o->t->runs[r].n_tests > most ? o->t->runs[r].n_tests : most;
    struct be_planes *l = ir_alloc(&o->e->arena, sizeof(*l));
    if (!be_planes_init(l, o->e, o->forest, 1 << most, block_rows))
        return;
    o->forest->planes = l;
    struct ir_text planes, values;
    ir_text_init(&planes);
    ir_text_init(&values);
    for (int r = 0; r < o->t->n_runs; r++) {
        const struct be_run *run = &o->t->runs[r];
        const int entries = be_planes_entries(l, 1 << run->n_tests);
        o->planes_at[r] = (int64_t)planes.length;
        for (int i = run->first; i < run->first + run->n; i++) {
            values.length = 0;
            const int n = be_tree_values(o->forest, o->t->order[i], &values);
            be_planes_append(l, entries, values.data, n, &planes);
        }
    }
    o->planes = be_bytes(o->e, "leaf_plane", planes.data, planes.length, 64);
    ir_text_release(&planes);
    ir_text_release(&values);
}

/* -------------------------------------------------------------- answers -- */

static LLVMValueRef splat_word(struct oblivious *o, LLVMValueRef at)
{
    struct be_emitter *e = o->e;
    LLVMValueRef words = be_splat(e, be_load(e, e->i32, at),
                                  o->lanes * o->forest->code_bytes / 4);
    return LLVMBuildBitCast(e->b, words, be_vector(o->code, o->lanes), "");
}

/* The lanes, from row `row` of the tile, that pass the test at `test`. */
static LLVMValueRef passes(struct oblivious *o, LLVMValueRef test,
                           LLVMValueRef row)
{
    struct be_emitter *e = o->e;
    LLVMValueRef column =
        LLVMBuildZExt(e->b, be_load(e, e->i32, test), e->i64, "");
    LLVMValueRef at =
        be_at(e, o->code, be_offset(e, o->codes, column), row);
    LLVMValueRef v =
        LLVMBuildLoad2(e->b, be_vector(o->code, o->lanes), at, "");
    const int bytes = o->lanes * o->forest->code_bytes;
    LLVMSetAlignment(v, (unsigned)(bytes < 64 ? bytes : 64));
    if (o->masked)
        v = LLVMBuildAnd(e->b, v, splat_word(o, be_offset(e, test,
                                                          be_i64(e, 8))), "");
    LLVMValueRef limit = splat_word(o, be_offset(e, test, be_i64(e, 4)));
    return LLVMBuildICmp(e->b, LLVMIntSGT, limit, v, "");
}

/* The entries of the rows from `row` on in the tree whose tests are at `tests`:
 * the answers, the first test's as the highest bit. */
static LLVMValueRef tree_entries(struct oblivious *o, LLVMValueRef tests,
                                 LLVMValueRef row)
{
    struct be_emitter *e = o->e;
    LLVMTypeRef type = be_vector(o->place, o->lanes);
    LLVMValueRef sum = LLVMConstNull(type);
    for (int k = 0; k < o->n_tests; k++) {
        LLVMValueRef test =
            be_offset(e, tests, be_i64(e, (int64_t)k * o->test_bytes));
        LLVMValueRef passed = passes(o, test, row);
        if (e->level->has_masks) { /* one addition, with a mask */
            LLVMValueRef bit = be_splat_const(
                o->place, (uint64_t)1 << (o->n_tests - 1 - k), o->lanes);
            sum = LLVMBuildSelect(e->b, passed,
                                  LLVMBuildAdd(e->b, sum, bit, ""), sum, "");
            continue;
        }
        passed = LLVMBuildSExt(e->b, passed, type, "");
        sum = LLVMBuildSub(e->b, LLVMBuildAdd(e->b, sum, sum, ""), passed, "");
    }
    return sum;
}

static LLVMValueRef places_at(struct oblivious *o, LLVMValueRef tree,
                              LLVMValueRef row)
{
    struct be_emitter *e = o->e;
    LLVMValueRef at = LLVMBuildNSWAdd(
        e->b, LLVMBuildNSWMul(e->b, tree, be_i64(e, block_rows), ""), row, "");
    return be_at(e, o->place, o->places, at);
}

/* For each tree of the chunk: the entries of the block's rows. */
static void emit_places(struct oblivious *o)
{
    struct be_emitter *e = o->e;
    struct be_loop tree;
    be_loop_begin(e, &tree, be_i64(e, 0), o->n_chunk, 1);
    LLVMValueRef at = LLVMBuildNSWMul(
        e->b, LLVMBuildNSWAdd(e->b, o->first, tree.index, ""),
        be_i64(e, (int64_t)o->n_tests * o->test_bytes), "");
    LLVMValueRef tests = be_offset(e, o->run_tests, at);
    for (int r = 0; r < block_rows; r += o->lanes) {
        LLVMValueRef row = LLVMBuildNSWAdd(e->b, o->row, be_i64(e, r), "");
        LLVMValueRef v = tree_entries(o, tests, row);
        LLVMValueRef store = LLVMBuildStore(
            e->b, v, places_at(o, tree.index, be_i64(e, r)));
        LLVMSetAlignment(store, 16);
    }
    be_loop_end(e, &tree);
}

/* ----------------------------------------------------------------- sums -- */

/* The entry of the run's tree `tree`, from its field at `offset`, as i64. */
static LLVMValueRef entry_field(struct oblivious *o, LLVMValueRef tree,
                                size_t offset)
{
    struct be_emitter *e = o->e;
    LLVMValueRef at = be_at(e, e->i64, o->run_entries, tree);
    at = be_offset(e, at, be_i64(e, (int64_t)offset));
    return LLVMBuildZExt(e->b, be_load(e, e->i32, at), e->i64, "");
}

/* v, past what the code generator can see: two shifts stay two. */
static LLVMValueRef opaque(struct be_emitter *e, LLVMValueRef v)
{
    LLVMTypeRef type = LLVMFunctionType(e->i64, &e->i64, 1, 0);
    LLVMValueRef keep = LLVMGetInlineAsm(type, "", 0, "=r,0", 4, 0, 0,
                                         LLVMInlineAsmDialectATT, 0);
    return LLVMBuildCall2(e->b, type, keep, &v, 1, "");
}

/* The entries of n rows, 1 to word_rows, of which the first is at `at`. A word
 * of bytes is loaded at once and taken apart in the register, on x86 by its
 * names for the two lowest bytes: loads are what limits the adding. */
static void load_places(struct oblivious *o, LLVMValueRef at, int n,
                        LLVMValueRef *place)
{
    struct be_emitter *e = o->e;
    if (n < word_rows || o->place != e->i8) {
        for (int i = 0; i < n; i++)
            place[i] = LLVMBuildZExt(
                e->b,
                be_load(e, o->place, be_at(e, o->place, at, be_i64(e, i))),
                e->i64, "");
        return;
    }
    LLVMValueRef word = be_load(e, e->i64, at), byte = be_i64(e, 0xff);
    LLVMSetAlignment(word, word_rows);
    for (int i = 0; i < n; i += 2) {
        if (i > 0)
            word = LLVMBuildLShr(e->b, word, be_i64(e, 16), "");
        if (i > 0 && e->target->is_x86)
            word = opaque(e, word);
        place[i] = LLVMBuildAnd(e->b, word, byte, "");
        place[i + 1] = LLVMBuildAnd(
            e->b, LLVMBuildLShr(e->b, word, be_i64(e, 8), ""), byte, "");
    }
}

/* How a leaf's values are cut into vectors: the lanes of the one at `k`. */
static int piece_lanes(const struct oblivious *o, int k)
{
    int lanes = o->e->level->vector_bytes /
                (int)ir_dtype_bytes(o->f->sum_dtype);
    while (lanes > o->t->stride - k)
        lanes /= 2;
    return lanes;
}

static int count_pieces(const struct oblivious *o)
{
    int n = 0;
    for (int k = 0; k < o->t->stride; k += piece_lanes(o, k))
        n++;
    return n;
}

/* Values k to k + lanes - 1 of the margin at `at`, of which those past the
 * leaf's width are not there. */
static LLVMValueRef load_margin(struct oblivious *o, LLVMValueRef at, int k,
                                int lanes)
{
    struct be_emitter *e = o->e;
    LLVMTypeRef sum = be_type(e, o->f->sum_dtype);
    if (k + lanes <= o->f->leaf_width)
        return be_load(e, be_vector(sum, lanes),
                       be_at(e, sum, at, be_i64(e, k)));
    LLVMValueRef v = LLVMConstNull(be_vector(sum, lanes));
    for (int i = 0; k + i < o->f->leaf_width; i++)
        v = LLVMBuildInsertElement(
            e->b, v, be_load(e, sum, be_at(e, sum, at, be_i64(e, k + i))),
            be_i32(e, i), "");
    return v;
}

static void store_margin(struct oblivious *o, LLVMValueRef v, LLVMValueRef at,
                         int k, int lanes)
{
    struct be_emitter *e = o->e;
    LLVMTypeRef sum = be_type(e, o->f->sum_dtype);
    if (k + lanes <= o->f->leaf_width) {
        be_store(e, v, be_at(e, sum, at, be_i64(e, k)));
        return;
    }
    for (int i = 0; k + i < o->f->leaf_width; i++)
        be_store(e, LLVMBuildExtractElement(e->b, v, be_i32(e, i), ""),
                 be_at(e, sum, at, be_i64(e, k + i)));
}

/* Adds to sum[i], piece by piece and row by row, the leaf values of the run's
 * tree `tree`. */
static void add_tree(struct oblivious *o, LLVMValueRef tree, LLVMValueRef row,
                     int rows, LLVMValueRef *sum)
{
    struct be_emitter *e = o->e;
    const int bytes = o->t->stride * (int)ir_dtype_bytes(o->f->leaf_dtype);
    LLVMTypeRef type = be_leaf_type(e, o->forest);
    LLVMTypeRef leaf = LLVMArrayType2(type, (uint64_t)o->t->stride);
    LLVMValueRef place[word_rows];
    LLVMValueRef in_chunk = LLVMBuildNSWSub(e->b, tree, o->first, "");
    load_places(o, places_at(o, in_chunk, row), rows, place);
    LLVMValueRef table =
        be_at(e, leaf, o->t->values,
              entry_field(o, tree, offsetof(struct be_entry, start)));
    for (int r = 0, i = 0; r < rows; r++) {
        LLVMValueRef at = be_at(e, leaf, table, place[r]);
        for (int k = 0, lanes; k < o->t->stride; k += lanes, i++) {
            lanes = piece_lanes(o, k);
            const int align =
                lanes * (int)ir_dtype_bytes(o->f->leaf_dtype);
            LLVMValueRef v = be_load_leaf(
                e, o->forest, lanes, bytes % align == 0 ? align : 0,
                be_at(e, type, at, be_i64(e, k)));
            sum[i] = LLVMBuildFAdd(e->b, sum[i], v, "");
        }
    }
}

/* For each row of the block: the chunk's leaf values, with the margins of a few
 * rows in registers. */
static void add_leaves(struct oblivious *o)
{
    struct be_emitter *e = o->e;
    const struct ir_forest *f = o->f;
    const int n_pieces = count_pieces(o);
    int rows = word_rows;
    while (rows * n_pieces > most_sums)
        rows /= 2;
    LLVMTypeRef type = be_type(e, f->sum_dtype);
    struct be_loop row, tree;
    LLVMValueRef at[word_rows], sum[most_sums], phi[most_sums];
    be_loop_begin(e, &row, be_i64(e, 0), o->n_here, rows);
    LLVMValueRef first = LLVMBuildNSWAdd(e->b, o->row, row.index, "");
    for (int r = 0, i = 0; r < rows; r++) {
        LLVMValueRef margin = LLVMBuildNSWMul(
            e->b, LLVMBuildNSWAdd(e->b, first, be_i64(e, r), ""),
            be_i64(e, f->n_targets), "");
        at[r] = be_at(e, type, o->out, margin);
        for (int k = 0; k < o->t->stride; k += piece_lanes(o, k))
            sum[i++] = load_margin(o, at[r], k, piece_lanes(o, k));
    }
    const int n = rows * n_pieces;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    /* By its number in the run: one register less, and there are no more. */
    LLVMValueRef end = LLVMBuildNSWAdd(e->b, o->first, o->n_chunk, "");
    be_loop_begin(e, &tree, o->first, end, 1);
    LLVMPositionBuilderBefore(e->b, tree.index);
    for (int i = 0; i < n; i++) {
        phi[i] = LLVMBuildPhi(e->b, LLVMTypeOf(sum[i]), "");
        LLVMAddIncoming(phi[i], &sum[i], &before, 1);
        sum[i] = phi[i];
    }
    LLVMPositionBuilderAtEnd(e->b, tree.body);
    add_tree(o, tree.index, row.index, rows, sum);
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(e->b);
    for (int i = 0; i < n; i++)
        LLVMAddIncoming(phi[i], &sum[i], &latch, 1);
    be_loop_end(e, &tree);
    for (int r = 0, i = 0; r < rows; r++)
        for (int k = 0; k < o->t->stride; k += piece_lanes(o, k))
            store_margin(o, phi[i++], at[r], k, piece_lanes(o, k));
    be_loop_end(e, &row);
}

/* The same by lookups: all rows of the block at once. */
static void look_leaves_up(struct oblivious *o)
{
    struct be_emitter *e = o->e;
    const struct be_planes *l = o->forest->planes;
    const int entries = be_planes_entries(l, 1 << o->n_tests);
    struct be_planes_loop loop;
    LLVMValueRef at = LLVMBuildNSWMul(e->b, o->row,
                                      be_i64(e, o->f->n_targets), "");
    be_planes_begin(l, e, &loop, be_at(e, l->sum, o->out, at), be_i64(e, 0),
                    o->n_chunk);
    LLVMValueRef tree = loop.trees.index;
    LLVMValueRef table = be_offset(
        e, o->run_planes,
        LLVMBuildNSWMul(e->b, LLVMBuildNSWAdd(e->b, o->first, tree, ""),
                        be_i64(e, (int64_t)entries * l->sum_bytes), ""));
    LLVMValueRef index =
        LLVMBuildLoad2(e->b, be_vector(e->i8, block_rows),
                       places_at(o, tree, be_i64(e, 0)), "");
    LLVMSetAlignment(index, block_rows);
    be_planes_add(l, e, entries, table, index, loop.sum);
    be_planes_end(l, e, &loop);
}

/* The same for leaves of many values: margins stay in memory. */
static void add_wide_leaves(struct oblivious *o)
{
    struct be_emitter *e = o->e;
    LLVMTypeRef type = be_type(e, o->f->sum_dtype);
    struct be_loop row, tree;
    be_loop_begin(e, &row, be_i64(e, 0), o->n_here, 1);
    LLVMValueRef k = LLVMBuildNSWMul(
        e->b, LLVMBuildNSWAdd(e->b, o->row, row.index, ""),
        be_i64(e, o->f->n_targets), "");
    LLVMValueRef margin = be_at(e, type, o->out, k), place;
    be_loop_begin(e, &tree, be_i64(e, 0), o->n_chunk, 1);
    load_places(o, places_at(o, tree.index, row.index), 1, &place);
    LLVMValueRef number = LLVMBuildNSWAdd(e->b, o->first, tree.index, "");
    LLVMValueRef start =
        entry_field(o, number, offsetof(struct be_entry, start));
    be_add_leaf(e, o->forest, o->t->values,
                LLVMBuildNSWAdd(e->b, start, place, ""), margin);
    be_loop_end(e, &tree);
    be_loop_end(e, &row);
}

/* For each row of the block that is there: what the leaf result shows. */
static void store_leaves(struct oblivious *o)
{
    struct be_emitter *e = o->e;
    struct be_loop row, tree;
    LLVMValueRef place;
    be_loop_begin(e, &row, be_i64(e, 0), o->n_here, 1);
    LLVMValueRef k = LLVMBuildNSWMul(
        e->b, LLVMBuildNSWAdd(e->b, o->row, row.index, ""),
        be_i64(e, o->f->n_trees), "");
    be_loop_begin(e, &tree, be_i64(e, 0), o->n_chunk, 1);
    load_places(o, places_at(o, tree.index, row.index), 1, &place);
    LLVMValueRef number = LLVMBuildNSWAdd(e->b, o->first, tree.index, "");
    LLVMValueRef start =
        entry_field(o, number, offsetof(struct be_entry, start));
    LLVMValueRef shown = be_load(
        e, e->i32, be_at(e, e->i32, o->t->numbers,
                         LLVMBuildNSWAdd(e->b, start, place, "")));
    LLVMValueRef column =
        entry_field(o, number, offsetof(struct be_entry, tree));
    be_store(e, shown, be_at(e, e->i32, o->out,
                              LLVMBuildNSWAdd(e->b, k, column, "")));
    be_loop_end(e, &tree);
    be_loop_end(e, &row);
}

/* ------------------------------------------------------------ functions -- */

static int trees_of_chunk(const struct oblivious *o)
{
    const size_t bytes = ((size_t)o->t->stride << o->n_tests) *
                         ir_dtype_bytes(o->f->sum_dtype);
    const size_t n = chunk_bytes / bytes;
    return n > chunk_trees ? chunk_trees : n < chunk_least ? chunk_least
                                                            : (int)n;
}

/* fn(codes, out, n_rows, tests, entries, n_trees, planes) for trees of n_tests
 * tests: adds to margins, or stores leaves. */
static LLVMValueRef emit_run(struct oblivious *o, int n_tests, bool leaf)
{
    struct be_emitter *e = o->e;
    char name[64];
    snprintf(name, sizeof(name), "oblivious_%d_%d_%s_%d", o->forest->number,
             n_tests, leaf ? "leaf" : "margin", e->level->vector_bytes);
    LLVMTypeRef params[] = {e->ptr, e->ptr, e->i64, e->ptr, e->ptr, e->i64,
                            e->ptr};
    LLVMValueRef fn = be_function(e, name, e->none, params, 7, e->level);
    for (int i = 0; i < 2; i++)
        be_noalias(e, fn, i);
    be_noinline(e, fn);
    o->codes = LLVMGetParam(fn, 0);
    o->out = LLVMGetParam(fn, 1);
    o->n_rows = LLVMGetParam(fn, 2);
    o->run_tests = LLVMGetParam(fn, 3);
    o->run_entries = LLVMGetParam(fn, 4);
    o->n_trees = LLVMGetParam(fn, 5);
    o->run_planes = LLVMGetParam(fn, 6);
    o->n_tests = n_tests;
    o->place = n_tests <= 8 ? e->i8 : e->i16;
    /* Four registers of codes at most. */
    o->lanes = 4 * e->level->vector_bytes / o->forest->code_bytes;
    o->lanes = o->lanes < block_rows ? o->lanes : block_rows;
    o->places = LLVMBuildAlloca(
        e->b, LLVMArrayType2(o->place, chunk_trees * block_rows), "");
    LLVMSetAlignment(o->places, 64);
    const int chunk = trees_of_chunk(o);
    struct be_loop trees, rows;
    be_loop_begin(e, &trees, be_i64(e, 0), o->n_trees, chunk);
    o->first = trees.index;
    o->n_chunk = be_least(e, LLVMBuildNSWSub(e->b, o->n_trees, o->first, ""),
                       be_i64(e, chunk));
    be_loop_begin(e, &rows, be_i64(e, 0), o->n_rows, block_rows);
    o->row = rows.index;
    o->n_here = be_least(e, LLVMBuildNSWSub(e->b, o->n_rows, o->row, ""),
                         be_i64(e, block_rows));
    emit_places(o);
    if (leaf)
        store_leaves(o);
    else if (be_looks_up(e, o->forest))
        look_leaves_up(o);
    else if (count_pieces(o) <= most_sums)
        add_leaves(o);
    else
        add_wide_leaves(o);
    be_loop_end(e, &rows);
    be_loop_end(e, &trees);
    LLVMBuildRetVoid(e->b);
    return fn;
}

/* Calls the runs' functions, one run after the other. */
static void call_runs(struct oblivious *o, LLVMValueRef *fns, LLVMValueRef out,
                      bool leaf, LLVMValueRef codes, LLVMValueRef n_rows)
{
    struct be_emitter *e = o->e;
    LLVMTypeRef sum = be_type(e, o->f->sum_dtype);
    for (int r = 0; r < o->t->n_runs; r++) {
        const struct be_run *run = &o->t->runs[r];
        int target = o->f->target[o->t->order[run->first]];
        if (be_looks_up(e, o->forest)) /* [block][target][row] */
            target *= block_rows;
        LLVMValueRef args[] = {
            codes, leaf ? out : be_at(e, sum, out, be_i64(e, target)), n_rows,
            be_offset(e, o->tests, be_i64(e, o->tests_at[r])),
            be_at(e, e->i64, o->t->entries, be_i64(e, run->first)),
            be_i64(e, run->n),
            o->planes ? be_offset(e, o->planes, be_i64(e, o->planes_at[r]))
                      : LLVMConstNull(e->ptr)};
        be_call(e, fns[run->n_tests], args, 7);
    }
}

/* fn(codes, margin, leaf, n_rows), as emit_select.c's. */
static LLVMValueRef emit_all(struct oblivious *o, bool with_leaf)
{
    struct be_emitter *e = o->e;
    LLVMValueRef fns[2][IR_MAX_TREE_TESTS + 1] = {{NULL}};
    for (int r = 0; r < o->t->n_runs; r++)
        for (int leaf = 0; leaf <= with_leaf; leaf++) {
            const int n = o->t->runs[r].n_tests;
            if (!fns[leaf][n])
                fns[leaf][n] = emit_run(o, n, leaf);
        }
    char name[64];
    snprintf(name, sizeof(name), "oblivious_%d_%d", o->forest->number,
             e->level->vector_bytes);
    LLVMTypeRef params[] = {e->ptr, e->ptr, e->ptr, e->i64};
    LLVMValueRef fn = be_function(e, name, e->none, params, 4, e->level);
    LLVMValueRef codes = LLVMGetParam(fn, 0), leaf = LLVMGetParam(fn, 2);
    LLVMValueRef n_rows = LLVMGetParam(fn, 3);
    if (with_leaf) {
        LLVMBasicBlockRef write = be_block(e, "leaf");
        LLVMBasicBlockRef add = be_block(e, "margin");
        LLVMBuildCondBr(e->b, LLVMBuildIsNotNull(e->b, leaf, ""), write, add);
        LLVMPositionBuilderAtEnd(e->b, write);
        call_runs(o, fns[1], leaf, true, codes, n_rows);
        LLVMBuildRetVoid(e->b);
        LLVMPositionBuilderAtEnd(e->b, add);
    }
    call_runs(o, fns[0], LLVMGetParam(fn, 1), false, codes, n_rows);
    LLVMBuildRetVoid(e->b);
    return fn;
}

void be_oblivious_emit(struct be_emitter *e, struct be_forest *forest)
{
    const struct ir_forest *f = &forest->f;
    const bool with_leaf = ir_value_used(e->module, &forest->op->result[1]);
    struct oblivious o = {
        .e = e, .forest = forest, .f = f, .masked = be_has_masks(f),
        .code = forest->code_bytes == 1 ? e->i8 : e->i16,
        .t = be_leaf_tables(e, forest),
        .tests_at =
            ir_realloc_array(NULL, (size_t)f->n_trees + 1, sizeof(int64_t)),
        .planes_at =
            ir_realloc_array(NULL, (size_t)f->n_trees + 1, sizeof(int64_t)),
    };
    o.test_bytes = o.masked ? 12 : 8;
    emit_tests(&o);
    emit_planes(&o);
    forest->n_select_chunks = 1;
    for (int l = 0; l < e->n_levels; l++) {
        e->level = e->levels[l];
        forest->select_chunks[l] =
            ir_alloc_array(&e->arena, 1, sizeof(LLVMValueRef));
        forest->select_chunks[l][0] = emit_all(&o, with_leaf);
    }
    free(o.tests_at);
    free(o.planes_at);
}
