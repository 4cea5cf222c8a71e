/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * How many handshakes got a staple, and how many got none.
 *
 * The one idea: the ring is read by every handshake and written by none, so
 * that its cache lines stay shared. A process counts in memory of its own, and
 * its watchdog carries the sums over ten times a second.
 */

#include "staple_status.h"

#include <stdatomic.h>

typedef struct pair_t {
    _Atomic apr_uint32_t served, missed; /* since the last flush */
} pair_t;

struct staple_status_tally_t {
    staple_cache_t *cache;
    int slots;
    atomic_int is_dirty; /* whether any count may not be 0 */
    pair_t *counts;      /* by slot */
};

staple_status_tally_t *staple_status_tally_make(staple_cache_t *cache,
                                                apr_pool_t *p)
{
    staple_status_tally_t *tally = apr_pcalloc(p, sizeof(*tally));

    tally->cache = cache;
    tally->slots = (int)staple_cache_count(cache);
    tally->counts = apr_pcalloc(p, ((apr_size_t)tally->slots + 1)
                                   * sizeof(*tally->counts));
    return tally;
}

/* Relaxed: sums, after which nothing else is read. What is counted between
 * the flag and the count of another thread's flush waits for the next. */
void staple_status_tally_count(staple_status_tally_t *tally, int slot,
                               int is_served)
{
    pair_t *counts = &tally->counts[slot];

    atomic_fetch_add_explicit(is_served ? &counts->served : &counts->missed,
                              1, memory_order_relaxed);
    if (!atomic_load_explicit(&tally->is_dirty, memory_order_relaxed)) {
        atomic_store_explicit(&tally->is_dirty, 1, memory_order_release);
    }
}

static apr_uint32_t take(_Atomic apr_uint32_t *count)
{
    return atomic_load_explicit(count, memory_order_relaxed)
           ? atomic_exchange_explicit(count, 0, memory_order_relaxed) : 0;
}

void staple_status_tally_flush(staple_status_tally_t *tally)
{
    int slot;

    if (!atomic_exchange_explicit(&tally->is_dirty, 0,
                                  memory_order_acquire)) {
        return;
    }
    for (slot = 0; slot < tally->slots; slot++) {
        staple_cache_served_t more;

        more.served = take(&tally->counts[slot].served);
        more.missed = take(&tally->counts[slot].missed);
        staple_cache_count_served(tally->cache, slot, &more);
    }
}
