/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the ring holds for a certificate, and what may take its place: a
 * response is looked at, judged, compared and stored here, whether it came
 * from a responder, from the share or out of a file.
 *
 * The one idea: there is one way into the ring, and it leads through the
 * judgement.
 */

#include "refresh_int.h"

#include <string.h>

/* buf is room for any response; the bytes are copied to have them checked. */
held_t staple_refresh_read_held_into(const staple_cache_t *cache,
                                     const staple_cert_t *cert, apr_time_t now,
                                     unsigned char buf[STAPLE_CACHE_DER_MAX])
{
    held_t held;

    memset(&held, 0, sizeof(held));
    held.is_there = staple_cache_read(cache, cert->slot, buf,
                                      STAPLE_CACHE_DER_MAX, &held.len,
                                      &held.meta)
                    == APR_SUCCESS;
    if (held.is_there
        && staple_rules_may_serve(cert->policy, &held.meta, now)) {
        held.until = staple_rules_serve_until(cert->policy, &held.meta);
    }
    return held;
}

held_t staple_refresh_read_held(staple_refresh_t *refresh,
                                const staple_cert_t *cert, apr_time_t now)
{
    return staple_refresh_read_held_into(refresh->conf.cache, cert, now,
                                         refresh->buf);
}

int staple_refresh_is_held(staple_refresh_t *refresh, const staple_cert_t *cert,
                           apr_time_t now)
{
    held_t held = staple_refresh_read_held(refresh, cert, now);

    return staple_refresh_is_valid(&held);
}

int staple_refresh_is_believed(const staple_refresh_t *refresh, int thread,
                               const staple_cert_t *cert,
                               const unsigned char *der, apr_size_t len,
                               staple_ocsp_verdict_t *verdict)
{
    const staple_refresh_conf_t *conf = &refresh->conf;
    int is_believed;

    conf->mark(conf->baton, thread, cert->slot);
    is_believed = staple_rules_is_believed(cert, der, len, apr_time_now(),
                                           verdict);
    conf->mark(conf->baton, thread, -1);
    return is_believed;
}

int staple_refresh_is_valid(const held_t *held)
{
    return held->until && !(held->meta.flags & STAPLE_RULES_IS_ERROR);
}

apr_status_t staple_refresh_store(staple_refresh_t *refresh,
                                  const staple_cert_t *cert,
                                  const unsigned char *der, apr_size_t len,
                                  const staple_cache_meta_t *meta)
{
    apr_status_t rv = staple_cache_store(refresh->conf.cache, cert->slot, der,
                                         len, meta);
    task_t *task = &refresh->tasks[cert->slot];

    if (rv && !task->is_without_room) {
        staple_refresh_log_no_room(refresh->conf.server, cert, rv);
    }
    task->is_without_room = rv != APR_SUCCESS;
    return rv;
}

int staple_refresh_is_improvement(const staple_cert_t *cert,
                                  const held_t *held,
                                  const believed_t *response, apr_time_t now)
{
    return !held->is_there
           || staple_rules_is_better(cert->policy, &held->meta,
                                     response->verdict,
                                     response->len < held->len, now);
}

int staple_refresh_is_revocation(const held_t *held)
{
    return held->is_there && held->meta.status == STAPLE_OCSP_REVOKED;
}

/* Revoked and not revoked any more are told once, however often the CA says
 * so, and whether what said it has ended meanwhile or not. */
static void report_revocation(staple_refresh_t *refresh,
                              const staple_cert_t *cert, const held_t *held,
                              const staple_ocsp_verdict_t *verdict,
                              apr_pool_t *ptemp)
{
    int is_revoked = verdict->status == STAPLE_OCSP_REVOKED;

    if (is_revoked && !staple_refresh_is_revocation(held)) {
        staple_refresh_log_revoked(refresh, cert, verdict, ptemp);
    }
    else if (!is_revoked && staple_refresh_is_revocation(held)) {
        staple_refresh_log_unrevoked(refresh, cert, verdict, ptemp);
    }
}

store_e staple_refresh_store_wanted(staple_refresh_t *refresh,
                                    const staple_cert_t *cert,
                                    const held_t *held,
                                    const believed_t *response,
                                    apr_pool_t *ptemp)
{
    const staple_ocsp_verdict_t *verdict = response->verdict;
    apr_time_t now = apr_time_now();
    staple_cache_meta_t meta;

    if (!staple_refresh_is_improvement(cert, held, response, now)) {
        return STORE_UNWANTED;
    }
    meta = staple_rules_meta(verdict, now);
    if (staple_refresh_store(refresh, cert, response->der, response->len,
                             &meta)) {
        return STORE_NO_ROOM;
    }
    report_revocation(refresh, cert, held, verdict, ptemp);
    return STORE_DONE;
}

alarm_e staple_refresh_alarm_of(const staple_cert_t *cert, const held_t *held,
                                apr_time_t now)
{
    if (!staple_refresh_is_valid(held)) {
        return cert->is_must_staple ? ALARM_REFUSED : ALARM_FAILING;
    }
    return staple_rules_is_urgent(cert->policy, &held->meta, now)
           ? ALARM_URGENT : ALARM_FAILING;
}

staple_state_e staple_refresh_state_of(staple_refresh_t *refresh,
                                       const staple_cert_t *cert,
                                       const staple_cache_state_t *exchange,
                                       apr_time_t now)
{
    held_t held = staple_refresh_read_held(refresh, cert, now);
    staple_state_traits_t traits;
    staple_state_facts_t facts;

    staple_state_traits_of(&traits, cert);
    memset(&facts, 0, sizeof(facts));
    facts.now = now;
    facts.traits = &traits;
    facts.policy = cert->policy;
    facts.exchange = exchange;
    facts.held = held.is_there ? &held.meta : NULL;
    facts.has_slot = 1;
    return staple_state_judge(&facts);
}

void staple_refresh_note_since(staple_refresh_t *refresh,
                               const staple_cert_t *cert,
                               staple_cache_state_t *state, apr_time_t now)
{
    staple_state_e is = staple_refresh_state_of(refresh, cert, state, now);

    staple_words_note_since(state, staple_state_needs_attention(is), now);
}

void staple_refresh_renew_since(staple_refresh_t *refresh,
                                const staple_cert_t *cert, apr_time_t now)
{
    staple_cache_state_t state;
    apr_uint64_t before;

    staple_cache_state(refresh->conf.cache, cert->slot, &state);
    before = state.since;
    staple_refresh_note_since(refresh, cert, &state, now);
    if (state.since != before) {
        staple_cache_set_state(refresh->conf.cache, cert->slot, &state);
    }
}
