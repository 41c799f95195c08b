/* emit_hash.c: the op hash_lookup (ir/hash_lookup.c) over a tile's buffers: row
 * by row the hash, then an unrolled search without branches. */
#include "backend/llvm.h"

/* The hash of the row's numbers; `good` is left false when one of them is no
 * whole number that an f64 holds. */
static LLVMValueRef hash_row(struct be_emitter *e, const struct ir_op *op,
                             LLVMValueRef row, LLVMValueRef *good)
{
    const struct be_view x = be_view_of(e, op->operand[0]);
    LLVMValueRef m = be_i64(e, ir_attr_int(op, "multiplier"));
    LLVMValueRef hash = be_i64(e, 0);
    *good = LLVMConstInt(e->i1, 1, false);
    for (int64_t i = 0; i < ir_type_volume(&op->operand[0]->type); i++) {
        LLVMValueRef v = be_load(e, be_type(e, x.dtype),
                                 be_view_at(e, &x, row, be_i64(e, i)));
        v = be_convert(e, v, x.dtype, IR_F64);
        LLVMValueRef size = be_intrinsic(e, "llvm.fabs", e->f64, &v, 1);
        LLVMValueRef whole = LLVMBuildFCmp(
            e->b, LLVMRealOLT, size, be_real(e, IR_F64, 0x1p53), "");
        v = LLVMBuildSelect(e->b, whole, v, be_real(e, IR_F64, 0), "");
        LLVMValueRef part = LLVMBuildFPToSI(e->b, v, e->i64, "");
        hash = LLVMBuildAdd(e->b, hash, LLVMBuildMul(e->b, m, part, ""), "");
        hash = LLVMBuildMul(e->b, m, hash, "");
        *good = LLVMBuildAnd(e->b, *good, whole, "");
    }
    return hash;
}

/* The number of the key that is `hash`, if any of the n is. */
static LLVMValueRef find_key(struct be_emitter *e, LLVMValueRef keys,
                             int64_t n, LLVMValueRef hash)
{
    LLVMValueRef base = be_i64(e, 0);
    for (int64_t left = n; left > 1; left -= left / 2) {
        LLVMValueRef next =
            LLVMBuildNSWAdd(e->b, base, be_i64(e, left / 2), "");
        LLVMValueRef at = be_load(e, e->i64, be_at(e, e->i64, keys, next));
        base = LLVMBuildSelect(
            e->b, LLVMBuildICmp(e->b, LLVMIntSLE, at, hash, ""), next, base,
            "");
    }
    return base;
}

void be_lower_hash_lookup(struct be_emitter *e, const struct ir_op *op)
{
    const struct ir_value *result = &op->result[0];
    LLVMTypeRef type = be_type(e, result->type.dtype);
    LLVMValueRef keys = be_attr_table(e, op, "keys");
    LLVMValueRef values = be_attr_table(e, op, "values");
    LLVMValueRef other = be_attr_table(e, op, "default");
    LLVMValueRef width = be_i64(e, ir_type_volume(&result->type));
    struct be_loop row, column;
    be_loop_begin(e, &row, be_i64(e, 0), e->n_rows, 1);
    LLVMValueRef good;
    LLVMValueRef hash = hash_row(e, op, row.index, &good);
    LLVMValueRef index = find_key(
        e, keys, ir_attr_tensor(op, "keys")->type.dim[0], hash);
    LLVMValueRef found = LLVMBuildICmp(
        e->b, LLVMIntEQ, be_load(e, e->i64, be_at(e, e->i64, keys, index)),
        hash, "");
    found = LLVMBuildAnd(e->b, found, good, "");
    LLVMValueRef from = LLVMBuildSelect(
        e->b, found,
        be_at(e, type, values, LLVMBuildNSWMul(e->b, index, width, "")), other,
        "");
    be_loop_begin(e, &column, be_i64(e, 0), width, 1);
    LLVMValueRef v = be_load(e, type, be_at(e, type, from, column.index));
    LLVMValueRef to = LLVMBuildNSWAdd(
        e->b, LLVMBuildNSWMul(e->b, row.index, width, ""), column.index, "");
    be_store(e, v, be_at(e, type, be_buffer(e, result), to));
    be_loop_end(e, &column);
    be_loop_end(e, &row);
}
