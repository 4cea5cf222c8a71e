/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The handshake: look up, may it be served, copy, count. The contract is in
 * include/staple_handshake.h.
 *
 * The one idea: everything that could take long was done before, elsewhere. A
 * response in the ring is verified; what is left is to copy it and to compare
 * two moments with the clock.
 */

#include "staple_handshake.h"

#include <stdlib.h>

#include "staple_ocsp.h"
#include "staple_rules.h"

/* Most responses are shorter; a longer one costs an allocation. */
#define HANDSHAKE_BUF 8192

/* Where mod_ssl wants the bytes to be copied to. */
typedef struct taker_t {
    ap_ssl_ocsp_copy_resp *cb;
    void *userdata;
} taker_t;

static const char *outcome_of(const staple_cache_meta_t *meta)
{
    return meta->flags & STAPLE_RULES_IS_ERROR ? "error"
           : staple_ocsp_status_text((staple_ocsp_status_e)meta->status);
}

/* NULL: it may not be served now. */
static const char *hand_over(const staple_cert_t *cert,
                             const unsigned char *der, apr_size_t len,
                             const staple_cache_meta_t *meta,
                             const taker_t *taker)
{
    if (!staple_rules_may_serve(cert->policy, meta, apr_time_now())) {
        return NULL;
    }
    taker->cb(der, len, taker->userdata);
    return outcome_of(meta);
}

static const char *serve_large(const staple_cache_t *cache,
                               const staple_cert_t *cert,
                               const taker_t *taker)
{
    unsigned char *buf = malloc(STAPLE_CACHE_DER_MAX);
    const char *outcome = NULL;
    staple_cache_meta_t meta;
    apr_size_t len;

    if (buf && !staple_cache_read(cache, cert->slot, buf, STAPLE_CACHE_DER_MAX,
                                  &len, &meta)) {
        outcome = hand_over(cert, buf, len, &meta, taker);
    }
    free(buf);
    return outcome;
}

/* NULL: nothing was handed over. */
static const char *serve(const staple_cache_t *cache,
                         const staple_cert_t *cert, const taker_t *taker)
{
    unsigned char buf[HANDSHAKE_BUF];
    staple_cache_meta_t meta;
    apr_size_t len;
    apr_status_t rv = staple_cache_read(cache, cert->slot, buf, sizeof(buf),
                                        &len, &meta);

    if (rv == APR_ENOSPC) {
        return serve_large(cache, cert, taker);
    }
    return rv ? NULL : hand_over(cert, buf, len, &meta, taker);
}

static void count(staple_cache_t *cache, int slot, int is_served)
{
    staple_cache_served_t more;

    more.served = is_served ? 1 : 0;
    more.missed = is_served ? 0 : 1;
    staple_cache_count_served(cache, slot, &more);
}

const char *staple_handshake_answer(staple_cache_t *cache,
                                    const staple_cert_t *cert,
                                    ap_ssl_ocsp_copy_resp *cb, void *userdata)
{
    taker_t taker = { cb, userdata };
    const char *outcome = serve(cache, cert, &taker);

    count(cache, cert->slot, outcome != NULL);
    if (!outcome) {
        cb(NULL, 0, userdata);
    }
    return outcome ? outcome : STAPLE_HANDSHAKE_NONE;
}

/* ap_ssl_ocsp_copy_resp */
static void take_nothing(const unsigned char *der, apr_size_t len,
                         void *userdata)
{
    (void)der;
    (void)len;
    (void)userdata;
}

int staple_handshake_has(const staple_cache_t *cache,
                         const staple_cert_t *cert)
{
    static const taker_t taker = { take_nothing, NULL };

    return serve(cache, cert, &taker) != NULL;
}
