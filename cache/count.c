/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What is counted and asked for beside the records: what handshakes got and
 * what an administrator wants of the refresher, which any process writes into
 * the counters; how the share fares, and failures by kind, which the writer
 * writes into the ring.
 *
 * The one idea: each number is one word, added to or exchanged whole. So
 * nobody waits for anybody, and whoever is killed leaves a number that is
 * right or a little low, and no repair to make.
 */

#include "segment.h"

/* ---- What handshakes got. ---- */

apr_size_t staple_cache_counters_size(apr_size_t slots)
{
    return sizeof(staple_cache_counters_t)
           + slots * sizeof(staple_cache_count_t);
}

/* NULL: nobody counts here. */
static staple_cache_count_t *count_of(const staple_cache_t *cache, int slot)
{
    return slot >= 0 && (apr_uint32_t)slot < cache->counters_count
           ? &cache->counters->slot[slot] : NULL;
}

void staple_cache_count_served(const staple_cache_t *cache, int slot,
                               const staple_cache_served_t *more)
{
    staple_cache_count_t *count = count_of(cache, slot);

    if (count && more->served) {
        count_add(&count->served, more->served);
    }
    if (count && more->missed) {
        count_add(&count->missed, more->missed);
    }
}

void staple_cache_served(const staple_cache_t *cache, int slot,
                         staple_cache_served_t *sum)
{
    const slot_t *s = slot_of(cache, slot);
    const staple_cache_count_t *count = count_of(cache, slot);

    sum->served = s ? word_get(&s->served_count) : 0;
    sum->missed = s ? word_get(&s->missed_count) : 0;
    if (count) {
        sum->served += word_get(&count->served);
        sum->missed += word_get(&count->missed);
    }
}

apr_uint64_t staple_cache_count_must(const staple_cache_t *cache,
                                     staple_cache_must_e what)
{
    return cache->counters ? count_add(&cache->counters->must[what], 1) : 0;
}

apr_uint64_t staple_cache_must(const staple_cache_t *cache,
                               staple_cache_must_e what)
{
    return cache->counters ? word_get(&cache->counters->must[what]) : 0;
}

/* ---- How the share fares. ---- */

void staple_cache_count_share(staple_cache_t *cache,
                              const staple_cache_share_t *more)
{
    header_t *header = cache->header;

    count_add(&header->share_hits, more->hits);
    count_add(&header->share_misses, more->misses);
    count_add(&header->share_foreign, more->foreign);
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
    sum->foreign = word_get(&header->share_foreign);
    sum->stored = word_get(&header->share_stored);
    sum->dropped = word_get(&header->share_dropped);
    sum->unanswered = word_get(&header->share_unanswered);
    sum->errors = word_get(&header->share_errors);
    sum->last_error = (apr_time_t)word_get(&header->share_last_error);
    sum->last_status = (apr_status_t)word_get(&header->share_last_status);
    sum->is_silent = (int)(since & 1);
    sum->since = (apr_time_t)(since >> 1);
}

/* ---- Failures by kind. ---- */

void staple_cache_count_failure(staple_cache_t *cache, unsigned int kind)
{
    if (kind < STAPLE_CACHE_FAILURES) {
        count_add(&cache->header->failures[kind], 1);
    }
}

apr_uint64_t staple_cache_failures(const staple_cache_t *cache,
                                   unsigned int kind)
{
    return kind < STAPLE_CACHE_FAILURES
           ? word_get(&cache->header->failures[kind]) : 0;
}

/* ---- Requests. ---- */

apr_status_t staple_cache_put_request(const staple_cache_t *cache,
                                      word_t *places, int count, int slot,
                                      apr_uint32_t what)
{
    int i;

    if (!slot_of(cache, slot)) {
        return APR_EINVAL;
    }
    for (i = 0; i < count; i++) {
        if (request_put(&places[i], (apr_uint64_t)slot << 32 | what)) {
            return APR_SUCCESS;
        }
    }
    return APR_EAGAIN;
}

apr_status_t staple_cache_request(const staple_cache_t *cache, int slot,
                                  apr_uint32_t what)
{
    return count_of(cache, slot)
           ? staple_cache_put_request(cache, cache->counters->requests,
                                      STAPLE_CACHE_REQUESTS, slot, what)
           : APR_EINVAL;
}

/* Whatever lies there, what comes back is known, for a slot that exists. */
static apr_uint32_t take_from(const staple_cache_t *cache, word_t *places,
                              int count, int *slot)
{
    const apr_uint32_t known = STAPLE_CACHE_REFRESH | STAPLE_CACHE_FORGET
                               | STAPLE_CACHE_FORCE | STAPLE_CACHE_ALL;
    int i;

    for (i = 0; i < count; i++) {
        apr_uint64_t request = word_get(&places[i]) ? request_take(&places[i])
                                                    : 0;

        *slot = (int)(request >> 32);
        if (request & known && slot_of(cache, *slot)) {
            return (apr_uint32_t)request & known;
        }
    }
    return 0;
}

apr_uint32_t staple_cache_take_request(staple_cache_t *cache,
                                       int are_all_heard, int *slot)
{
    apr_uint32_t what = take_from(cache, cache->asked, STAPLE_CACHE_ASKED,
                                  slot);

    return what || !are_all_heard || !cache->counters
           ? what : take_from(cache, cache->counters->requests,
                              STAPLE_CACHE_REQUESTS, slot);
}
