/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_POOL_H
#define STAPLE_POOL_H

/*
 * Pools that give their memory back to the system when they end.
 *
 * An ordinary pool gives its memory to the allocator that it has from its
 * parent. httpd's own keeps all of it for ever, and every process that is
 * forked has it too; so what is large and needed only for a while belongs here.
 */

#include <apr_pools.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Make a pool with an allocator of its own, which has no lock. Where there is
 * no memory for that allocator, the pool is an ordinary one.
 * @param parent whose end ends it, and whose abort function it has
 * @param max_free how many bytes of what is cleared the allocator keeps for
 *                 what comes next; 0: all
 * @param tag a name for debuggers; constant
 * @return APR_SUCCESS; else there is no memory, as apr_pool_create says it
 */
apr_status_t staple_pool_make(apr_pool_t **pool, apr_pool_t *parent,
                              apr_size_t max_free, const char *tag);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_POOL_H */
