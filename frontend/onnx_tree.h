/* onnx_tree.h: an ensemble of trees, whichever op it comes from: the two forms
 * of the standard (onnx_tree_v3.c, onnx_tree_v5.c) are read into one struct, of
 * which onnx_tree.c makes a forest.
 */
#ifndef TREENAIL_FRONTEND_ONNX_TREE_H
#define TREENAIL_FRONTEND_ONNX_TREE_H

#include "frontend/onnx.h"

/* How a node tests its feature. */
enum fe_onnx_mode {
    FE_ONNX_LEQ, FE_ONNX_LT, FE_ONNX_GTE, FE_ONNX_GT, FE_ONNX_EQ, FE_ONNX_NEQ,
    FE_ONNX_MEMBER, FE_ONNX_LEAF
};
enum fe_onnx_aggregate {
    FE_ONNX_AVERAGE, FE_ONNX_SUM, FE_ONNX_MIN, FE_ONNX_MAX
};

/* An ensemble, whichever op it comes from. A child or root >= 0 is a node, one
 * < 0 is leaf ~child; a leaf may have several parents, a node one (or, where
 * tests for equality make up a set, those tests). Nothing here is checked but
 * the lengths and the ranges: fe_onnx_forest() does the rest. */
struct fe_onnx_ensemble {
    int64_t n_nodes, n_leaves, n_trees, n_targets;
    int64_t *root; /* [n_trees] */
    uint8_t *mode; /* [n_nodes] enum fe_onnx_mode */
    bool *missing; /* [n_nodes] a NaN goes to `yes` */
    int32_t *feature;
    double *value;         /* [n_nodes] the threshold */
    int64_t *yes, *no;     /* [n_nodes] children */
    /* Of a node of mode FE_ONNX_MEMBER: member[start .. end). */
    int64_t *member_start, *member_end; /* [n_nodes] */
    const double *member;
    int64_t *weight_start; /* [n_leaves + 1] into the weights */
    int32_t *target;       /* of each weight */
    double *weight;
    int32_t *leaf_id;   /* [n_leaves] */
    int64_t *node_name; /* [n_nodes] numbers for messages, */
    int64_t *tree_name; /* [n_trees] or NULL */
    enum fe_onnx_aggregate aggregate;
};

/* The sums of the leaves by target, aggregated, in x's dtype; the op's second
 * result is put in g->leaf. Targets in the order of their numbers. */
struct ir_value *fe_onnx_forest(struct fe_onnx *g,
                                const struct fe_onnx_ensemble *e,
                                struct ir_value *x);
/* Gives output 0: the sums after the post transform, as values of `type`. */
bool fe_onnx_give_targets(struct fe_onnx *g, struct ir_value *sums,
                          enum fe_onnx_post post, int64_t n, int type);
/* x as an ensemble's features: f64 of DOUBLE, else f32. */
struct ir_value *fe_onnx_features(struct fe_onnx *g,
                                  const struct fe_onnx_value *x);

#endif
