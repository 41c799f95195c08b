/* clusters.c: cuts trees into clusters of few nodes, all of whose tests are
 * decided at once by the strategy `match`.
 *
 * The first cluster of a tree grows from its root, always by the node on its
 * edge from which the longest way leads down, so that few clusters are passed
 * on any way; then each node that was left on the edge starts a cluster in
 * turn. */
#include "ir/ir_impl.h"

#include <stdlib.h>
#include <string.h>

/* Sets the levels below each node of `tree`, a leaf being level 0. */
static void measure_heights(struct ir_cut *cut, const struct ir_forest *f,
                            int tree)
{
    const int64_t first = f->tree_start[tree];
    const int n = (int)(f->tree_start[tree + 1] - first);
    cut->height = ir_realloc_array(cut->height, (size_t)n + 1, 4);
    cut->order = ir_realloc_array(cut->order, (size_t)n + 1, 4);
    int found = 0;
    if (n > 0)
        cut->order[found++] = 0;
    for (int i = 0; i < found; i++) {
        const int64_t node = first + cut->order[i];
        if (f->left[node] >= 0)
            cut->order[found++] = f->left[node];
        if (f->right[node] >= 0)
            cut->order[found++] = f->right[node];
    }
    for (int i = found; i-- > 0;) {
        const int64_t node = first + cut->order[i];
        const int32_t child[2] = {f->left[node], f->right[node]};
        int32_t most = 0;
        for (int s = 0; s < 2; s++)
            if (child[s] >= 0 && cut->height[child[s]] > most)
                most = cut->height[child[s]];
        cut->height[cut->order[i]] = most + 1;
    }
}

/* The exit to split next, or -1 when all are leaves. */
static int highest_exit(const struct ir_cut *cut, const struct ir_cluster *c)
{
    int best = -1;
    for (int i = 0; i < c->n_exits; i++)
        if (c->exit[i] >= 0 &&
            (best < 0 ||
             cut->height[c->exit[i]] > cut->height[c->exit[best]]))
            best = i;
    return best;
}

/* Takes in the node at exit i: its left child is there then, its right one at a
 * new exit. */
static void take_in(struct ir_cluster *c, const struct ir_forest *f, int tree,
                    int i)
{
    const int64_t node = (int64_t)f->tree_start[tree] + c->exit[i];
    const int k = c->n_nodes++, other = c->n_exits++;
    for (int p = 0; p < k; p++)
        for (int s = 0; s < 2; s++)
            if (c->child[p][s] == ~i)
                c->child[p][s] = (int8_t)k;
    c->node[k] = (int32_t)node;
    c->child[k][0] = (int8_t)~i;
    c->child[k][1] = (int8_t)~other;
    c->exit[i] = f->left[node];
    c->exit[other] = f->right[node];
}

/* The new cluster of the nodes from `root` on, a node of the tree or ~leaf. */
static struct ir_cluster *add_cluster(struct ir_cut *cut, int32_t root,
                                      int depth)
{
    if (cut->n == cut->room) {
        cut->room = cut->room ? 2 * cut->room : 16;
        cut->cluster = ir_realloc_array(cut->cluster, (size_t)cut->room,
                                        sizeof(*cut->cluster));
    }
    struct ir_cluster *c = &cut->cluster[cut->n++];
    memset(c, 0, sizeof(*c));
    c->depth = depth;
    c->n_exits = 1;
    c->exit[0] = root;
    cut->depth = depth > cut->depth ? depth : cut->depth;
    return c;
}

void ir_cut_tree(struct ir_cut *cut, const struct ir_forest *f, int tree,
                 int lanes)
{
    const bool empty = f->tree_start[tree] == f->tree_start[tree + 1];
    measure_heights(cut, f, tree);
    cut->n = 0;
    cut->depth = 0;
    add_cluster(cut, empty ? ~0 : 0, 1);
    for (int k = 0; k < cut->n; k++) {
        struct ir_cluster *c = &cut->cluster[k];
        for (int i; c->n_exits < lanes && (i = highest_exit(cut, c)) >= 0;)
            take_in(c, f, tree, i);
        const int n_exits = c->n_exits, depth = c->depth + 1;
        for (int i = 0; i < n_exits; i++) {
            const int32_t to = cut->cluster[k].exit[i];
            cut->cluster[k].exit[i] = to < 0 ? to : cut->n;
            if (to >= 0)
                add_cluster(cut, to, depth);
        }
    }
}

void ir_cut_release(struct ir_cut *cut)
{
    free(cut->cluster);
    free(cut->height);
    free(cut->order);
    memset(cut, 0, sizeof(*cut));
}
