/* scan.h: what the two files of the op `scan` share. emit_scan.c takes rows
 * through their steps and sums gates; scan_cells.c has the cells. */
#ifndef TREENAIL_BACKEND_SCAN_H
#define TREENAIL_BACKEND_SCAN_H

#include "backend/llvm.h"

enum {
    BE_SCAN_ROWS = 8,
    BE_SCAN_VECTORS = 4, /* of units */
    BE_SCAN_GATES = 4
};

struct be_activation {
    struct ir_step steps[IR_MAX_STEPS];
    int n;
};

struct be_scan {
    struct be_emitter *e;
    const struct ir_op *op;
    struct ir_scan s;
    enum ir_dtype dtype, stored; /* of x and y; of the weights */
    LLVMTypeRef type, weight_type;
    struct be_activation f, g, h; /* gate, candidate, output */
    LLVMValueRef packed, bias, peephole;
    /* Of the current step: the rows' gates and results, and how far apart those
     * of two rows are; the state. */
    LLVMValueRef z, y;
    int64_t z_stride, y_stride;
    LLVMValueRef old, new, c, update, rest; /* [rows][hidden] */
    LLVMValueRef backwards; /* whether the step takes the last units first */
    LLVMValueRef n_rows;
};

/* Vectors of units. */
struct be_scan_strip {
    LLVMValueRef weights; /* [k][gate][width], of its first unit */
    LLVMValueRef unit;
    int64_t width;
    int lanes, vectors, last;
};

struct be_scan_tile {
    const struct be_scan *v;
    const struct be_scan_strip *s;
    LLVMValueRef row; /* the first */
    int rows;
    LLVMValueRef sum[BE_SCAN_GATES][BE_SCAN_ROWS][BE_SCAN_VECTORS];
};

/* Vector i of some rows of a tile, whose cells are computed side by side, as
 * one vector of that many times the lanes. An activation is a chain of some 30
 * operations, each of which waits for the one before; so those of other rows
 * stand between them. */
struct be_scan_cells {
    const struct be_scan_tile *t;
    int row, n, i;
};

/* Whether a step has two passes, as emit_scan.c says. */
bool be_scan_two_passes(const struct be_scan *v);

/* Vector i of gate `gate` of the operand's row r, for the step; and of row
 * `gate` of a table of [gates][hidden]. */
LLVMValueRef be_scan_gate(const struct be_scan_tile *t, int gate, int r, int i);
LLVMValueRef be_scan_table(const struct be_scan_tile *t, LLVMValueRef table,
                           int gate, int i);

/* The end of pass `pass` of a step, whose gates are summed. */
void be_scan_emit_cells(const struct be_scan_cells *c, int pass);

#endif
