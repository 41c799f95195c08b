/* fold_solve.c: which numbers pass a test of what is computed from them.
 *
 * The floats are places on a line (rewrite.h). Over a piece of it fold_range.c
 * bounds what the function gives; when all of that goes one way, so does the
 * piece, else it is halved, down to a single place, whose value is computed.
 * So every float is decided, by a bound or by itself, and nothing need be known
 * of the function. What passes is then a list of runs; where they are those of
 * a threshold, or of a set, a single test says them.
 *
 * Bounds that are wide, as those of elementary functions, leave a window in
 * which every float is computed; when it is too wide the test is given up.
 */
#include "passes/fold.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Corners that a function may have. */
#define MAX_CORNERS (1 << 18)
/* Pieces that may be looked at for one test, and for each run it has. */
#define MAX_LOOKS 6000
#define MAX_LOOKS_PER_RUN 200
/* Codes of a set that a test becomes. */
#define MAX_CODE (1 << 20)
/* Codes of a set that are looked at for one piece. */
#define MAX_CODES_LOOKED 4096

enum side { RIGHT, LEFT, EITHER };

/* ----------------------------------------------------- the node's answer -- */

static bool is_member(const struct ir_forest *f, int set, int64_t code)
{
    const int64_t n_words = f->set_start[set + 1] - f->set_start[set];
    return code < n_words * 32 &&
           f->set_words[f->set_start[set] + code / 32] >> (code % 32) & 1;
}

/* Numbers in [low, high] against the members of a set, as eval.c has it. */
static enum side side_of_set(const struct ir_forest *f, int64_t node,
                             double low, double high)
{
    const uint8_t flags = f->flags[node];
    const int set = f->set[node];
    const double n_bits =
        ((double)f->set_start[set + 1] - f->set_start[set]) * 32;
    const bool truncates = !(flags & (IR_NODE_FLOOR | IR_NODE_EXACT));
    bool any = false, all = true;
    if (low >= n_bits || (truncates ? high <= -1 : high < 0))
        return RIGHT;
    if (high >= n_bits || (truncates ? low <= -1 : low < 0))
        all = false;
    const int64_t from = low < 0 ? 0
                         : flags & IR_NODE_EXACT ? (int64_t)ceil(low)
                                                 : (int64_t)low;
    const int64_t to = high >= n_bits ? (int64_t)n_bits - 1 : (int64_t)high;
    if (flags & IR_NODE_EXACT && low < high)
        all = false;
    if (to - from > MAX_CODES_LOOKED)
        return EITHER;
    for (int64_t code = from; code <= to; code++) {
        const bool member = is_member(f, set, code);
        any = any || member;
        all = all && member;
    }
    /* No whole number is between them. */
    if (from > to)
        all = false;
    return !any ? RIGHT : all ? LEFT : EITHER;
}

static enum side side_of_threshold(const struct ir_forest *f, int64_t node,
                                   double low, double high)
{
    const double t = ir_real(f->threshold, f->in_dtype, (size_t)node);
    if (f->strict)
        return high < t ? LEFT : low >= t ? RIGHT : EITHER;
    return high <= t ? LEFT : low > t ? RIGHT : EITHER;
}

static enum side side_of_numbers(const struct ir_forest *f, int64_t node,
                                 double low, double high)
{
    const uint8_t flags = f->flags[node];
    if (flags & IR_NODE_CATEGORICAL)
        return side_of_set(f, node, low, high);
    const enum side side = side_of_threshold(f, node, low, high);
    const double bound = f->zero_bound;
    if (!(flags & IR_NODE_ZERO_MISSING) || high < -bound || low > bound)
        return side;
    const enum side missing = flags & IR_NODE_MISSING_LEFT ? LEFT : RIGHT;
    if (low >= -bound && high <= bound)
        return missing;
    return side == missing ? side : EITHER;
}

static enum side side_of(const struct ir_forest *f, int64_t node,
                         const struct fold_range *r)
{
    const enum side missing =
        f->flags[node] & IR_NODE_MISSING_LEFT ? LEFT : RIGHT;
    if (!r->number)
        return missing;
    const enum side side = side_of_numbers(f, node, r->low, r->high);
    return r->nan && side != missing ? EITHER : side;
}

/* ---------------------------------------------------------------- pieces -- */

static void include(struct fold_range *r, double v)
{
    if (isnan(v)) {
        r->nan = true;
        return;
    }
    r->low = r->number && r->low < v ? r->low : v;
    r->high = r->number && r->high > v ? r->high : v;
    r->number = true;
}

/* What the function gives at the places [first, last]. */
static struct fold_range look(const struct fold_pieces *p, int64_t first,
                              int64_t last)
{
    const struct fold_function *f = p->function;
    const double low = pass_at_order(first, f->dtype);
    *p->fuel -= f->n;
    if (first != last)
        return pass_fold_range(f, low, pass_at_order(last, f->dtype));
    struct fold_range r = {0};
    include(&r, pass_fold_value(f, f->n - 1, low));
    if (first == 0)
        include(&r, pass_fold_value(f, f->n - 1, -0.0));
    return r;
}

struct corners {
    const struct fold_function *f;
    int64_t last, n;
    int64_t *place; /* malloc'd */
    size_t capacity;
};

static void add_place(struct corners *c, int64_t place)
{
    if (place <= -c->last || place > c->last)
        return;
    if ((size_t)c->n == c->capacity) {
        c->capacity = c->capacity * 2 + 64;
        c->place = ir_realloc_array(c->place, c->capacity, sizeof(int64_t));
    }
    c->place[c->n++] = place;
}

/* Cuts around where step `step` gives about `target`. */
static void add_corner(struct corners *c, int step, double target)
{
    const double v = pass_fold_guess(c->f, step, target);
    if (isnan(v) || c->n > MAX_CORNERS)
        return;
    const int64_t at = pass_order(v, c->f->dtype);
    add_place(c, at - 2);
    add_place(c, at);
    add_place(c, at + 1);
    add_place(c, at + 3);
}

static void add_table(struct corners *c, const struct fold_step *s,
                      const char *name)
{
    const struct ir_tensor *t = ir_attr_tensor(s->op, name);
    for (int64_t i = 0; i < t->type.dim[0] && c->n <= MAX_CORNERS; i++)
        add_corner(c, s->x[0], ir_real(t->data, t->type.dtype, (size_t)i));
}

static void add_corners(struct corners *c, const struct fold_step *s)
{
    const struct fold_function *f = c->f;
    if (s->kind == FOLD_ELEMENT && s->op->kind == IR_OP_lookup)
        add_table(c, s, "keys");
    else if (s->kind == FOLD_ELEMENT && s->op->kind == IR_OP_bucketize)
        add_table(c, s, "edges");
    else if (s->kind == FOLD_MAP && ir_step_operands(s->map) == 2)
        for (int k = 0; k < 2; k++)
            if (f->step[s->x[k]].kind == FOLD_NUMBER &&
                (s->map == IR_STEP_EQ || s->map == IR_STEP_GT ||
                 s->map == IR_STEP_GE || s->map == IR_STEP_LT ||
                 s->map == IR_STEP_LE))
                add_corner(c, s->x[1 - k], f->step[s->x[k]].number);
}

static int compare_places(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

bool pass_fold_cut(struct fold_pieces *p, const struct fold_function *f,
                   int64_t *fuel, struct ir_arena *arena)
{
    struct corners c = {.f = f, .last = pass_last_order(f->dtype)};
    *p = (struct fold_pieces){.function = f, .fuel = fuel};
    for (int i = 0; i < f->n; i++)
        add_corners(&c, &f->step[i]);
    const bool good = c.n <= MAX_CORNERS && *fuel > c.n * f->n;
    if (good) {
        if (c.n > 0)
            qsort(c.place, (size_t)c.n, sizeof(int64_t), compare_places);
        p->piece = ir_alloc_array(arena, (size_t)c.n + 2, sizeof(*p->piece));
        p->piece[p->n++].first = -c.last;
        for (int64_t i = 0; i < c.n; i++)
            if (c.place[i] > p->piece[p->n - 1].first)
                p->piece[p->n++].first = c.place[i];
        p->piece[p->n].first = c.last + 1;
        for (int64_t i = 0; i < p->n; i++)
            p->piece[i].range = look(p, p->piece[i].first,
                                     p->piece[i + 1].first - 1);
        include(&p->nan, pass_fold_value(f, f->n - 1, NAN));
    }
    free(c.place);
    return good;
}

/* ------------------------------------------------------------------ runs -- */

/* The line as runs of places that go left and right in turn. */
struct runs {
    const struct fold_pieces *pieces;
    const struct ir_forest *forest;
    int64_t node, looks, guess;
    int64_t n, capacity;
    int64_t *first; /* malloc'd; run i begins here */
    bool first_left; /* run 0 goes left, and so do 2, 4, ... */
};

static bool goes_left(const struct runs *r, int64_t run)
{
    return r->first_left == (run % 2 == 0);
}

static void add_run(struct runs *r, int64_t first, bool left)
{
    if (r->n > 0 && goes_left(r, r->n - 1) == left)
        return;
    if (r->n == r->capacity) {
        r->capacity = r->capacity * 2 + 8;
        r->first = ir_realloc_array(r->first, (size_t)r->capacity,
                                    sizeof(int64_t));
    }
    if (r->n == 0)
        r->first_left = left;
    r->first[r->n++] = first;
}

/* The last place of the first part of [first, last]: apart from a guess's
 * neighbourhood as long as that is in it, else in the middle. */
static int64_t split(const struct runs *r, int64_t first, int64_t last)
{
    if (first < r->guess - 2 && r->guess - 2 <= last)
        return r->guess - 3;
    if (first <= r->guess + 2 && r->guess + 2 < last)
        return r->guess + 2;
    /* The difference of places fits an unsigned integer. */
    return first + (int64_t)(((uint64_t)last - (uint64_t)first) / 2);
}

/* Halving goes at most this deep, a guess's two cuts included. */
enum { MAX_DEPTH = 72 };

/* Decides each place of a piece whose ends are [first, last]. */
static bool decide(struct runs *r, int64_t first, int64_t last)
{
    int64_t ends[MAX_DEPTH];
    int depth = 0;
    ends[depth++] = last;
    while (depth > 0) {
        last = ends[depth - 1];
        const struct fold_range range = look(r->pieces, first, last);
        const enum side side = side_of(r->forest, r->node, &range);
        if (side != EITHER) {
            add_run(r, first, side == LEFT);
            first = last + 1;
            depth--;
            continue;
        }
        if (first == last || depth == MAX_DEPTH || *r->pieces->fuel < 0 ||
            ++r->looks > MAX_LOOKS + MAX_LOOKS_PER_RUN * r->n)
            return false;
        ends[depth++] = split(r, first, last);
    }
    return true;
}

static bool find_runs(struct runs *r)
{
    const struct fold_pieces *p = r->pieces;
    const struct fold_function *f = p->function;
    const double t = ir_real(r->forest->threshold, r->forest->in_dtype,
                             (size_t)r->node);
    const double v = pass_fold_guess(f, f->n - 1, t);
    r->guess = isnan(v) ? INT64_MAX / 2 : pass_order(v, f->dtype);
    for (int64_t i = 0; i < p->n; i++) {
        const int64_t last = p->piece[i + 1].first - 1;
        const enum side side = side_of(r->forest, r->node,
                                       &p->piece[i].range);
        if (side != EITHER)
            add_run(r, p->piece[i].first, side == LEFT);
        else if (!decide(r, p->piece[i].first, last))
            return false;
    }
    return true;
}

/* ----------------------------------------------------------------- tests -- */

/* Tells whether [first, last] is all places of the codes [*from, *to], read in
 * the way that `flags` say. */
static bool is_codes(enum ir_dtype dtype, uint8_t flags, int64_t first,
                     int64_t last, int64_t *from, int64_t *to)
{
    const double low = pass_at_order(first, dtype);
    /* The first place after it. */
    const double end = last == pass_last_order(dtype)
                           ? INFINITY
                           : pass_at_order(last + 1, dtype);
    if (flags & IR_NODE_EXACT) {
        *from = *to = low >= 0 && low < MAX_CODE ? (int64_t)low : -1;
        return first == last && low >= 0 && (double)*from == low;
    }
    if (!(end > 0 && end <= MAX_CODE && end == floor(end)))
        return false;
    *to = (int64_t)end - 1;
    *from = low < 0 ? 0 : (int64_t)low;
    if (!(flags & IR_NODE_FLOOR) && low < 0)
        return pass_at_order(first - 1, dtype) == -1;
    /* Numbers in (-1, 0) are truncated to 0, and not rounded down to it. */
    return low >= 0 && low == (double)*from &&
           (flags & IR_NODE_FLOOR || *from > 0);
}

/* Whether the runs that go to `left` are the members of a set; it is put
 * together in `words`, when that is given. */
static bool as_set(const struct runs *r, bool left, uint8_t flags,
                   uint32_t *words, int64_t *largest)
{
    const enum ir_dtype dtype = r->pieces->function->dtype;
    for (int64_t i = 0; i < r->n; i++) {
        int64_t from, to;
        const int64_t last = i + 1 < r->n ? r->first[i + 1] - 1
                                          : pass_last_order(dtype);
        if (goes_left(r, i) != left)
            continue;
        if (!is_codes(dtype, flags, r->first[i], last, &from, &to))
            return false;
        *largest = to;
        for (int64_t code = from; words && code <= to; code++)
            words[code / 32] |= UINT32_C(1) << (code % 32);
    }
    return true;
}

static bool make_set(const struct runs *r, struct ir_arena *arena,
                     struct fold_test *test)
{
    static const uint8_t readings[] = {IR_NODE_EXACT, 0, IR_NODE_FLOOR};
    for (int k = 0; k < 6; k++) {
        const uint8_t flags = readings[k / 2];
        const bool left = k % 2 == 0;
        int64_t largest = 0;
        if (!as_set(r, left, flags, NULL, &largest))
            continue;
        test->n_words = (int32_t)(largest / 32) + 1;
        test->words = ir_alloc_array(arena, (size_t)test->n_words,
                                     sizeof(*test->words));
        as_set(r, left, flags, test->words, &largest);
        test->swap = !left;
        test->flags = IR_NODE_CATEGORICAL | flags;
        return true;
    }
    return false;
}

static bool make_test(const struct runs *r, bool nan_left,
                      struct ir_arena *arena, struct fold_test *test)
{
    const enum ir_dtype dtype = r->pieces->function->dtype;
    *test = (struct fold_test){.threshold = INFINITY};
    if (r->n <= 2) {
        test->swap = !r->first_left;
        if (r->n == 2)
            test->threshold = pass_at_order(r->first[1] - 1, dtype);
    } else if (!make_set(r, arena, test)) {
        return false;
    }
    if (nan_left != test->swap)
        test->flags |= IR_NODE_MISSING_LEFT;
    return true;
}

bool pass_fold_solve(const struct fold_pieces *pieces,
                     const struct ir_forest *forest, int64_t node,
                     struct ir_arena *arena, struct fold_test *test)
{
    struct runs r = {.pieces = pieces, .forest = forest, .node = node};
    const enum side nan = side_of(forest, node, &pieces->nan);
    const bool good = find_runs(&r) &&
                      make_test(&r, nan == LEFT, arena, test);
    free(r.first);
    return good;
}
