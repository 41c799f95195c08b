/* gen_parts.h: what gen_model.c, gen_values.c and gen_nets.c share. */
#ifndef TREENAIL_GEN_PARTS_H
#define TREENAIL_GEN_PARTS_H

#include "fuzz/gen_model.h"

enum { gen_header_bytes = 16, gen_record_bytes = 8, gen_max_width = 64 };

/* Bytes past the end read as 0. */
struct gen_bytes {
    const uint8_t *data;
    size_t size;
};
unsigned gen_at(struct gen_bytes b, size_t i);
unsigned gen_pair_at(struct gen_bytes b, size_t i);
/* A number as odd as `kind` (5 bits) says; `payload` is of 16 bits. */
double gen_odd_number(unsigned kind, unsigned payload, double zero_bound,
                      double previous);

/* An op's first result; a bad op is a bug. */
struct ir_value *gen_checked(struct ir_op *op, struct ir_diag *diag);
struct ir_value *gen_op(struct ir_module *module, enum ir_op_kind kind, int n,
                        struct ir_value *const *x, int n_attrs,
                        const struct ir_attr *attrs, struct ir_diag *diag);
struct ir_value *gen_input(struct ir_module *module, int first, int count,
                           bool narrow, struct ir_diag *diag);
/* Its name is `kind` and a number. */
void gen_output(struct ir_module *module, const char *kind,
                struct ir_value *value);

/* Of n records each an op on values before it, as many as are wanted. */
void gen_values(struct ir_module *module, struct gen_bytes b, size_t n,
                struct ir_diag *diag);
/* A net of n layers, with its columns. */
void gen_nets(struct ir_module *module, struct gen_bytes b, size_t n,
              struct ir_diag *diag);
/* What the records of kind 12 make of x: the newest vector of reals. */
struct ir_value *gen_preprocess(struct ir_module *module, struct gen_bytes b,
                                struct ir_value *x, size_t n,
                                struct ir_diag *diag);

#endif
