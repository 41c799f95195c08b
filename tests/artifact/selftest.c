/* selftest.c: the library's own rows, on this CPU: exits 1 for one that
 * differs. */
#include <stdio.h>
#include <stdlib.h>

#include "m.h"

int main(void)
{
    const struct tn_model *m = &m_model;
    void *scratch = aligned_alloc(TN_SCRATCH_ALIGN,
                                  m->scratch_bytes + TN_SCRATCH_ALIGN);
    for (uint32_t o = 0; o < m->n_outputs; o++) {
        void *out = malloc(m->n_golden * m->outputs[o].n_elements *
                           tn_dtype_bytes(m->outputs[o].dtype));
        const int64_t row = tn_selftest_output(m, o, out, scratch);
        free(out);
        if (row >= 0) {
            printf("output %s: row %d differs\n", m->outputs[o].name,
                   (int)row);
            return 1;
        }
    }
    free(scratch);
    return 0;
}
