/* rewrite.h: what several passes need, and nobody outside passes/.
 *
 * Nothing here decides anything: floats as integers in the same order, edits
 * of an op's attributes, counts of uses.
 */
#ifndef TREENAIL_PASSES_REWRITE_H
#define TREENAIL_PASSES_REWRITE_H

#include "passes/passes.h"

/* ----------------------------------------------------------- rewrite.c -- */

/* The place of `value`, which is no NaN and is representable in `dtype` (f32
 * or f64), among the numbers of that dtype: the next number up is one more.
 * Both zeros are 0, a number and its negative are each other's negatives. */
int64_t pass_order(double value, enum ir_dtype dtype);
/* The number at that place; +0.0 for 0. */
double pass_at_order(int64_t order, enum ir_dtype dtype);
/* The place of +infinity, the last there is. */
int64_t pass_last_order(enum ir_dtype dtype);

/* The numbers that count as zero under IR_NODE_ZERO_MISSING lie at the places
 * [-n, n] with n the result: the largest one of in_dtype within zero_bound. */
int64_t pass_zero_order(const struct ir_forest *forest);

/* The greatest place that a numeric node's test sends left: "le" tests at
 * their threshold, "lt" tests one below; below that of -infinity for a test
 * that no number passes (also one against a NaN). */
int64_t pass_test_order(const struct ir_forest *forest, int64_t node);
#define PASS_NEVER INT64_MIN

/* Sets a tensor attribute to a copy of `data`, rank 1. */
void pass_set_tensor(struct ir_module *module, struct ir_op *op,
                     const char *name, enum ir_dtype dtype, int64_t n,
                     const void *data);
/* The same from doubles, narrowed to `dtype` when that is f32. */
void pass_set_reals(struct ir_module *module, struct ir_op *op,
                    const char *name, enum ir_dtype dtype, int64_t n,
                    const double *data);
/* Takes an attribute away, if it is there. */
void pass_drop_attr(struct ir_op *op, const char *name);

/* Whether both have the same rank and dims. */
bool pass_same_dims(const struct ir_type *a, const struct ir_type *b);

/* Numbers the module's values and returns how often each is used, by id, as
 * operand or output. */
int *pass_count_uses(struct ir_module *module, struct ir_arena *arena);

/* ---------------------------------------------------------- schedule.c -- */

/* Whether a batch strategy works on codes, and in whole blocks of rows. */
bool pass_has_code_tiles(const char *strategy);

/* Words of a map's program: the number i when the word is "xi", or -1; how many
 * are "x<wanted>"; whether all of it is a program. */
int pass_operand_number(const char *word, size_t length);
int pass_count_operand(const char *program, int wanted);
/* Whether `inner` may stand for operand i of `program`: once, or up to four
 * times where it is some cheap steps, as of a relu after a bias; compiled code
 * does what is repeated once. */
bool pass_may_take_in(const char *program, int i, const char *inner);
/* Whether a program is not too long, nor of so many functions that their code,
 * which stands in line, would be more than one op should be. */
bool pass_is_short(const char *program);

#endif
