/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What a starting child does before its first accept: verify, together with
 * the others, what a ring file brought, and wait a moment for what a cold
 * start is missing. In the child's main thread, while the leader may already
 * be at work in another: nothing here touches what is the leader's.
 */

#include "refresh_int.h"

#include <string.h>

/* How long a starting child waits between looks at what others do. */
#define POLL_PAUSE 1000

/* To verify a response takes a moment: where nothing moves for so long, who
 * was at it has been killed. */
#define STALL_SPAN apr_time_from_msec(50)

/* ----- what a file brought ----- */

static const staple_cert_t *cert_of_slot(const staple_refresh_t *refresh,
                                         int slot)
{
    const apr_array_header_t *list = staple_cert_list(refresh->conf.registry);
    int i;

    for (i = slot; i < list->nelts; i++) { /* slots follow the list's order */
        const staple_cert_t *cert = APR_ARRAY_IDX(list, i, staple_cert_t *);

        if (cert->slot == slot) {
            return cert;
        }
    }
    return NULL;
}

static int is_pending_true(const staple_refresh_t *refresh,
                           const staple_cert_t *cert,
                           unsigned char buf[STAPLE_CACHE_DER_MAX])
{
    staple_ocsp_verdict_t verdict;
    staple_cache_meta_t meta;
    apr_size_t len;

    return cert
           && staple_cache_read_pending(refresh->conf.cache, cert->slot, buf,
                                        STAPLE_CACHE_DER_MAX, &len, &meta)
              == APR_SUCCESS
           && staple_refresh_is_believed(cert, buf, len, &verdict)
           && (apr_uint32_t)verdict.status == meta.status
           && verdict.this_update == meta.this_update
           && verdict.next_update == meta.next_update;
}

static void confirm(const staple_refresh_t *refresh, int slot)
{
    unsigned char buf[STAPLE_CACHE_DER_MAX];

    staple_cache_confirm(refresh->conf.cache, slot,
                         is_pending_true(refresh, cert_of_slot(refresh, slot),
                                         buf));
}

/* What others have taken on and not done; twice does no harm. */
static void confirm_rest(const staple_refresh_t *refresh)
{
    const staple_cache_t *cache = refresh->conf.cache;
    int count = (int)staple_cache_count(cache);
    unsigned char none[1];
    apr_size_t len;
    int slot;

    for (slot = 0; slot < count; slot++) {
        if (staple_cache_read_pending(cache, slot, none, 0, &len, NULL)
            == APR_ENOSPC) {
            confirm(refresh, slot);
        }
    }
}

/* Wait for others that are at the last ones; where they stall, do it. */
static void await_rest(const staple_refresh_t *refresh, apr_time_t deadline)
{
    apr_time_t now = apr_time_now(), moved = now;
    apr_size_t left, before = 0;

    while ((left = staple_cache_pending(refresh->conf.cache))
           && now < deadline) {
        if (left != before) {
            before = left;
            moved = now;
        }
        else if (now - moved > STALL_SPAN) {
            confirm_rest(refresh);
        }
        apr_sleep(POLL_PAUSE);
        now = apr_time_now();
    }
}

void staple_refresh_confirm(staple_refresh_t *refresh,
                            apr_interval_time_t patience)
{
    apr_time_t deadline = apr_time_now() + patience;
    int slot;

    while ((slot = staple_cache_claim_pending(refresh->conf.cache)) >= 0) {
        confirm(refresh, slot);
    }
    await_rest(refresh, deadline);
}

/* ----- what a cold start waits for ----- */

/* Whether nothing is held for a certificate and nobody has tried yet. */
static int is_awaited(const staple_refresh_t *refresh,
                      const staple_cert_t *cert, apr_time_t created)
{
    staple_cache_state_t state;
    unsigned char none[1];
    apr_size_t len;

    if (cert->slot < 0
        || staple_cache_read(refresh->conf.cache, cert->slot, none, 0, &len,
                             NULL) != APR_NOTFOUND) {
        return 0;
    }
    staple_cache_state(refresh->conf.cache, cert->slot, &state);
    return state.last_attempt < created;
}

void staple_refresh_await(const staple_refresh_t *refresh,
                          apr_interval_time_t patience,
                          apr_interval_time_t must_patience)
{
    const apr_array_header_t *list = staple_cert_list(refresh->conf.registry);
    apr_time_t start = apr_time_now();
    staple_cache_usage_t usage;
    int i = 0;

    staple_cache_usage(refresh->conf.cache, &usage);
    while (i < list->nelts) { /* what was settled once stays so */
        const staple_cert_t *cert = APR_ARRAY_IDX(list, i, staple_cert_t *);
        apr_time_t waited = apr_time_now() - start;

        if (!is_awaited(refresh, cert, usage.created)
            || waited >= (cert->is_must_staple ? must_patience : patience)) {
            i++;
        }
        else {
            apr_sleep(POLL_PAUSE);
        }
    }
}

const char *staple_refresh_missing(const staple_refresh_t *refresh)
{
    const apr_array_header_t *list = staple_cert_list(refresh->conf.registry);
    unsigned char buf[STAPLE_CACHE_DER_MAX]; /* refresh->buf is the leader's */
    apr_time_t now = apr_time_now();
    int i;

    for (i = 0; i < list->nelts; i++) {
        const staple_cert_t *cert = APR_ARRAY_IDX(list, i, staple_cert_t *);

        if (cert->is_must_staple && cert->scope == STAPLE_CERT_APPLIES) {
            held_t held = staple_refresh_read_held_into(refresh->conf.cache,
                                                        cert, now, buf);

            if (!staple_refresh_is_valid(&held)) {
                return cert->name;
            }
        }
    }
    return NULL;
}
