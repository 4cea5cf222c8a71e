/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What processes tell each other through the ring without its lock: counts of
 * what handshakes got and of how the share fares, requests to the refresher,
 * and who looks at which pending response. Nothing here touches a record.
 *
 * The one idea: each number that is told is one word, added to or exchanged
 * whole. So nobody waits for anybody, and whoever is killed leaves a number
 * that is right or a little low, and no repair to make.
 */

#include "segment.h"

/* ---- What handshakes got. ---- */

void staple_cache_count_served(staple_cache_t *cache, int slot,
                               const staple_cache_served_t *more)
{
    slot_t *s = slot_of(cache, slot);

    if (s && more->served) {
        count_add(&s->served_count, more->served);
    }
    if (s && more->missed) {
        count_add(&s->missed_count, more->missed);
    }
}

void staple_cache_served(const staple_cache_t *cache, int slot,
                         staple_cache_served_t *sum)
{
    const slot_t *s = slot_of(cache, slot);

    sum->served = s ? word_get(&s->served_count) : 0;
    sum->missed = s ? word_get(&s->missed_count) : 0;
}

/* ---- How the share fares. ---- */

void staple_cache_count_share(staple_cache_t *cache,
                              const staple_cache_share_t *more)
{
    header_t *header = cache->header;

    count_add(&header->share_hits, more->hits);
    count_add(&header->share_misses, more->misses);
    count_add(&header->share_odd, more->odd);
    count_add(&header->share_stored, more->stored);
    count_add(&header->share_dropped, more->dropped);
    count_add(&header->share_unanswered, more->unanswered);
    count_add(&header->share_errors, more->errors);
    if (more->last_error) {
        word_put(&header->share_last_error, (apr_uint64_t)more->last_error);
        word_put(&header->share_last_status,
                 (apr_uint64_t)more->last_status);
    }
    word_put(&header->share_since, (apr_uint64_t)more->since << 1
                                   | (more->is_silent ? 1 : 0));
}

void staple_cache_share(const staple_cache_t *cache, staple_cache_share_t *sum)
{
    const header_t *header = cache->header;
    apr_uint64_t since = word_get(&header->share_since);

    sum->hits = word_get(&header->share_hits);
    sum->misses = word_get(&header->share_misses);
    sum->odd = word_get(&header->share_odd);
    sum->stored = word_get(&header->share_stored);
    sum->dropped = word_get(&header->share_dropped);
    sum->unanswered = word_get(&header->share_unanswered);
    sum->errors = word_get(&header->share_errors);
    sum->last_error = (apr_time_t)word_get(&header->share_last_error);
    sum->last_status = (apr_status_t)word_get(&header->share_last_status);
    sum->is_silent = (int)(since & 1);
    sum->since = (apr_time_t)(since >> 1);
}

/* ---- Requests. ---- */

apr_status_t staple_cache_request(staple_cache_t *cache, int slot,
                                  apr_uint32_t what)
{
    int i;

    if (!slot_of(cache, slot)) {
        return APR_EINVAL;
    }
    for (i = 0; i < STAPLE_CACHE_REQUESTS; i++) {
        if (request_put(&cache->header->requests[i],
                        (apr_uint64_t)slot << 32 | what)) {
            return APR_SUCCESS;
        }
    }
    return APR_EAGAIN;
}

apr_uint32_t staple_cache_take_request(staple_cache_t *cache, int *slot)
{
    int i;

    for (i = 0; i < STAPLE_CACHE_REQUESTS; i++) {
        word_t *place = &cache->header->requests[i];
        apr_uint64_t request = word_get(place) ? request_take(place) : 0;

        *slot = (int)(request >> 32);
        if (request && slot_of(cache, *slot)) {
            return (apr_uint32_t)request;
        }
    }
    return 0;
}

/* ---- The work of confirming. ---- */

int staple_cache_claim_pending(staple_cache_t *cache)
{
    word_t *claim = &cache->header->claim;

    while (word_get(claim) < cache->slots_count) {
        apr_uint64_t slot = number_take(claim);

        if (slot < cache->slots_count && is_pending(&cache->slots[slot])) {
            return (int)slot;
        }
    }
    return -1;
}
