/* emit_branch.c: the strategy `branch`: each node is a compare and a jump, in
 * functions of some thousand nodes that add a few trees' leaves to a row's
 * margins. A tree too large for one function is cut into pieces, functions
 * that return the leaf's value and end in a tail call where a piece ends: the
 * stack stays flat and compile time linear, even for a chain of 10^6 nodes.
 * The code is scalar and compiled once, for the lowest level. */
#include "backend/llvm.h"

#include <stdlib.h>

struct branch {
    struct be_emitter *e;
    struct be_forest *forest;
    int limit;        /* nodes in a function */
    LLVMValueRef row; /* of the function being emitted */
};

/* A child that is still to be emitted, and the block that it goes to. */
struct pending {
    int32_t node;
    LLVMBasicBlockRef block;
};

static LLVMTypeRef sum_type(struct branch *s)
{
    return be_type(s->e, s->forest->f.sum_dtype);
}

/* What a tree yields: its leaf's value, or, when leaves have several, the
 * leaf's number in the forest. */
static LLVMTypeRef yield_type(struct branch *s)
{
    return s->forest->f.leaf_width == 1 ? sum_type(s) : s->e->i64;
}

static LLVMValueRef leaf_value(struct branch *s, int64_t leaf)
{
    const struct ir_forest *f = &s->forest->f;
    struct be_emitter *e = s->e;
    if (f->leaf_width != 1)
        return be_i64(e, leaf);
    if (f->coef_start && f->coef_start[leaf] < f->coef_start[leaf + 1]) {
        LLVMValueRef args[] = {s->row, be_i32(e, leaf)};
        return be_call(e, s->forest->linear, args, 2);
    }
    const double v = f->leaf_const ? f->leaf_const[leaf]
                                   : ir_real(f->leaf_value, f->sum_dtype,
                                             (size_t)leaf);
    return be_real(e, f->sum_dtype, v);
}

static LLVMValueRef piece_new(struct branch *s, int tree, int32_t node)
{
    struct be_emitter *e = s->e;
    char name[64];
    snprintf(name, sizeof(name), "branch_%d_%d_%d", s->forest->number, tree,
             node);
    /* Declared now, given a body later: be_function() moves the builder. */
    LLVMValueRef fn = e->fn;
    LLVMBasicBlockRef at = LLVMGetInsertBlock(e->b);
    LLVMTypeRef params[] = {e->ptr};
    LLVMValueRef piece =
        be_function(e, name, yield_type(s), params, 1, e->levels[0]);
    e->fn = fn;
    LLVMPositionBuilderAtEnd(e->b, at);
    return piece;
}

/* A subtree that was cut off, and the function that it goes to. */
struct piece {
    int32_t node;
    LLVMValueRef fn;
};
struct pieces {
    struct piece *at;
    int n, capacity;
};

static void yield(struct branch *s, LLVMValueRef value, bool tail,
                  LLVMBasicBlockRef join, LLVMValueRef phi)
{
    if (!join) {
        if (tail)
            LLVMSetTailCallKind(value, LLVMTailCallKindMustTail);
        LLVMBuildRet(s->e->b, value);
        return;
    }
    LLVMBasicBlockRef from = LLVMGetInsertBlock(s->e->b);
    LLVMAddIncoming(phi, &value, &from, 1);
    LLVMBuildBr(s->e->b, join);
}

/* Emits the subtree at `node` into the current function, at most s->limit
 * nodes of it, breadth first; what is left over becomes pieces, appended to
 * `pieces`. Each leaf's value goes to `join`'s phi, or is returned when join
 * is NULL. */
static void emit_subtree(struct branch *s, int tree, int32_t root,
                         LLVMBasicBlockRef join, LLVMValueRef phi,
                         struct pieces *pieces)
{
    struct be_emitter *e = s->e;
    const struct ir_forest *f = &s->forest->f;
    const int64_t first = f->tree_start[tree];
    struct pending *stack = ir_realloc_array(
        NULL, (size_t)(f->tree_start[tree + 1] - first) + 2, sizeof(*stack));
    int depth = 0, emitted = 0;
    stack[depth++] = (struct pending){root, LLVMGetInsertBlock(e->b)};
    while (depth > 0) {
        const struct pending at = stack[--depth];
        LLVMPositionBuilderAtEnd(e->b, at.block);
        if (at.node < 0) {
            yield(s, leaf_value(s, f->leaf_start[tree] + ~at.node), false,
                  join, phi);
            continue;
        }
        if (emitted == s->limit) {
            if (pieces->n == pieces->capacity) {
                pieces->capacity = pieces->capacity * 2 + 16;
                pieces->at = ir_realloc_array(pieces->at, pieces->capacity,
                                              sizeof(*pieces->at));
            }
            LLVMValueRef fn = piece_new(s, tree, at.node);
            pieces->at[pieces->n++] = (struct piece){at.node, fn};
            LLVMValueRef args[] = {s->row};
            yield(s, be_call(e, fn, args, 1), true, join, phi);
            continue;
        }
        emitted++;
        const int64_t node = first + at.node;
        LLVMTypeRef type = be_type(e, f->in_dtype);
        LLVMValueRef v = be_load(
            e, type, be_at(e, type, s->row, be_i64(e, f->feature[node])));
        LLVMValueRef left = be_node_goes_left(e, s->forest, node, v);
        if (f->left[node] < 0 && f->right[node] < 0 && !f->coef_start) {
            /* No jump, so none is mispredicted. */
            const int64_t leaf = f->leaf_start[tree];
            yield(s, LLVMBuildSelect(
                         e->b, left, leaf_value(s, leaf + ~f->left[node]),
                         leaf_value(s, leaf + ~f->right[node]), ""),
                  false, join, phi);
            continue;
        }
        LLVMBasicBlockRef yes = be_block(e, "left");
        LLVMBasicBlockRef no = be_block(e, "right");
        LLVMBuildCondBr(e->b, left, yes, no);
        stack[depth++] = (struct pending){f->right[node], no};
        stack[depth++] = (struct pending){f->left[node], yes};
    }
    free(stack);
}

/* The leaf's value of tree `tree`, in the current function. */
static LLVMValueRef tree_value(struct branch *s, int tree,
                               struct pieces *pieces)
{
    struct be_emitter *e = s->e;
    const struct ir_forest *f = &s->forest->f;
    if (f->tree_start[tree] == f->tree_start[tree + 1])
        return leaf_value(s, f->leaf_start[tree]);
    LLVMBasicBlockRef start = LLVMGetInsertBlock(e->b);
    LLVMBasicBlockRef join = be_block(e, "join");
    LLVMPositionBuilderAtEnd(e->b, join);
    LLVMValueRef value = LLVMBuildPhi(e->b, yield_type(s), "");
    LLVMPositionBuilderAtEnd(e->b, start);
    emit_subtree(s, tree, 0, join, value, pieces);
    LLVMPositionBuilderAtEnd(e->b, join);
    return value;
}

/* Adds the trees from `tree` on to the row's margins, as many as make one
 * function, and returns the next tree. Margins stay in registers between
 * trees: memory would make each wait for the one before. */
static int emit_chunk(struct branch *s, int tree, LLVMValueRef margin,
                      LLVMValueRef *sum, struct pieces *pieces)
{
    struct be_emitter *e = s->e;
    const struct ir_forest *f = &s->forest->f;
    LLVMTypeRef type = sum_type(s);
    int next = tree;
    do {
        const int k = f->target[next];
        if (f->leaf_width != 1) {
            LLVMValueRef leaf = tree_value(s, next++, pieces);
            be_add_leaf(e, s->forest, s->forest->leaf_values, leaf,
                        be_at(e, type, margin, be_i64(e, k)));
            continue;
        }
        if (!sum[k])
            sum[k] = be_load(e, type, be_at(e, type, margin, be_i64(e, k)));
        LLVMValueRef value = tree_value(s, next++, pieces);
        sum[k] = LLVMBuildFAdd(e->b, sum[k], value, "");
    } while (next < f->n_trees && !pieces->n &&
             f->tree_start[next + 1] - f->tree_start[tree] <= s->limit);
    for (int t = tree; t < next; t++) {
        const int k = f->target[t];
        if (sum[k])
            be_store(e, sum[k], be_at(e, type, margin, be_i64(e, k)));
        sum[k] = NULL;
    }
    return next;
}

/* Bodies for the pieces of `tree`, which may cut off further ones. */
static void emit_pieces(struct branch *s, int tree, struct pieces *pieces)
{
    for (int i = 0; i < pieces->n; i++) {
        LLVMValueRef fn = pieces->at[i].fn;
        s->e->fn = fn;
        s->row = LLVMGetParam(fn, 0);
        LLVMPositionBuilderAtEnd(s->e->b, LLVMGetEntryBasicBlock(fn));
        emit_subtree(s, tree, pieces->at[i].node, NULL, NULL, pieces);
    }
    pieces->n = 0;
}

void be_branch_emit(struct be_emitter *e, struct be_forest *forest)
{
    const struct ir_forest *f = &forest->f;
    struct branch s = {.e = e, .forest = forest, .limit = 1024};
    struct pieces pieces = {0};
    LLVMTypeRef params[] = {e->ptr, e->ptr};
    LLVMValueRef *sum =
        ir_alloc_array(&e->arena, (size_t)f->n_targets, sizeof(*sum));
    forest->branch_chunks =
        ir_alloc_array(&e->arena, (size_t)f->n_trees, sizeof(LLVMValueRef));
    if (f->set)
        be_in_set_emit(e, forest);
    if (f->coef_start)
        be_linear_emit(e, forest);
    if (f->leaf_width != 1)
        be_leaf_values(e, forest);
    for (int t = 0, next; t < f->n_trees; t = next) {
        char name[64];
        snprintf(name, sizeof(name), "branch_%d_%d", forest->number, t);
        LLVMValueRef fn =
            be_function(e, name, e->none, params, 2, e->levels[0]);
        be_noalias(e, fn, 1);
        s.row = LLVMGetParam(fn, 0);
        next = emit_chunk(&s, t, LLVMGetParam(fn, 1), sum, &pieces);
        LLVMBuildRetVoid(e->b);
        emit_pieces(&s, next - 1, &pieces);
        forest->branch_chunks[forest->n_branch_chunks++] = fn;
    }
    free(pieces.at);
}
