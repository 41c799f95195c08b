/* onnx_loop.h: loops. How a body is taken apart into what is the same in all
 * steps, what counts them and what is of the row, which onnx_loop.c builds step
 * by step; and what a step is when it is a recurrent layer's, which onnx_cell.c
 * makes a `scan` of.
 */
#ifndef TREENAIL_FRONTEND_ONNX_LOOP_H
#define TREENAIL_FRONTEND_ONNX_LOOP_H

#include "frontend/onnx.h"

/* --------------------------------------------------------- onnx_loop.c -- */

/* Nodes and values that all subgraphs of a model may come to, each as often as
 * it is built. */
enum { FE_ONNX_MAX_SUBGRAPHS = 1 << 17 };

/* What a name of a body depends on: 0 for what is the same in all steps. */
enum { FE_ONNX_VARIES = 1, FE_ONNX_ROW = 2 };

/* What a Scan takes one part of at each step. */
struct fe_onnx_slice {
    const struct fe_onnx_value *x;
    int axis;
    bool reverse;
};

/* A Loop or a Scan. Carried value k is the body's input n_before + k and its
 * output n_after + k; slices and stacks follow. */
struct fe_onnx_loop {
    const Onnx__GraphProto *body;
    size_t n_before, n_after; /* Loop: 2 and 1; Scan: none */
    size_t n_carried, n_slices, n_stacks;
    struct fe_onnx_value *carried; /* [n_carried] before the next step */
    bool condition;                /* there is a next step */
    struct fe_onnx_slice *slice;   /* [n_slices] */
    int64_t limit;                 /* of steps */
    int64_t steps;                 /* that were made */
    struct fe_onnx_scope once;     /* what is the same in all steps */
    struct fe_onnx_flags *flags;   /* by name of the body */
    size_t flags_size;             /* a power of 2 */
    struct fe_onnx_varying {
        size_t node;
        int flags;
    } *varying; /* [n_varying] the body's nodes that a step builds */
    size_t n_varying;
    size_t step_size; /* these, their values and the names of them */
    size_t n_names;   /* that a step gives */
    struct fe_onnx_value *result;  /* [n_carried + n_stacks] */
    struct fe_onnx_value **stack;  /* [n_stacks][capacity] by step */
    int64_t capacity;
};

/* FE_ONNX_VARIES and FE_ONNX_ROW of a node of the body, or of one of its
 * names. */
int fe_onnx_node_flags(const struct fe_onnx_loop *l,
                       const Onnx__NodeProto *node);
int fe_onnx_name_flags(const struct fe_onnx_loop *l, const char *name);
/* What a node counts as: itself and its values, more with many or long names,
 * or with attributes of many bytes. */
size_t fe_onnx_node_size(const Onnx__NodeProto *node);
/* Counts a step of this size; false with a message when it is too much. */
bool fe_onnx_take_step(struct fe_onnx *g, const struct fe_onnx_loop *l,
                       size_t size);
/* The same of a graph, with those in it. */
bool fe_onnx_take_graph(struct fe_onnx *g, const Onnx__GraphProto *graph);
/* Gives, in g->scope, what a step finds beside carried values that are of the
 * row, and slices. */
bool fe_onnx_start_step(struct fe_onnx *g, const struct fe_onnx_loop *l);
/* Whether the body's condition holds after a step. */
bool fe_onnx_read_condition(struct fe_onnx *g, struct fe_onnx_loop *l);
/* Whether the node names its output i. */
bool fe_onnx_is_asked_for(const struct fe_onnx *g, size_t i);
/* Whether carried value k is the same in all steps. */
bool fe_onnx_is_kept(const struct fe_onnx_loop *l, size_t k);

/* --------------------------------------------------------- onnx_cell.c -- */

/* Makes a `scan` of a loop that is a recurrent layer, *good unless there is a
 * message; false when it is none. */
bool fe_onnx_build_cell(struct fe_onnx *g, struct fe_onnx_loop *l,
                        bool *good);

/* -------------------------------------------------------- onnx_match.c -- */

/* What a step of a recurrent layer computes, in ONNX's order of gates. */
struct fe_onnx_cell {
    const char *kind; /* of the op scan */
    int n_gates, n_states;
    int64_t inputs, hidden;
    double *w, *r;                         /* [inputs or hidden][gates * H] */
    double *bias, *recurrent_bias;         /* [gates * H], [H] or NULL */
    const char *gate, *candidate, *output; /* programs, or NULL */
    bool reset_after;
};

/* Whether the values out[n_states], of ops on x and in[n_states], are the next
 * states of a cell: h and, of an lstm, c. */
bool fe_onnx_match_cell(struct fe_onnx *g, int n_states, struct ir_value *x,
                        struct ir_value *const *in,
                        struct ir_value *const *out,
                        struct fe_onnx_cell *cell);
/* Whether both have the same elements, however they are shaped. */
bool fe_onnx_is_same(struct ir_value *a, struct ir_value *b);

#endif
