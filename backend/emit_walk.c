/* emit_walk.c: trees as tables: the strategy `walk`, the set test, and linear
 * leaves. Its code is the same few instructions for any forest, so that its
 * compile time does not depend on the model's size. All of it is scalar and
 * compiled once, for the lowest level. */
#include "backend/llvm.h"

#include <stdlib.h>
#include <string.h>

/* A node as the walk reads it. Children are numbered over the whole forest;
 * a child < 0 is leaf ~child. */
struct walk_node {
    double threshold; /* exact for f32 as well */
    int32_t left, right;
    uint32_t feature;
    uint32_t flags; /* enum ir_node_flag */
    int32_t set_start, set_end; /* words of a categorical node's set */
};
_Static_assert(sizeof(struct walk_node) == 32, "the emitted code strides 32");

static LLVMValueRef field(struct be_emitter *e, LLVMTypeRef type,
                          LLVMValueRef node, size_t offset)
{
    return be_load(e, type, be_offset(e, node, be_i64(e, (int64_t)offset)));
}

static bool has_flag(const struct ir_forest *f, uint8_t flag)
{
    for (int i = 0; i < f->n_nodes; i++)
        if (f->flags[i] & flag)
            return true;
    return false;
}

/* Whether none of the bits `mask` of a node's flags, an i32, is set. */
static LLVMValueRef lacks(struct be_emitter *e, LLVMValueRef flags,
                          uint8_t mask)
{
    return LLVMBuildIsNull(
        e->b, LLVMBuildAnd(e->b, flags, be_i32(e, mask), ""), "");
}

/* Whether v, which is `code` when truncated, may be a number of a set: below 0
 * and between whole numbers there are none for some nodes. */
static LLVMValueRef is_whole(struct be_emitter *e,
                             const struct be_forest *forest, LLVMValueRef v,
                             LLVMValueRef code, LLVMValueRef flags)
{
    const struct ir_forest *f = &forest->f;
    LLVMTypeRef type = LLVMTypeOf(v);
    LLVMValueRef low = LLVMBuildFCmp(e->b, LLVMRealOGE, v,
                                     LLVMConstNull(type), "");
    LLVMValueRef good = LLVMBuildOr(
        e->b, low, lacks(e, flags, IR_NODE_FLOOR | IR_NODE_EXACT), "");
    if (!has_flag(f, IR_NODE_EXACT))
        return good;
    LLVMValueRef same = LLVMBuildFCmp(
        e->b, LLVMRealOEQ, LLVMBuildSIToFP(e->b, code, type, ""), v, "");
    return LLVMBuildAnd(
        e->b, good, LLVMBuildOr(e->b, same, lacks(e, flags, IR_NODE_EXACT), ""),
        "");
}

/* Whether v is a member of the set in words [start, end), as a node of these
 * flags reads it. */
static LLVMValueRef is_member(struct be_emitter *e, struct be_forest *forest,
                              LLVMValueRef v, LLVMValueRef start,
                              LLVMValueRef end, LLVMValueRef flags)
{
    const struct ir_forest *f = &forest->f;
    LLVMTypeRef type = LLVMTypeOf(v);
    LLVMValueRef words = LLVMBuildSub(e->b, end, start, "");
    LLVMValueRef bits = LLVMBuildShl(
        e->b, LLVMBuildZExt(e->b, words, e->i64, ""), be_i64(e, 5), "");
    LLVMValueRef limit = LLVMBuildUIToFP(e->b, bits, type, "");
    LLVMValueRef in = LLVMBuildAnd(
        e->b,
        LLVMBuildFCmp(e->b, LLVMRealOGT, v,
                      be_real(e, f->in_dtype, -1), ""),
        LLVMBuildFCmp(e->b, LLVMRealOLT, v, limit, ""), "");
    /* (-1, 0) truncates to 0, which an empty set does not have. */
    in = LLVMBuildAnd(e->b, in, LLVMBuildIsNotNull(e->b, words, ""), "");
    LLVMValueRef code = LLVMBuildFPToSI(
        e->b, LLVMBuildSelect(e->b, in, v, LLVMConstNull(type), ""), e->i64,
        "");
    if (has_flag(f, IR_NODE_FLOOR | IR_NODE_EXACT))
        in = LLVMBuildAnd(e->b, in, is_whole(e, forest, v, code, flags), "");
    LLVMValueRef word = LLVMBuildAdd(
        e->b, LLVMBuildZExt(e->b, start, e->i64, ""),
        LLVMBuildLShr(e->b, code, be_i64(e, 5), ""), "");
    LLVMValueRef w = be_load(
        e, e->i32, be_at(e, e->i32, forest->set_table, word));
    LLVMValueRef shift = LLVMBuildTrunc(
        e->b, LLVMBuildAnd(e->b, code, be_i64(e, 31), ""), e->i32, "");
    LLVMValueRef bit = LLVMBuildTrunc(
        e->b, LLVMBuildLShr(e->b, w, shift, ""), e->i1, "");
    return LLVMBuildAnd(e->b, in, bit, "");
}

static void emit_set_table(struct be_emitter *e, struct be_forest *forest)
{
    const struct ir_forest *f = &forest->f;
    if (forest->set_table || !f->set)
        return;
    /* One word more, so that an empty set at the end can be read. */
    const size_t n = (size_t)f->set_start[f->n_sets];
    uint32_t *words = ir_realloc_array(NULL, n + 1, 4);
    if (n)
        memcpy(words, f->set_words, n * 4);
    words[n] = 0;
    forest->set_table = be_bytes(e, "set_words", words, (n + 1) * 4, 4);
    free(words);
}

void be_in_set_emit(struct be_emitter *e, struct be_forest *forest)
{
    char name[64];
    snprintf(name, sizeof(name), "in_set_%d", forest->number);
    LLVMTypeRef params[] = {be_type(e, forest->f.in_dtype), e->i32, e->i32,
                            e->i32};
    if (forest->in_set)
        return;
    emit_set_table(e, forest);
    forest->in_set = be_function(e, name, e->i1, params, 4, e->levels[0]);
    be_noinline(e, forest->in_set);
    LLVMValueRef v = LLVMGetParam(forest->in_set, 0);
    LLVMValueRef start = LLVMGetParam(forest->in_set, 1);
    LLVMValueRef end = LLVMGetParam(forest->in_set, 2);
    LLVMValueRef flags = LLVMGetParam(forest->in_set, 3);
    LLVMBuildRet(e->b, is_member(e, forest, v, start, end, flags));
}

LLVMValueRef be_set_test(struct be_emitter *e, struct be_forest *forest,
                         int64_t node, LLVMValueRef v)
{
    const struct ir_forest *f = &forest->f;
    const int32_t set = f->set[node];
    LLVMValueRef args[] = {v, be_i32(e, f->set_start[set]),
                           be_i32(e, f->set_start[set + 1]),
                           be_i32(e, f->flags[node])};
    LLVMValueRef left = be_call(e, forest->in_set, args, 4);
    if (!(f->flags[node] & IR_NODE_MISSING_LEFT))
        return left;
    return LLVMBuildOr(e->b, left,
                       LLVMBuildFCmp(e->b, LLVMRealUNO, v, v, ""), "");
}

static LLVMValueRef node_flags(struct be_emitter *e, LLVMValueRef node)
{
    return field(e, e->i32, node, offsetof(struct walk_node, flags));
}

static LLVMValueRef flag(struct be_emitter *e, LLVMValueRef flags,
                         uint8_t mask, int lanes)
{
    LLVMValueRef set = LLVMBuildIsNotNull(
        e->b, LLVMBuildAnd(e->b, flags, be_i32(e, mask), ""), "");
    return be_splat(e, set, lanes);
}

static LLVMValueRef below_threshold(struct be_emitter *e,
                                    const struct ir_forest *f,
                                    LLVMValueRef node, LLVMValueRef v,
                                    int lanes)
{
    LLVMValueRef t =
        field(e, e->f64, node, offsetof(struct walk_node, threshold));
    t = be_splat(e, be_convert(e, t, IR_F64, f->in_dtype), lanes);
    return LLVMBuildFCmp(e->b, f->strict ? LLVMRealOLT : LLVMRealOLE, v, t,
                         "");
}

/* Where v is missing its side, else `left`. */
static LLVMValueRef unless_missing(struct be_emitter *e,
                                   const struct ir_forest *f,
                                   LLVMValueRef flags, LLVMValueRef v,
                                   LLVMValueRef left, int lanes)
{
    LLVMValueRef missing = LLVMBuildFCmp(e->b, LLVMRealUNO, v, v, "");
    if (has_flag(f, IR_NODE_ZERO_MISSING)) {
        LLVMValueRef bound =
            be_splat(e, be_real(e, f->in_dtype, f->zero_bound), lanes);
        LLVMValueRef minus =
            be_splat(e, be_real(e, f->in_dtype, -f->zero_bound), lanes);
        LLVMValueRef zero = LLVMBuildAnd(
            e->b, LLVMBuildFCmp(e->b, LLVMRealOGE, v, minus, ""),
            LLVMBuildFCmp(e->b, LLVMRealOLE, v, bound, ""), "");
        zero = LLVMBuildAnd(e->b, zero,
                            flag(e, flags, IR_NODE_ZERO_MISSING, lanes), "");
        missing = LLVMBuildOr(e->b, missing, zero, "");
    }
    return LLVMBuildSelect(e->b, missing,
                           flag(e, flags, IR_NODE_MISSING_LEFT, lanes), left,
                           "");
}

LLVMValueRef be_walk_number_left(struct be_emitter *e,
                                 struct be_forest *forest, LLVMValueRef node,
                                 LLVMValueRef v, int lanes)
{
    return unless_missing(e, &forest->f, node_flags(e, node), v,
                          below_threshold(e, &forest->f, node, v, lanes),
                          lanes);
}

LLVMValueRef be_walk_is_set(struct be_emitter *e, LLVMValueRef node)
{
    return flag(e, node_flags(e, node), IR_NODE_CATEGORICAL, 1);
}

/* The walk's node test, with every rule decided at run time by the flags. The
 * set test stands behind a jump, and only where the forest has sets. */
LLVMValueRef be_walk_goes_left(struct be_emitter *e, struct be_forest *forest,
                               LLVMValueRef node, LLVMValueRef v)
{
    const struct ir_forest *f = &forest->f;
    LLVMValueRef flags = node_flags(e, node);
    LLVMValueRef left = below_threshold(e, f, node, v, 1);
    if (f->set) {
        LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
        LLVMBasicBlockRef set = be_block(e, "set");
        LLVMBasicBlockRef join = be_block(e, "decide");
        LLVMBuildCondBr(e->b, be_walk_is_set(e, node), set, join);
        LLVMPositionBuilderAtEnd(e->b, set);
        LLVMValueRef member = is_member(
            e, forest, v,
            field(e, e->i32, node, offsetof(struct walk_node, set_start)),
            field(e, e->i32, node, offsetof(struct walk_node, set_end)),
            flags);
        LLVMBasicBlockRef after = LLVMGetInsertBlock(e->b);
        LLVMBuildBr(e->b, join);
        LLVMPositionBuilderAtEnd(e->b, join);
        LLVMValueRef phi = LLVMBuildPhi(e->b, e->i1, "");
        LLVMValueRef values[] = {left, member};
        LLVMBasicBlockRef blocks[] = {before, after};
        LLVMAddIncoming(phi, values, blocks, 2);
        left = phi;
    }
    return unless_missing(e, f, flags, v, left, 1);
}

LLVMValueRef be_walk_nodes(struct be_emitter *e, struct be_forest *forest)
{
    const struct ir_forest *f = &forest->f;
    emit_set_table(e, forest);
    const size_t n = (size_t)f->n_nodes;
    struct walk_node *nodes = ir_realloc_array(NULL, n + 1, sizeof(*nodes));
    for (int t = 0; t < f->n_trees; t++)
        for (int i = f->tree_start[t]; i < f->tree_start[t + 1]; i++) {
            const int32_t child[2] = {f->left[i], f->right[i]};
            int32_t to[2];
            for (int s = 0; s < 2; s++)
                to[s] = child[s] < 0 ? ~(f->leaf_start[t] + ~child[s])
                                     : f->tree_start[t] + child[s];
            const int32_t set = f->set ? f->set[i] : -1;
            nodes[i] = (struct walk_node){
                .threshold = ir_real(f->threshold, f->in_dtype, (size_t)i),
                .left = to[0], .right = to[1],
                .feature = (uint32_t)f->feature[i], .flags = f->flags[i],
                .set_start = set < 0 ? 0 : f->set_start[set],
                .set_end = set < 0 ? 0 : f->set_start[set + 1],
            };
        }
    LLVMValueRef table =
        be_bytes(e, "walk_node", nodes, n * sizeof(*nodes), 64);
    free(nodes);
    return table;
}

LLVMValueRef be_walk_node(struct be_emitter *e, LLVMValueRef nodes,
                          LLVMValueRef index, LLVMValueRef *feature)
{
    LLVMValueRef node = be_offset(
        e, nodes,
        LLVMBuildMul(e->b, index, be_i64(e, sizeof(struct walk_node)), ""));
    *feature = LLVMBuildZExt(
        e->b, field(e, e->i32, node, offsetof(struct walk_node, feature)),
        e->i64, "");
    return node;
}

/* By tree: its root (a node, or ~leaf) and its target. */
static LLVMValueRef root_table(struct be_emitter *e,
                               const struct be_forest *forest)
{
    const struct ir_forest *f = &forest->f;
    int32_t *roots = ir_realloc_array(NULL, (size_t)f->n_trees + 1, 12);
    for (int t = 0; t < f->n_trees; t++) {
        const bool empty = f->tree_start[t] == f->tree_start[t + 1];
        roots[t * 3] = empty ? ~f->leaf_start[t] : f->tree_start[t];
        roots[t * 3 + 1] = f->target[t];
        roots[t * 3 + 2] = f->leaf_start[t];
    }
    LLVMValueRef table =
        be_bytes(e, "walk_root", roots, (size_t)f->n_trees * 12, 4);
    free(roots);
    return table;
}

/* Adds the values of leaf `leaf` (a number over the forest) to the margins
 * at `acc`. */
static void add_leaf(struct be_emitter *e, struct be_forest *forest,
                     LLVMValueRef values, LLVMValueRef row, LLVMValueRef leaf,
                     LLVMValueRef acc)
{
    if (forest->f.coef_start) {
        LLVMValueRef args[] = {row, leaf};
        LLVMValueRef value = be_call(e, forest->linear, args, 2);
        LLVMTypeRef type = be_type(e, forest->f.sum_dtype);
        LLVMValueRef sum =
            LLVMBuildFAdd(e->b, be_load(e, type, acc), value, "");
        be_store(e, sum, acc);
        return;
    }
    LLVMValueRef index = LLVMBuildSExt(e->b, leaf, e->i64, "");
    be_add_leaf(e, forest, values, index, acc);
}

/* Returns from the walk after tree number `tree` when the margins are sure. */
static void leave_early(struct be_emitter *e, const struct be_forest *forest,
                        LLVMValueRef tree, LLVMValueRef margins)
{
    LLVMBasicBlockRef ask = be_block(e, "ask"), leave = be_block(e, "leave");
    LLVMBasicBlockRef go_on = be_block(e, "go_on");
    LLVMValueRef next = LLVMBuildNSWAdd(e->b, tree, be_i64(e, 1), "");
    LLVMBuildCondBr(e->b, be_stops_before(e, forest, next), ask, go_on);
    LLVMPositionBuilderAtEnd(e->b, ask);
    LLVMBuildCondBr(e->b, be_is_sure(e, forest, margins), leave, go_on);
    LLVMPositionBuilderAtEnd(e->b, leave);
    LLVMBuildRetVoid(e->b);
    LLVMPositionBuilderAtEnd(e->b, go_on);
}

static LLVMValueRef emit_walk(struct be_emitter *e, struct be_forest *forest,
                              LLVMValueRef nodes, LLVMValueRef roots,
                              LLVMValueRef values, bool leaves)
{
    const struct ir_forest *f = &forest->f;
    char name[64];
    snprintf(name, sizeof(name), "walk_%d%s", forest->number,
             leaves ? "_leaf" : "");
    LLVMTypeRef params[] = {e->ptr, e->ptr};
    LLVMValueRef fn =
        be_function(e, name, e->none, params, 2, e->levels[0]);
    LLVMValueRef row = LLVMGetParam(fn, 0), out = LLVMGetParam(fn, 1);
    LLVMTypeRef in = be_type(e, f->in_dtype), sum = be_type(e, f->sum_dtype);
    be_noalias(e, fn, 1);
    struct be_loop loop;
    be_loop_begin(e, &loop, be_i64(e, 0), be_i64(e, f->n_trees), 1);
    LLVMValueRef root = be_offset(
        e, roots, LLVMBuildMul(e->b, loop.index, be_i64(e, 12), ""));
    LLVMValueRef start = field(e, e->i32, root, 0);
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    LLVMBasicBlockRef step = be_block(e, "step"), test = be_block(e, "test");
    LLVMBasicBlockRef found = be_block(e, "found");
    LLVMBuildBr(e->b, test);

    LLVMPositionBuilderAtEnd(e->b, test);
    LLVMValueRef at = LLVMBuildPhi(e->b, e->i32, "");
    LLVMValueRef inner =
        LLVMBuildICmp(e->b, LLVMIntSGE, at, be_i32(e, 0), "");
    LLVMBuildCondBr(e->b, inner, step, found);

    LLVMPositionBuilderAtEnd(e->b, step);
    LLVMValueRef index = LLVMBuildZExt(e->b, at, e->i64, "");
    LLVMValueRef feature;
    LLVMValueRef node = be_walk_node(e, nodes, index, &feature);
    LLVMValueRef v = be_load(e, in, be_at(e, in, row, feature));
    LLVMValueRef left = be_walk_goes_left(e, forest, node, v);
    LLVMValueRef next = LLVMBuildSelect(
        e->b, left, field(e, e->i32, node, offsetof(struct walk_node, left)),
        field(e, e->i32, node, offsetof(struct walk_node, right)), "");
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(e->b);
    LLVMBuildBr(e->b, test);
    LLVMValueRef from[] = {start, next};
    LLVMBasicBlockRef blocks[] = {before, latch};
    LLVMAddIncoming(at, from, blocks, 2);

    LLVMPositionBuilderAtEnd(e->b, found);
    LLVMValueRef leaf = LLVMBuildNot(e->b, at, "");
    if (leaves) {
        /* `values` are the leaves' ids, when they have any. */
        LLVMValueRef number =
            values ? be_load(e, e->i32,
                             be_at(e, e->i32, values,
                                   LLVMBuildSExt(e->b, leaf, e->i64, "")))
                   : LLVMBuildSub(e->b, leaf, field(e, e->i32, root, 8), "");
        be_store(e, number, be_at(e, e->i32, out, loop.index));
    } else {
        LLVMValueRef target = field(e, e->i32, root, 4);
        target = LLVMBuildZExt(e->b, target, e->i64, "");
        add_leaf(e, forest, values, row, leaf, be_at(e, sum, out, target));
        if (f->stop_every)
            leave_early(e, forest, loop.index, out);
    }
    be_loop_end(e, &loop);
    LLVMBuildRetVoid(e->b);
    return fn;
}

void be_walk_emit(struct be_emitter *e, struct be_forest *forest)
{
    const struct ir_forest *f = &forest->f;
    if (f->coef_start)
        be_linear_emit(e, forest);
    LLVMValueRef nodes = be_walk_nodes(e, forest);
    LLVMValueRef roots = root_table(e, forest);
    if (ir_value_used(e->module, &forest->op->result[1])) {
        LLVMValueRef ids =
            f->leaf_id ? be_bytes(e, "leaf_id", f->leaf_id,
                                  (size_t)f->n_leaves * 4, 4)
                       : NULL;
        forest->walk_leaf = emit_walk(e, forest, nodes, roots, ids, true);
    }
    if (be_walks(forest))
        forest->walk = emit_walk(e, forest, nodes, roots,
                                 be_leaf_values(e, forest), false);
}

/* fn(row, leaf): constant + sum of coef * v in order, each product rounded
 * before it is added, a v within zero_bound as 0; the plain leaf value when a
 * v is a NaN. */
void be_linear_emit(struct be_emitter *e, struct be_forest *forest)
{
    const struct ir_forest *f = &forest->f;
    if (forest->linear)
        return;
    const size_t n = (size_t)f->n_leaves, m = (size_t)f->coef_start[n];
    const int64_t none = 0;
    LLVMValueRef starts = be_bytes(e, "coef_start", f->coef_start,
                                   (n + 1) * 4, 4);
    LLVMValueRef features = be_bytes(
        e, "coef_feature", m ? (const void *)f->coef_feature : &none,
        m ? m * 4 : 4, 4);
    LLVMValueRef coefs = be_bytes(e, "coef", m ? (const void *)f->coef : &none,
                                  m ? m * 8 : 8, 8);
    LLVMValueRef constants = be_bytes(e, "leaf_const", f->leaf_const, n * 8, 8);
    LLVMValueRef plain = be_bytes(e, "leaf_plain", f->leaf_value,
                                  n * ir_dtype_bytes(f->sum_dtype), 8);
    char name[64];
    snprintf(name, sizeof(name), "linear_%d", forest->number);
    LLVMTypeRef params[] = {e->ptr, e->i32};
    LLVMTypeRef sum = be_type(e, f->sum_dtype), in = be_type(e, f->in_dtype);
    LLVMValueRef fn = be_function(e, name, sum, params, 2, e->levels[0]);
    forest->linear = fn;
    LLVMValueRef row = LLVMGetParam(fn, 0);
    LLVMValueRef leaf =
        LLVMBuildZExt(e->b, LLVMGetParam(fn, 1), e->i64, "");
    LLVMValueRef after =
        LLVMBuildAdd(e->b, leaf, be_i64(e, 1), "");
    LLVMValueRef from = be_load(e, e->i32, be_at(e, e->i32, starts, leaf));
    LLVMValueRef to = be_load(e, e->i32, be_at(e, e->i32, starts, after));
    from = LLVMBuildZExt(e->b, from, e->i64, "");
    to = LLVMBuildZExt(e->b, to, e->i64, "");
    LLVMValueRef start = be_load(e, e->f64, be_at(e, e->f64, constants, leaf));
    LLVMBasicBlockRef entry = LLVMGetInsertBlock(e->b);

    struct be_loop loop;
    be_loop_begin(e, &loop, from, to, 1);
    LLVMBasicBlockRef body = LLVMGetInsertBlock(e->b);
    LLVMPositionBuilderBefore(e->b, LLVMGetFirstInstruction(loop.head));
    LLVMValueRef acc = LLVMBuildPhi(e->b, e->f64, "");
    LLVMPositionBuilderAtEnd(e->b, body);
    LLVMValueRef feature =
        be_load(e, e->i32, be_at(e, e->i32, features, loop.index));
    feature = LLVMBuildZExt(e->b, feature, e->i64, "");
    LLVMValueRef v = be_load(e, in, be_at(e, in, row, feature));
    v = be_convert(e, v, f->in_dtype, IR_F64);
    LLVMValueRef c = be_load(e, e->f64, be_at(e, e->f64, coefs, loop.index));
    LLVMValueRef size = be_intrinsic(e, "llvm.fabs", e->f64, &v, 1);
    LLVMValueRef is_zero = LLVMBuildFCmp(
        e->b, LLVMRealOLE, size, be_real(e, IR_F64, f->zero_bound), "");
    LLVMValueRef term =
        LLVMBuildSelect(e->b, is_zero, LLVMConstNull(e->f64), v, "");
    LLVMValueRef next =
        LLVMBuildFAdd(e->b, acc, LLVMBuildFMul(e->b, c, term, ""), "");
    LLVMBasicBlockRef missing = be_block(e, "missing");
    LLVMBasicBlockRef present = be_block(e, "present");
    LLVMBuildCondBr(e->b, LLVMBuildFCmp(e->b, LLVMRealUNO, v, v, ""), missing,
                    present);
    LLVMPositionBuilderAtEnd(e->b, missing);
    LLVMBuildRet(e->b, be_load(e, sum, be_at(e, sum, plain, leaf)));
    LLVMPositionBuilderAtEnd(e->b, present);
    LLVMValueRef values[] = {start, next};
    LLVMBasicBlockRef blocks[] = {entry, present};
    LLVMAddIncoming(acc, values, blocks, 2);
    be_loop_end(e, &loop);
    LLVMBuildRet(e->b, be_convert(e, acc, IR_F64, f->sum_dtype));
}
