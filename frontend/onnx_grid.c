/* onnx_grid.c: what is looked at by a grid of places: GridSample, as a product
 * with a matrix that says how much of each pixel each place gets, as the places
 * may be those of the row; and what is made of a value's dims alone. */
#include "frontend/onnx.h"

#include <string.h>

/* ------------------------------------------------------------- GridSample -- */

struct grid {
    int64_t n_places; /* of an image */
    bool corners;     /* -1 and 1 are the centres of the outermost pixels */
    bool nearest;
    enum { OUTSIDE_ZERO, OUTSIDE_BORDER, OUTSIDE_REFLECT } outside;
};

static bool read_grid(struct fe_onnx *g, struct grid *grid)
{
    *grid = (struct grid){.corners = fe_onnx_int(g, "align_corners", 0)};
    if (fe_onnx_says(g, "mode", "nearest", false))
        grid->nearest = true;
    else if (!fe_onnx_says(g, "mode", "bilinear", true) &&
             !fe_onnx_says(g, "mode", "linear", true))
        return fe_onnx_error(g, "mode is not linear or nearest");
    if (fe_onnx_says(g, "padding_mode", "border", false))
        grid->outside = OUTSIDE_BORDER;
    else if (fe_onnx_says(g, "padding_mode", "reflection", false))
        grid->outside = OUTSIDE_REFLECT;
    else if (!fe_onnx_says(g, "padding_mode", "zeros", true))
        return fe_onnx_error(g, "padding_mode is not zeros, border or "
                             "reflection");
    return true;
}

/* A program for the place, in pixels, that x0 from -1 to 1 stands for among n
 * of them. */
static const char *place_program(struct fe_onnx *g, const struct grid *grid,
                                 int64_t n)
{
    const double low = grid->corners ? 0 : -0.5;
    const double span = (double)(grid->corners ? n - 1 : n);
    const char *place =
        grid->corners
            ? ir_sprintf(&g->scratch, "x0 1 add 2 div %.17g mul", span)
            : ir_sprintf(&g->scratch, "x0 1 add %.17g mul 1 sub 2 div", span);
    if (grid->nearest) /* before it is reflected, as ONNX Runtime does */
        place = ir_sprintf(&g->scratch, "%s rint", place);
    if (grid->outside == OUTSIDE_REFLECT && span == 0)
        place = "x0 0 mul";
    else if (grid->outside == OUTSIDE_REFLECT) {
        /* Within a period of 2 * span, as far as from its middle. */
        const char *from = ir_sprintf(&g->scratch, "%s %.17g sub", place, low);
        place = ir_sprintf(
            &g->scratch, "%s %s %.17g div floor %.17g mul sub %.17g sub abs "
            "neg %.17g add %.17g add", from, from, 2 * span, 2 * span, span,
            span, low);
    }
    return grid->outside == OUTSIDE_ZERO
               ? place : ir_sprintf(&g->scratch, "%s 0 max %lld min", place,
                                    (long long)n - 1);
}

/* How much of each of n pixels along a dim each place gets: [N][places][n], of
 * the grid's numbers [N][places]. */
static struct fe_onnx_value *weigh(struct fe_onnx *g, const struct grid *grid,
                                   struct fe_onnx_value *x, int64_t n)
{
    struct fe_onnx_value *y = ir_alloc(&g->scratch, sizeof *y);
    const struct fe_onnx_shape from = fe_onnx_shape_of(x);
    struct fe_onnx_shape shape = from;
    if (!fe_onnx_take_elements(g, n))
        return NULL;
    double *count = ir_alloc_array(&g->scratch, (size_t)n, sizeof *count);
    for (int64_t i = 0; i < n; i++)
        count[i] = (double)i;
    const enum ir_dtype dtype = fe_onnx_dtype(x->type);
    struct ir_value *place =
        fe_onnx_map(g, place_program(g, grid, n), dtype,
                    fe_onnx_numbers(g, x), NULL, NULL);
    const int64_t dim[] = {x->n, 1};
    place = fe_onnx_map(
        g, grid->nearest ? "x0 x1 eq" : "1 x0 x1 sub abs sub 0 max", dtype,
        fe_onnx_shaped(g, place, 2, dim), fe_onnx_vector(g, dtype, n, count),
        NULL);
    shape.dim[shape.rank++] = n;
    *y = (struct fe_onnx_value){.name = "", .type = x->type, .rows = place,
                                .rank = shape.rank, .batched = from.batched,
                                .batch = from.batch, .ahead = from.ahead};
    memcpy(y->dim, shape.dim, sizeof y->dim);
    y->n = place && fe_onnx_size(g, &shape) ? shape.n : 0;
    return y->n ? y : NULL;
}

/* Coordinate i of each place of the grid [N][..places..][2], as [N][places]. */
static struct fe_onnx_value *coordinate(struct fe_onnx *g,
                                        struct fe_onnx_value *grid, int i)
{
    struct fe_onnx_value *const both[] = {
        grid, fe_onnx_number(g, FE_ONNX_INT64, i)};
    struct fe_onnx_value *x =
        fe_onnx_apply(g, "Gather", 2, both, "axis=%d", grid->rank - 1);
    return fe_onnx_apply(g, "Flatten", 1, &x, "axis=1");
}

/* The two dims' weights multiplied: [N][rows * columns][places]. */
static struct fe_onnx_value *make_matrix(struct fe_onnx *g,
                                         const struct grid *grid,
                                         struct fe_onnx_value *places,
                                         int64_t rows, int64_t columns)
{
    struct fe_onnx_value *down = coordinate(g, places, 1);
    struct fe_onnx_value *across = down ? coordinate(g, places, 0) : NULL;
    if (!across)
        return NULL;
    struct fe_onnx_value *of[] = {weigh(g, grid, down, rows),
                                  weigh(g, grid, across, columns)};
    of[0] = fe_onnx_apply(g, "Unsqueeze", 1, &of[0], "axes=3");
    of[1] = fe_onnx_apply(g, "Unsqueeze", 1, &of[1], "axes=2");
    struct fe_onnx_value *y = fe_onnx_apply_two(g, "Mul", of[0], of[1]);
    y = fe_onnx_apply(g, "Reshape", 1, &y, "shape=0,0,%lld",
                      (long long)(rows * columns));
    return fe_onnx_apply(g, "Transpose", 1, &y, "perm=0,2,1");
}

bool fe_onnx_grid_sample(struct fe_onnx *g)
{
    struct fe_onnx_value *x = fe_onnx_input(g, 0), *y;
    struct fe_onnx_value *places = x ? fe_onnx_input(g, 1) : NULL;
    struct grid grid;
    if (!places || !read_grid(g, &grid))
        return false;
    if (x->rank != 4 || places->rank != 4 || places->dim[3] != 2 ||
        places->n < 1 || x->n < 1 || x->type != FE_ONNX_FLOAT ||
        places->type != FE_ONNX_FLOAT)
        return fe_onnx_error(g, "'%.200s' of %d dims is sampled by '%.200s' "
                             "of %d: only images of floats are read", x->name,
                             x->rank, places->name, places->rank);
    const int64_t rows = x->dim[2], columns = x->dim[3];
    const int64_t height = places->dim[1], width = places->dim[2];
    struct fe_onnx_value *matrix =
        make_matrix(g, &grid, places, rows, columns);
    y = fe_onnx_apply(g, "Reshape", 1, &x, "shape=0,0,%lld",
                      (long long)(rows * columns));
    y = fe_onnx_apply_two(g, "MatMul", y, matrix);
    y = fe_onnx_apply(g, "Reshape", 1, &y, "shape=0,0,%lld,%lld",
                      (long long)height, (long long)width);
    return y && fe_onnx_give(g, 0, y);
}

/* ---------------------------------------------------- of the dims alone -- */

/* A matrix with ones along a diagonal. */
bool fe_onnx_eye_like(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_input(g, 0);
    if (!x)
        return false;
    const int64_t k = fe_onnx_int(g, "k", 0);
    const int64_t type = fe_onnx_int(g, "dtype", x->type);
    const int to = type > 0 && type < 100 ? fe_onnx_widened((int)type) : 0;
    if (x->rank != 2 || x->batched || to == FE_ONNX_STRING ||
        (to != FE_ONNX_FLOAT && to != FE_ONNX_DOUBLE &&
         !fe_onnx_is_whole(to)))
        return fe_onnx_error(g, "'%.200s' has %d dims, or the batch, or the "
                             "type %lld is not read", x->name, x->rank,
                             (long long)type);
    if (!fe_onnx_take_elements(g, x->n))
        return false;
    struct fe_onnx_tensor *t = fe_onnx_new_tensor(g, to, 2, x->dim);
    for (int64_t i = 0; i < t->n; i++) {
        const bool is = i % t->dim[1] - i / t->dim[1] == k;
        t->real[i] = is;
        if (t->whole)
            t->whole[i] = is;
    }
    return fe_onnx_give_constant(g, t);
}

/* ------------------------------------------------- mean and variance norm -- */

/* (x - mean) / (deviation + 1e-9), the mean being that of some dims. */
bool fe_onnx_mean_variance(struct fe_onnx *g)
{
    struct fe_onnx_value *x = fe_onnx_input(g, 0);
    const Onnx__AttributeProto *a = fe_onnx_attribute(g, "axes");
    const char *axes = a ? "" : "0,2,3";
    if (a && (a->n_ints < 1 || a->n_ints > IR_MAX_RANK))
        return fe_onnx_error(g, "it has %zu axes", a->n_ints);
    for (size_t i = 0; a && i < a->n_ints; i++)
        axes = ir_sprintf(&g->scratch, "%s%s%lld", axes, i ? "," : "",
                          (long long)a->ints[i]);
    if (!x)
        return false;
    struct fe_onnx_value *mean =
        fe_onnx_apply(g, "ReduceMean", 1, &x, "axes=%s", axes);
    struct fe_onnx_value *centred = fe_onnx_apply_two(g, "Sub", x, mean);
    struct fe_onnx_value *square =
        fe_onnx_apply_two(g, "Mul", centred, centred);
    struct fe_onnx_value *deviation = fe_onnx_apply_one(
        g, "Sqrt", fe_onnx_apply(g, "ReduceMean", 1, &square, "axes=%s",
                                 axes));
    deviation = fe_onnx_apply_two(
        g, "Add", deviation, fe_onnx_number(g, x->type, 1e-9));
    struct fe_onnx_value *y =
        fe_onnx_apply_two(g, "Div", centred, deviation);
    return y && fe_onnx_give(g, 0, y);
}
