/* dense.c: what passes and the backend must agree on about the ops of nets: who
 * reads its operands as dense buffers, and which views are no copies. */
#include "ir/ir.h"

#include <string.h>

bool ir_reads_dense(const struct ir_op *op)
{
    switch (op->kind) {
    case IR_OP_gemm:
    case IR_OP_matmul:
    case IR_OP_conv:
    case IR_OP_pool:
    case IR_OP_pad:
    case IR_OP_view:
    case IR_OP_take:
    case IR_OP_scan:
        return true;
    case IR_OP_map:
        return !ir_is_plain_map(op);
    case IR_OP_concat:
        return !ir_is_plain_concat(op);
    case IR_OP_reduce: {
        const char *kind = ir_attr_string(op, "kind");
        return ir_find_attr(op, "size") || ir_find_attr(op, "inner") ||
               ir_find_attr(op, "last") || !strcmp(kind, "prod") ||
               !strcmp(kind, "argmin") || !strcmp(kind, "low") ||
               !strcmp(kind, "high");
    }
    default:
        return false;
    }
}

bool ir_is_alias(const struct ir_op *op)
{
    const struct ir_type *type = &op->result[0].type;
    int64_t dense = 1;
    if (op->kind != IR_OP_view)
        return false;
    const int64_t *stride = ir_attr_tensor(op, "strides")->data;
    for (int i = type->rank; i-- > 0; dense *= type->dim[i])
        if (type->dim[i] != 1 && stride[i] != dense)
            return false;
    return true;
}

bool ir_is_int8(const struct ir_op *op)
{
    return (op->kind == IR_OP_gemm || op->kind == IR_OP_conv) &&
           ir_attr_tensor(op, "weights")->type.dtype == IR_I8;
}

bool ir_has_zero_operand(const struct ir_op *op)
{
    return (op->kind == IR_OP_gemm || op->kind == IR_OP_conv) &&
           ir_attr_int_or(op, "zero_operand", 0);
}
