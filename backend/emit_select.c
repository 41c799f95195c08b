/* emit_select.c: the batch strategy `select`.
 *
 * A vector register holds one code column of `lanes` rows. An inner node is a
 * compare of a column with a constant and a select between what its children
 * gave, so a tree of L leaves is L - 1 compares and selects for all lanes: no
 * branch, no gather. What is selected is the leaf's place among the tree's
 * leaves. Places of a few trees are stored, then a scalar loop adds leaf values
 * row by row, in the order of the trees.
 *
 * Constants cost a load each, and loads are what limits the older ISAs. So a
 * subtree yields its leaf's place relative to its first leaf, and negated: of
 * two leaves that is the compare's mask itself; of a leaf and a subtree, the
 * leaf coming first, the mask of (subtree's - 1); only where two subtrees meet
 * is there a constant, how many leaves the first one has.
 *
 * Codes are signed here: the quantiser stores numeric codes less half their
 * range, because a signed compare is one instruction on every ISA.
 */
#include "backend/llvm.h"

#include <stdlib.h>
#include <string.h>

/* Places of a group of trees are stored, then added. They are stored as words,
 * each with one row's places in a few trees: loads are what limits the adding,
 * and this way one brings several. (Words of 32 bits beat those of 16 and 64,
 * and groups of two words those of one and four.) */
enum { word_bytes = 4, group_words = 4, max_group = 16, lane_bytes = 16 };
/* Where leaf values are looked up in registers (emit_planes.c), the places of
 * more trees are stored first, a byte each. */
enum { looked_up_trees = 64 };

struct select {
    struct be_emitter *e;
    struct be_forest *forest;
    LLVMTypeRef code;      /* i8 or i16 */
    int lanes;
    LLVMValueRef codes;    /* of the tile */
    LLVMValueRef row;      /* first row of the block */
    LLVMValueRef n_here;   /* rows of the block that there are */
    LLVMValueRef *column;  /* this tree's loaded code columns */
    int *loaded_for;       /* by column: the tree that loaded it */
    int word_trees;        /* whose places a word has */
    LLVMValueRef places;   /* i32[group_words][lanes]; where leaf values are
                              looked up, u8[looked_up_trees][64] */
    int entries;           /* of a tree's table there, and all trees' tables */
    LLVMValueRef planes;
};

static LLVMValueRef code_column(struct select *s, int tree, int column)
{
    if (s->loaded_for[column] == tree)
        return s->column[column];
    struct be_emitter *e = s->e;
    const int64_t first = column * s->forest->tile_rows;
    LLVMValueRef index =
        LLVMBuildNSWAdd(e->b, s->row, be_i64(e, first), "");
    LLVMValueRef v = LLVMBuildLoad2(e->b, be_vector(s->code, s->lanes),
                                    be_at(e, s->code, s->codes, index), "");
    LLVMSetAlignment(v, (unsigned)(s->lanes * s->forest->code_bytes));
    s->loaded_for[column] = tree;
    return s->column[column] = v;
}

/* The lanes whose row goes right at `node`. */
static LLVMValueRef goes_right(struct select *s, int tree, int64_t node)
{
    const struct ir_forest *f = &s->forest->f;
    const int column = f->node_column[node];
    const uint64_t code = f->node_code[node];
    LLVMValueRef v = code_column(s, tree, column);
    if (f->column_flags[column] & IR_NODE_CATEGORICAL) {
        LLVMValueRef bits = be_splat_const(s->code, code, s->lanes);
        return LLVMBuildICmp(s->e->b, LLVMIntEQ,
                             LLVMBuildAnd(s->e->b, v, bits, ""),
                             LLVMConstNull(LLVMTypeOf(v)), "");
    }
    const uint64_t half = s->forest->code_bytes == 1 ? 0x80 : 0x8000;
    return LLVMBuildICmp(s->e->b, LLVMIntSGT, v,
                         be_splat_const(s->code, code ^ half, s->lanes), "");
}

/* Minus the relative place, at a node whose children gave `left` and `right`
 * (NULL for a leaf); the first of two subtrees, the left one, has `n_left`
 * leaves. */
static LLVMValueRef combine(struct select *s, LLVMValueRef goes_right,
                            LLVMValueRef left, LLVMValueRef right,
                            uint64_t n_left)
{
    LLVMBuilderRef b = s->e->b;
    LLVMTypeRef type = be_vector(s->code, s->lanes);
    LLVMValueRef zero = LLVMConstNull(type);
    if (!left && !right)
        return LLVMBuildSExt(b, goes_right, type, "");
    if (left && right) {
        LLVMValueRef past = LLVMBuildSub(
            b, right, be_splat_const(s->code, n_left, s->lanes), "");
        return LLVMBuildSelect(b, goes_right, past, left, "");
    }
    LLVMValueRef past = LLVMBuildAdd(b, left ? left : right,
                                     LLVMConstAllOnes(type), "");
    return LLVMBuildSelect(b, goes_right, right ? past : zero,
                           right ? zero : past, "");
}

/* A node whose children are being emitted. */
struct frame {
    int32_t node;
    int step;               /* children that were asked for so far */
    bool right_first;       /* the one that needs more registers */
    LLVMValueRef result[2]; /* of the left and the right child */
};

void be_measure_tree(const struct ir_forest *f, int tree,
                     struct be_measure *measure)
{
    const int32_t *left = f->left + f->tree_start[tree];
    const int32_t *right = f->right + f->tree_start[tree];
    const size_t n_nodes =
        (size_t)(f->tree_start[tree + 1] - f->tree_start[tree]);
    int32_t *order = ir_realloc_array(NULL, n_nodes + 1, sizeof(*order));
    int32_t *leaves = ir_realloc_array(NULL, n_nodes + 1, sizeof(*leaves));
    uint8_t *need = ir_realloc_array(NULL, n_nodes + 1, sizeof(*need));
    int n = 0;
    if (n_nodes > 0)
        order[n++] = 0;
    for (int i = 0; i < n; i++) {
        const int32_t node = order[i];
        if (left[node] >= 0)
            order[n++] = left[node];
        if (right[node] >= 0)
            order[n++] = right[node];
    }
    while (n-- > 0) {
        const int32_t node = order[n];
        const uint8_t l = left[node] < 0 ? 0 : need[left[node]];
        const uint8_t r = right[node] < 0 ? 0 : need[right[node]];
        need[node] = (uint8_t)(l == r ? l + 1 : l > r ? l : r);
        leaves[node] = (left[node] < 0 ? 1 : leaves[left[node]]) +
                       (right[node] < 0 ? 1 : leaves[right[node]]);
    }
    free(order);
    *measure = (struct be_measure){leaves, need};
}

void be_measure_free(struct be_measure *measure)
{
    free(measure->leaves);
    free(measure->need);
}

/* Emits a tree depth first, the child that needs more registers first, on an
 * explicit stack: trees may be chains. */
static LLVMValueRef tree_places(struct select *s, int tree)
{
    const struct ir_forest *f = &s->forest->f;
    const int64_t first = f->tree_start[tree];
    const int32_t *left = f->left + first, *right = f->right + first;
    LLVMValueRef zero = LLVMConstNull(be_vector(s->code, s->lanes));
    if (f->tree_start[tree + 1] == first)
        return zero;

    const size_t n = (size_t)(f->tree_start[tree + 1] - first);
    struct frame *stack = ir_realloc_array(NULL, n, sizeof(*stack));
    struct be_measure m;
    be_measure_tree(f, tree, &m);

    LLVMValueRef result = NULL;
    int depth = 0;
    stack[0] = (struct frame){.node = 0};
    while (depth >= 0) {
        struct frame *at = &stack[depth];
        const int32_t child[2] = {left[at->node], right[at->node]};
        if (at->step == 0)
            at->right_first =
                child[0] >= 0 && child[1] >= 0 &&
                m.need[child[1]] > m.need[child[0]];
        else
            at->result[(at->step - 1) ^ at->right_first] = result;
        /* A leaf has nothing to emit. */
        result = NULL;
        if (at->step == 2) {
            const uint64_t n_left =
                child[0] < 0 ? 1 : (uint64_t)m.leaves[child[0]];
            result = combine(s, goes_right(s, tree, first + at->node),
                             at->result[0], at->result[1], n_left);
            depth--;
            continue;
        }
        const int32_t next = child[at->step++ ^ at->right_first];
        if (next >= 0)
            stack[++depth] = (struct frame){.node = next};
    }
    be_measure_free(&m);
    free(stack);
    return LLVMBuildSub(s->e->b, zero, result, "");
}

/* Stores the places of word_trees trees as the words of all rows, `at`. */
static void store_words(struct select *s, LLVMValueRef *v, LLVMValueRef at)
{
    struct be_emitter *e = s->e;
    const int n = s->word_trees, code_bytes = s->forest->code_bytes;
    be_interleave(e, v, n, code_bytes, s->lanes * code_bytes);
    /* The 16 bytes number h of vector k hold the words of four rows. */
    const int n_16 = s->lanes * code_bytes / lane_bytes;
    const int rows = lane_bytes / word_bytes;
    LLVMTypeRef type = be_vector(e->i32, rows * n_16);
    for (int k = 0; k < n; k++)
        for (int h = 0; h < n_16; h++) {
            LLVMValueRef mask[lane_bytes / word_bytes];
            for (int i = 0; i < rows; i++)
                mask[i] = be_i32(e, rows * h + i);
            LLVMValueRef four = LLVMBuildShuffleVector(
                e->b, LLVMBuildBitCast(e->b, v[k], type, ""),
                LLVMGetUndef(type), LLVMConstVector(mask, (unsigned)rows), "");
            LLVMValueRef to = be_at(
                e, e->i32, at, be_i64(e, rows * (n * (int64_t)h + k)));
            LLVMSetAlignment(LLVMBuildStore(e->b, four, to), lane_bytes);
        }
}

/* A row's words, and from them its leaf's place in tree `i` of the group. */
static void load_words(struct select *s, LLVMValueRef row, int n,
                       LLVMValueRef words[group_words])
{
    struct be_emitter *e = s->e;
    for (int w = 0; w * s->word_trees < n; w++) {
        LLVMValueRef at =
            LLVMBuildNSWAdd(e->b, row, be_i64(e, (int64_t)w * s->lanes), "");
        words[w] = LLVMBuildZExt(
            e->b, be_load(e, e->i32, be_at(e, e->i32, s->places, at)), e->i64,
            "");
    }
}

static LLVMValueRef word_place(struct select *s,
                               const LLVMValueRef words[group_words], int i)
{
    struct be_emitter *e = s->e;
    const int bits = 8 * s->forest->code_bytes;
    LLVMValueRef v =
        LLVMBuildLShr(e->b, words[i / s->word_trees],
                      be_i64(e, bits * (i % s->word_trees)), "");
    return LLVMBuildAnd(e->b, v, be_i64(e, (1 << bits) - 1), "");
}

/* Begins a loop over the block's rows that there are: loads a row's words and
 * returns the number of its first element where a row has `width`. */
static LLVMValueRef begin_rows(struct select *s, struct be_loop *loop,
                               int64_t width, int n,
                               LLVMValueRef words[group_words])
{
    struct be_emitter *e = s->e;
    be_loop_begin(e, loop, be_i64(e, 0), s->n_here, 1);
    LLVMValueRef row = LLVMBuildNSWAdd(e->b, s->row, loop->index, "");
    LLVMValueRef base = LLVMBuildNSWMul(e->b, row, be_i64(e, width), "");
    load_words(s, loop->index, n, words);
    return base;
}

/* for each row of the block: the values of its leaves, tree by tree. */
static void add_wide_leaves(struct select *s, int tree, int n,
                            LLVMValueRef margin)
{
    struct be_emitter *e = s->e;
    const struct be_forest *forest = s->forest;
    const struct ir_forest *f = &forest->f;
    LLVMTypeRef sum = be_type(e, f->sum_dtype);
    LLVMValueRef words[group_words];
    struct be_loop loop;
    LLVMValueRef base = begin_rows(s, &loop, f->n_targets, n, words);
    for (int i = 0; i < n; i++) {
        LLVMValueRef leaf =
            LLVMBuildNSWAdd(e->b, word_place(s, words, i),
                            be_i64(e, f->leaf_start[tree + i]), "");
        LLVMValueRef k = be_i64(e, f->target[tree + i]);
        be_add_leaf(e, forest, forest->leaf_table, leaf,
                    be_at(e, sum, margin, LLVMBuildNSWAdd(e->b, base, k, "")));
    }
    be_loop_end(e, &loop);
}

/* for each row of the block: margin[target] += leaf value, tree by tree. */
static void add_leaves(struct select *s, int tree, int n, LLVMValueRef margin)
{
    struct be_emitter *e = s->e;
    const struct be_forest *forest = s->forest;
    const struct ir_forest *f = &forest->f;
    LLVMTypeRef sum = be_type(e, f->sum_dtype);
    LLVMTypeRef stored = be_leaf_type(e, forest);
    LLVMValueRef acc[max_group] = {NULL}, at[max_group] = {NULL};
    LLVMValueRef words[group_words];
    struct be_loop loop;
    LLVMValueRef base = begin_rows(s, &loop, f->n_targets, n, words);
    for (int i = 0; i < n; i++) {
        int first = 0; /* tree of this group with the same target */
        while (f->target[tree + first] != f->target[tree + i])
            first++;
        if (first == i) {
            LLVMValueRef k = be_i64(e, f->target[tree + i]);
            at[i] = be_at(e, sum, margin, LLVMBuildNSWAdd(e->b, base, k, ""));
            acc[i] = be_load(e, sum, at[i]);
        }
        LLVMValueRef table =
            be_at(e, stored, forest->leaf_table,
                  be_i64(e, f->leaf_start[tree + i]));
        LLVMValueRef value = be_load_leaf(
            e, forest, 1, 0, be_at(e, stored, table, word_place(s, words, i)));
        acc[first] = LLVMBuildFAdd(e->b, acc[first], value, "");
    }
    for (int i = 0; i < n; i++)
        if (at[i])
            be_store(e, acc[i], at[i]);
    be_loop_end(e, &loop);
}

/* for each row of the block: leaf[row][tree] = the leaf's own number. */
static void store_leaves(struct select *s, int tree, int n, LLVMValueRef leaf,
                         LLVMValueRef numbers)
{
    struct be_emitter *e = s->e;
    const struct ir_forest *f = &s->forest->f;
    LLVMValueRef words[group_words];
    struct be_loop loop;
    LLVMValueRef base = begin_rows(s, &loop, f->n_trees, n, words);
    for (int i = 0; i < n; i++) {
        LLVMValueRef place = word_place(s, words, i);
        LLVMValueRef table =
            be_at(e, e->i32, numbers, be_i64(e, f->leaf_start[tree + i]));
        LLVMValueRef at = LLVMBuildNSWAdd(e->b, base, be_i64(e, tree + i), "");
        be_store(e, be_load(e, e->i32, be_at(e, e->i32, table, place)),
                 be_at(e, e->i32, leaf, at));
    }
    be_loop_end(e, &loop);
}

/* leaf_id, or the inverse of leaf_place. */
LLVMValueRef be_leaf_numbers(struct be_emitter *e,
                             const struct be_forest *forest)
{
    const struct ir_forest *f = &forest->f;
    int32_t *numbers = ir_realloc_array(NULL, f->n_leaves, sizeof(int32_t));
    for (int t = 0; t < f->n_trees; t++)
        for (int i = f->leaf_start[t]; i < f->leaf_start[t + 1]; i++)
            numbers[f->leaf_start[t] + forest->leaf_place[i]] =
                f->leaf_id ? f->leaf_id[i] : i - f->leaf_start[t];
    LLVMValueRef table =
        be_bytes(e, "leaf_number", numbers, (size_t)f->n_leaves * 4, 64);
    free(numbers);
    return table;
}

/* Stores the places of n trees. */
static void emit_words(struct select *s, int tree, int n)
{
    struct be_emitter *e = s->e;
    LLVMValueRef none = LLVMConstNull(be_vector(s->code, s->lanes));
    for (int w = 0; w * s->word_trees < n; w++) {
        LLVMValueRef v[word_bytes];
        for (int i = 0; i < s->word_trees; i++) {
            const int t = w * s->word_trees + i;
            v[i] = t < n ? tree_places(s, tree + t) : none;
        }
        store_words(s, v, be_at(e, e->i32, s->places,
                                be_i64(e, (int64_t)w * s->lanes)));
    }
}

/* --------------------------------------------------------------- lookups -- */

/* The tables that leaf values are looked up in, tree by tree. */
static LLVMValueRef emit_planes(struct be_emitter *e,
                                const struct be_forest *forest, int entries)
{
    const struct ir_forest *f = &forest->f;
    const size_t bytes = ir_dtype_bytes(f->sum_dtype);
    uint8_t *values = ir_realloc_array(NULL, (size_t)entries, bytes);
    struct ir_text planes;
    ir_text_init(&planes);
    for (int t = 0; t < f->n_trees; t++) {
        const int32_t first = f->leaf_start[t];
        const int n = f->leaf_start[t + 1] - first;
        for (int i = 0; i < n; i++)
            memcpy(values + (size_t)forest->leaf_place[first + i] * bytes,
                   (const uint8_t *)f->leaf_value + (size_t)(first + i) * bytes,
                   bytes);
        be_planes_append(forest->planes, entries, values, n, &planes);
    }
    free(values);
    LLVMValueRef table =
        be_bytes(e, "leaf_plane", planes.data, planes.length, 64);
    ir_text_release(&planes);
    return table;
}

static void plan_lookups(struct select *s)
{
    const struct ir_forest *f = &s->forest->f;
    int most = 0;
    for (int t = 0; t < f->n_trees; t++) {
        const int n = f->leaf_start[t + 1] - f->leaf_start[t];
        most = n > most ? n : most;
    }
    struct be_planes *l = ir_alloc(&s->e->arena, sizeof(*l));
    if (!be_planes_init(l, s->e, s->forest, most, BE_PLANES_ROWS))
        return;
    s->forest->planes = l;
    s->entries = be_planes_entries(l, most);
    s->planes = emit_planes(s->e, s->forest, s->entries);
}

static LLVMValueRef bytes_of_tree(struct select *s, LLVMValueRef tree)
{
    struct be_emitter *e = s->e;
    return be_offset(e, s->places,
                     LLVMBuildNSWMul(e->b, tree, be_i64(e, BE_PLANES_ROWS),
                                     ""));
}

/* Stores the places of n trees as bytes, for the 64 rows from `row` on. */
static void emit_bytes(struct select *s, LLVMValueRef row, int tree, int n)
{
    struct be_emitter *e = s->e;
    LLVMTypeRef bytes = be_vector(e->i8, s->lanes);
    struct be_loop part; /* of the rows */
    be_loop_begin(e, &part, be_i64(e, 0), be_i64(e, BE_PLANES_ROWS), s->lanes);
    s->row = LLVMBuildNSWAdd(e->b, row, part.index, "");
    for (int i = 0; i < n; i++) {
        LLVMValueRef v = tree_places(s, tree + i);
        if (s->forest->code_bytes > 1)
            v = LLVMBuildTrunc(e->b, v, bytes, "");
        LLVMValueRef at =
            be_offset(e, bytes_of_tree(s, be_i64(e, i)), part.index);
        LLVMSetAlignment(LLVMBuildStore(e->b, v, at), (unsigned)s->lanes);
    }
    be_loop_end(e, &part);
}

/* Adds the leaf values of the trees [from, end), of one target. */
static void look_leaves_up(struct select *s, LLVMValueRef row, int tree,
                           int from, int end, LLVMValueRef margin)
{
    struct be_emitter *e = s->e;
    const struct be_planes *l = s->forest->planes;
    const int64_t bytes = (int64_t)s->entries * l->sum_bytes;
    LLVMValueRef at = LLVMBuildNSWMul(
        e->b, row, be_i64(e, s->forest->f.n_targets), "");
    at = LLVMBuildNSWAdd(
        e->b, at, be_i64(e, s->forest->f.target[tree + from] * BE_PLANES_ROWS),
        "");
    struct be_planes_loop loop;
    be_planes_begin(l, e, &loop, be_at(e, l->sum, margin, at),
                    be_i64(e, from), be_i64(e, end));
    LLVMValueRef index = LLVMBuildLoad2(
        e->b, be_vector(e->i8, BE_PLANES_ROWS),
        bytes_of_tree(s, loop.trees.index), "");
    LLVMSetAlignment(index, BE_PLANES_ROWS);
    LLVMValueRef table = be_offset(
        e, s->planes,
        LLVMBuildNSWMul(e->b,
                        LLVMBuildNSWAdd(e->b, loop.trees.index,
                                        be_i64(e, tree), ""),
                        be_i64(e, bytes), ""));
    be_planes_add(l, e, s->entries, table, index, loop.sum);
    be_planes_end(l, e, &loop);
}

/* leaf[row][tree] = the leaf's own number, of the rows that there are. */
static void store_byte_leaves(struct select *s, LLVMValueRef row, int tree,
                              int n, LLVMValueRef leaf, LLVMValueRef n_rows,
                              LLVMValueRef numbers)
{
    struct be_emitter *e = s->e;
    const struct ir_forest *f = &s->forest->f;
    struct be_loop loop;
    LLVMValueRef rows = be_least(e, LLVMBuildNSWSub(e->b, n_rows, row, ""),
                                 be_i64(e, BE_PLANES_ROWS));
    be_loop_begin(e, &loop, be_i64(e, 0), rows, 1);
    LLVMValueRef to = LLVMBuildNSWMul(
        e->b, LLVMBuildNSWAdd(e->b, row, loop.index, ""),
        be_i64(e, f->n_trees), "");
    for (int i = 0; i < n; i++) {
        LLVMValueRef place = LLVMBuildZExt(
            e->b, be_load(e, e->i8, be_offset(e, bytes_of_tree(s, be_i64(e, i)),
                                              loop.index)), e->i64, "");
        LLVMValueRef table =
            be_at(e, e->i32, numbers, be_i64(e, f->leaf_start[tree + i]));
        LLVMValueRef at = LLVMBuildNSWAdd(e->b, to, be_i64(e, tree + i), "");
        be_store(e, be_load(e, e->i32, be_at(e, e->i32, table, place)),
                 be_at(e, e->i32, leaf, at));
    }
    be_loop_end(e, &loop);
}

/* The body of a chunk's function, where leaf values are looked up. */
static void emit_looking_up(struct select *s, int tree, int n_trees,
                            LLVMValueRef margin, LLVMValueRef leaf,
                            LLVMValueRef n_rows, LLVMValueRef numbers)
{
    struct be_emitter *e = s->e;
    const int32_t *target = s->forest->f.target;
    struct be_loop block;
    s->places = LLVMBuildAlloca(
        e->b, LLVMArrayType2(e->i8, looked_up_trees * BE_PLANES_ROWS), "");
    LLVMSetAlignment(s->places, 64);
    be_loop_begin(e, &block, be_i64(e, 0), n_rows, BE_PLANES_ROWS);
    for (int t = tree; t < tree + n_trees; t += looked_up_trees) {
        int n = tree + n_trees - t;
        n = n < looked_up_trees ? n : looked_up_trees;
        LLVMBasicBlockRef next = be_block(e, "next");
        emit_bytes(s, block.index, t, n);
        if (numbers) {
            LLVMBasicBlockRef write = be_block(e, "leaf");
            LLVMBasicBlockRef add = be_block(e, "margin");
            LLVMBuildCondBr(e->b, LLVMBuildIsNotNull(e->b, leaf, ""), write,
                            add);
            LLVMPositionBuilderAtEnd(e->b, write);
            store_byte_leaves(s, block.index, t, n, leaf, n_rows, numbers);
            LLVMBuildBr(e->b, next);
            LLVMPositionBuilderAtEnd(e->b, add);
        }
        for (int i = 0, end; i < n; i = end) {
            for (end = i + 1; end < n && target[t + end] == target[t + i];)
                end++;
            look_leaves_up(s, block.index, t, i, end, margin);
        }
        LLVMBuildBr(e->b, next);
        LLVMPositionBuilderAtEnd(e->b, next);
    }
    be_loop_end(e, &block);
}

/* ---------------------------------------------------------------- chunks -- */

static LLVMValueRef emit_chunk(struct select *s, int tree, int n_trees,
                               LLVMValueRef numbers, bool with_leaf)
{
    struct be_emitter *e = s->e;
    char name[64];
    snprintf(name, sizeof(name), "select_%d_%d_%d", s->forest->number, tree,
             e->level->vector_bytes);
    LLVMTypeRef params[] = {e->ptr, e->ptr, e->ptr, e->i64};
    LLVMValueRef fn = be_function(e, name, e->none, params, 4, e->level);
    for (int i = 0; i < 3; i++)
        be_noalias(e, fn, i);
    s->codes = LLVMGetParam(fn, 0);
    LLVMValueRef margin = LLVMGetParam(fn, 1), leaf = LLVMGetParam(fn, 2);
    LLVMValueRef n_rows = LLVMGetParam(fn, 3);
    if (be_looks_up(e, s->forest)) {
        emit_looking_up(s, tree, n_trees, margin, leaf, n_rows, numbers);
        LLVMBuildRetVoid(e->b);
        return fn;
    }
    s->places = LLVMBuildAlloca(
        e->b, LLVMArrayType2(e->i32, group_words * (uint64_t)s->lanes), "");
    LLVMSetAlignment(s->places, 64);
    LLVMValueRef wants_leaf = LLVMBuildIsNotNull(e->b, leaf, "");

    struct be_loop loop;
    be_loop_begin(e, &loop, be_i64(e, 0), n_rows, s->lanes);
    s->row = loop.index;
    s->n_here = be_least(e, LLVMBuildNSWSub(e->b, n_rows, s->row, ""),
                         be_i64(e, s->lanes));
    const int group = group_words * s->word_trees;
    for (int t = tree; t < tree + n_trees; t += group) {
        int n = tree + n_trees - t;
        n = n < group ? n : group;
        emit_words(s, t, n);
        LLVMBasicBlockRef next = NULL;
        if (with_leaf) {
            LLVMBasicBlockRef write = be_block(e, "leaf");
            LLVMBasicBlockRef add = be_block(e, "margin");
            next = be_block(e, "next");
            LLVMBuildCondBr(e->b, wants_leaf, write, add);
            LLVMPositionBuilderAtEnd(e->b, write);
            store_leaves(s, t, n, leaf, numbers);
            LLVMBuildBr(e->b, next);
            LLVMPositionBuilderAtEnd(e->b, add);
        }
        if (s->forest->f.leaf_width == 1)
            add_leaves(s, t, n, margin);
        else
            add_wide_leaves(s, t, n, margin);
        if (next) {
            LLVMBuildBr(e->b, next);
            LLVMPositionBuilderAtEnd(e->b, next);
        }
    }
    be_loop_end(e, &loop);
    LLVMBuildRetVoid(e->b);
    return fn;
}

void be_select_emit(struct be_emitter *e, struct be_forest *forest, int level)
{
    const struct ir_forest *f = &forest->f;
    const int limit = (int)ir_attr_int_or(forest->op, "chunk_nodes", 1024);
    const bool with_leaf = ir_value_used(e->module, &forest->op->result[1]);
    struct select s = {
        .e = e, .forest = forest,
        .code = forest->code_bytes == 1 ? e->i8 : e->i16,
        .lanes = e->levels[level]->vector_bytes / forest->code_bytes,
        .word_trees = word_bytes / forest->code_bytes,
        .column = ir_realloc_array(NULL, f->n_code_columns + 1,
                                   sizeof(LLVMValueRef)),
        .loaded_for = ir_realloc_array(NULL, f->n_code_columns + 1,
                                       sizeof(int)),
    };
    for (int i = 0; i < f->n_code_columns; i++)
        s.loaded_for[i] = -1;
    e->level = e->levels[level];
    if (e->level->has_masks)
        plan_lookups(&s);
    const int group = group_words * s.word_trees;
    LLVMValueRef numbers = with_leaf ? be_leaf_numbers(e, forest) : NULL;
    LLVMValueRef *chunks =
        ir_alloc_array(&e->arena, f->n_trees, sizeof(LLVMValueRef));
    int n_chunks = 0;
    for (int t = 0, next; t < f->n_trees; t = next) {
        next = t + 1;
        while (next < f->n_trees &&
               f->tree_start[next + 1] - f->tree_start[t] <= limit)
            next++;
        if (next < f->n_trees && next - t > group)
            next -= (next - t) % group;
        chunks[n_chunks++] = emit_chunk(&s, t, next - t, numbers, with_leaf);
    }
    forest->select_chunks[level] = chunks;
    forest->n_select_chunks = n_chunks;
    free(s.column);
    free(s.loaded_for);
}
