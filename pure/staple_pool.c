/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Pools that give their memory back to the system when they end, see
 * include/staple_pool.h for the contract.
 */

#include "staple_pool.h"

#include <apr_allocator.h>

apr_status_t staple_pool_make(apr_pool_t **pool, apr_pool_t *parent,
                              apr_size_t max_free, const char *tag)
{
    apr_allocator_t *own = NULL;
    apr_status_t rv;

    if (apr_allocator_create(&own)) {
        own = NULL; /* the parent's, then */
    }
    rv = apr_pool_create_ex(pool, parent, NULL, own);
    if (rv) {
        if (own) {
            apr_allocator_destroy(own);
        }
        return rv;
    }
    if (own) {
        apr_allocator_max_free_set(own, max_free);
        apr_allocator_owner_set(own, *pool);
    }
    apr_pool_tag(*pool, tag);
    return APR_SUCCESS;
}
