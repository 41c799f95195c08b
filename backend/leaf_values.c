/* leaf_values.c: leaf values in memory, in the narrowest form that the passes
 * found to be exact (the attribute leaf_dtype): converting them to the dtype of
 * sums gives the same bits. Tables of all strategies hold them so, but for
 * those of permutes (emit_planes.c), which are in pieces of values anyway, and
 * what if-else code has as constants. */
#include "backend/llvm.h"

#include <string.h>

void be_leaf_values_init(struct be_emitter *e, struct be_forest *forest)
{
    const struct ir_forest *f = &forest->f;
    const size_t n = (size_t)f->n_leaves * (size_t)f->leaf_width;
    forest->leaf_bytes =
        (size_t)f->leaf_width * ir_dtype_bytes(f->leaf_dtype);
    forest->stored = f->leaf_value;
    if (f->leaf_dtype == f->sum_dtype)
        return;
    uint8_t *to = ir_alloc_array(&e->arena, n, ir_dtype_bytes(f->leaf_dtype));
    for (size_t i = 0; i < n; i++) {
        const double v = ir_real(f->leaf_value, f->sum_dtype, i);
        const float narrow = (float)v;
        if (f->leaf_dtype == IR_U8)
            to[i] = (uint8_t)v;
        else
            memcpy(to + i * sizeof(narrow), &narrow, sizeof(narrow));
    }
    forest->stored = to;
}

void be_leaf_append(const struct be_forest *forest, int64_t leaf,
                    struct ir_text *to)
{
    ir_text_append(to, forest->stored + (size_t)leaf * forest->leaf_bytes,
                   forest->leaf_bytes);
}

LLVMTypeRef be_leaf_type(struct be_emitter *e, const struct be_forest *forest)
{
    return be_type(e, forest->f.leaf_dtype);
}

LLVMValueRef be_load_leaf(struct be_emitter *e, const struct be_forest *forest,
                          int lanes, int align, LLVMValueRef at)
{
    const struct ir_forest *f = &forest->f;
    LLVMTypeRef sum = be_vector(be_type(e, f->sum_dtype), lanes);
    LLVMValueRef v = be_load(
        e, be_vector(be_leaf_type(e, forest), lanes), at);
    if (align > 0)
        LLVMSetAlignment(v, (unsigned)align);
    if (f->leaf_dtype == f->sum_dtype)
        return v;
    if (f->leaf_dtype == IR_F32)
        return LLVMBuildFPExt(e->b, v, sum, "");
    v = LLVMBuildZExt(e->b, v, be_vector(e->i32, lanes), "");
    return LLVMBuildSIToFP(e->b, v, sum, "");
}
