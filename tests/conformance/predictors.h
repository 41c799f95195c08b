/* predictors.h: the ways in which a model is asked for its answers, for tests
 * that compare these with what a framework gave.
 */
#ifndef TREENAIL_CONFORMANCE_PREDICTORS_H
#define TREENAIL_CONFORMANCE_PREDICTORS_H

#include "ir/ir.h"

struct predictor_state;

/* A line of the table: the interpreter, or compiled code. */
struct predictor {
    const char *name;
    bool compiled;
    const char *strategy, *row_strategy; /* NULL: the schedule pass chooses */
    bool winograd; /* convs by Winograd's way */
};

extern const struct predictor predictors[];
extern const int predictor_count;

/* Gets ready to predict. NULL when the strategy cannot be had for this model,
 * or does nothing to it (*absent is set), or with messages. Uses `module` until
 * closed. */
struct predictor_state *predictor_open(const struct predictor *predictor,
                                       const struct ir_module *module,
                                       bool *absent, struct ir_diag *diag);
void predictor_close(struct predictor_state *state);

/* Ways are numbered from 0: each ISA level that this CPU runs, as a batch, as
 * a batch on two threads and row by row. NULL past the last, else its name. */
const char *predictor_way(const struct predictor_state *state, int way);
/* All rows of one output of the module, densely packed. */
bool predictor_predict(struct predictor_state *state, int way, int output,
                       const struct ir_rows *rows, void *out);

/* What `treenail verify` does, with at most `n` rows of ir_probe(): returns
 * the number of bits that differ from the interpreter and prints the first. */
int64_t predictor_verify(struct predictor_state *state, int64_t n,
                         struct ir_diag *diag);

#endif
