/* slice_tables.h: the tables of the strategy slice, which slice_tables.c makes;
 * emit_slice.c says what they are for. A slot is a bit for each row of a tile;
 * places in records are in units. */
#ifndef TREENAIL_BACKEND_SLICE_TABLES_H
#define TREENAIL_BACKEND_SLICE_TABLES_H

#include "backend/llvm.h"

enum {
    BE_SLICE_UNIT = 8,
    BE_SLICE_CONSTANTS = 2, /* slots: all zeros, all ones */
    BE_SLICE_TREES = 32,    /* whose leaves are found, then added */
};
/* How tests are answered: all of a column at once, from the rows of each code;
 * a cut by comparing codes, a set by a bit of them. */
enum { BE_SLICE_BUCKETS, BE_SLICE_CUTS, BE_SLICE_SETS, BE_SLICE_KINDS };
struct be_slice_test {
    uint32_t codes, slot; /* of the column, and of the (first) answer: bytes */
    uint32_t what; /* the most a code counts; the code, signed, that those left
                      are below; how far the bit is from the highest */
    uint32_t n, buckets; /* tests; where the bucket of each code is told */
    uint32_t unused;
};
struct be_slice_group { /* of trees, whose tests are answered at once */
    int32_t first[BE_SLICE_KINDS], end[BE_SLICE_KINDS]; /* tests */
    int32_t first_batch, end_batch;
};
struct be_slice_batch { /* of trees, whose leaves are found, then added */
    int32_t first_turn, end_turn, first_run, end_run, first_tree, end_tree;
};
struct be_slice_turn { /* of trees, whose records take turns */
    int32_t first_record, end_record, first_tree, end_tree;
};
struct be_slice_record { /* to = test ? left : right */
    uint16_t test, left, right, to;
};
struct be_slice_tree {
    uint16_t bit[IR_MOST_CODE_BITS]; /* of the code of its leaf */
};
struct be_slice_run { /* of a batch's trees that add to one target */
    int32_t first, end, target;
};
struct be_slice_add {
    uint32_t codes; /* where its codes are among those of the batch: bytes */
    int32_t first_leaf, tree;
};
struct be_slice_tables {
    int64_t slot_bytes;
    int n_slots, n_temporaries, n_groups;
    int code_bytes; /* of a leaf's code */
    bool maps_codes; /* not all columns have a bucket for each code */
    LLVMValueRef test[BE_SLICE_KINDS], bucket, group, batch, turn, record, tree,
        run, add, value, number;
    /* Where leaf values are looked up: how, else NULL; tree by tree. */
    const struct be_planes *planes;
    LLVMValueRef plane;
    int plane_entries; /* of each tree */
};
/* How leaf values are looked up at the levels that can do it, and how many bits
 * codes of leaves are best given then; NULL if this forest's cannot be. */
const struct be_planes *be_slice_planes(struct be_emitter *e,
                                        const struct be_forest *forest,
                                        int *few_bits);
/* planes: NULL for levels that do not look up. */
void be_slice_plan(struct be_emitter *e, const struct be_forest *forest,
                   const struct be_planes *planes, int few_bits,
                   struct be_slice_tables *tables);

#endif
