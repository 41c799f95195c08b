/* steps.h: what a model computes of one time step, and what it remembers.
 *
 * A step is a module of its own, so that the interpreter defines it, passes
 * rewrite it and the backend lowers it as they do any other: column 0 is the
 * time step, the others are what was remembered; its first outputs are the
 * model's, the others are what is to be remembered. passes/stream.c makes one.
 * What is remembered and goes out unchanged is what the whole sequence has in
 * common: it is made of other inputs by one more module, the start. */
#ifndef TREENAIL_IR_STEPS_H
#define TREENAIL_IR_STEPS_H

#include "ir/ir.h"

/* Where time is in numbers that lie end to end: they are [outer][steps][inner].
 * What is only known after the last step has steps 0, and is [outer]. */
struct ir_time {
    int64_t outer, steps, inner;
};

/* What is remembered: `elements` numbers of `dtype`, which start as `first`. */
struct ir_memory {
    enum ir_dtype dtype;
    int64_t elements;
    int64_t steps; /* of a window: that it has, the newest last; else 0 */
    int start;     /* which output of the start it starts as, or -1 */
    const void *first;
};

/* It lies, with all it points to, in the arena of `step`, and goes with it. */
struct ir_stream {
    struct ir_module *step;
    /* What memories start as that are made of the model's other inputs; its
     * columns are all but those of the time steps. NULL when there are none;
     * goes with `step`. */
    struct ir_module *start;
    int64_t frames;       /* of the input, along time, that a step has */
    int64_t row_start;    /* the first element of a row that is read, and */
    struct ir_time row;   /* how those from there on lie */
    struct ir_time *output;     /* by output of the model */
    int64_t *first_step;  /* by output: of which step the first one is */
    int n_outputs;        /* of the model */
    int n_memories;
    struct ir_memory *memory;
};

#endif
