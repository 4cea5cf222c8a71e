/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_T_FUZZ_H
#define STAPLE_T_FUZZ_H

/*
 * What the fuzz targets have in common.
 */

#include <stdlib.h>

#include <apr_general.h>
#include <apr_pools.h>

/** Libfuzzer reports an abort as it reports a crash. */
static inline void require(int is_true)
{
    if (!is_true) {
        abort();
    }
}

static apr_pool_t *fuzz_kept;

/* The pool's memory is not where LeakSanitizer looks for pointers. */
static inline void fuzz_end(void)
{
    apr_pool_destroy(fuzz_kept);
    apr_terminate();
}

/** A pool that lives as long as the process. */
static inline apr_pool_t *fuzz_pool(void)
{
    if (!fuzz_kept) {
        apr_initialize();
        apr_pool_create(&fuzz_kept, NULL);
        atexit(fuzz_end);
    }
    return fuzz_kept;
}

#endif /* STAPLE_T_FUZZ_H */
