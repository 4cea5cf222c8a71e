/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The share: what the servers of a fleet know of each other's responses, by
 * way of any ap_socache provider. What lives here: how a share is configured,
 * and the refresher's side of it, see include/staple_share.h for the contract.
 * What does not: all that may block, see share/share_int.h.
 *
 * The one idea: a share is what the configuration has, an engine is what the
 * refresher makes of it. The refresher puts requests into the engine, takes
 * finished ones out and calls back. Nobody waits for the engine's thread, not
 * even at the end of the process.
 *
 * Moments are those of the clock that never jumps, but for the dates that come
 * from outside and go there: when a response was fetched, when it expires, and
 * when the provider failed last.
 */

#include "staple_share.h"
#include "share/share_int.h"

#include <stdlib.h>
#include <string.h>

#include <ap_provider.h>
#include <ap_socache.h>
#include <apr_strings.h>

#include "staple_clock.h"

struct staple_share_t {
    const char *name;
    backend_t backend;
    const unsigned char *identity; /* NULL: each start has its own */
    engine_t *engine;     /* NULL: not started */
    int owed;             /* callbacks */
};

/* ----- start of the server ----- */

static const char *describe_unknown(const char *name, apr_pool_t *p)
{
    const apr_array_header_t *names
        = ap_list_provider_names(p, AP_SOCACHE_PROVIDER_GROUP,
                                 AP_SOCACHE_PROVIDER_VERSION);
    const char *known = apr_array_pstrcat(p, names, ',');

    return apr_psprintf(p, "there is no socache provider '%s' (known: %s); "
                        "perhaps mod_socache_%s is to be loaded", name,
                        *known ? known : "none", name);
}

const char *staple_share_create(staple_share_t **sharep, const char *spec,
                                apr_pool_t *p, apr_pool_t *ptemp)
{
    staple_share_t *share = apr_pcalloc(p, sizeof(*share));
    backend_t *backend = &share->backend;
    const char *colon = strchr(spec, ':');
    const char *error;

    share->name = colon ? apr_pstrmemdup(p, spec, (apr_size_t)(colon - spec))
                        : apr_pstrdup(p, spec);
    backend->provider = ap_lookup_provider(AP_SOCACHE_PROVIDER_GROUP,
                                           share->name,
                                           AP_SOCACHE_PROVIDER_VERSION);
    if (!backend->provider) {
        return describe_unknown(share->name, p);
    }
    error = backend->provider->create(&backend->instance,
                                      colon ? colon + 1 : NULL, ptemp, p);
    if (error) {
        return apr_psprintf(p, "the socache provider '%s' says: %s",
                            share->name, error);
    }
    *sharep = share;
    return NULL;
}

const char *staple_share_name(const staple_share_t *share)
{
    return share->name;
}

apr_status_t staple_share_init(staple_share_t *share, server_rec *s,
                               apr_pool_t *p)
{
    backend_t *backend = &share->backend;
    struct ap_socache_hints hints;

    memset(&hints, 0, sizeof(hints));
    hints.avg_id_len = STAPLE_SHARE_KEY_LEN;
    hints.avg_obj_size = 2048;
    hints.expiry_interval = apr_time_from_sec(300);
    backend->server = s;
    backend->on_oom = apr_pool_abort_get(p);
    return backend->provider->init(backend->instance, STAPLE_SHARE_NAMESPACE,
                                   &hints, s, p);
}

void staple_share_set_identity(staple_share_t *share,
                               const unsigned char *identity)
{
    share->identity = identity;
}

/* ----- requests ----- */

static operation_t make_operation(operation_kind_e kind,
                                  const unsigned char *id)
{
    operation_t op;

    memset(&op, 0, sizeof(op));
    op.kind = kind;
    staple_share_write_key(op.key, id,
                           kind == CLAIM ? STAPLE_SHARE_KEY_CLAIM
                                         : STAPLE_SHARE_KEY_RESPONSE);
    return op;
}

static request_t *make_request(const operation_t *op)
{
    request_t *request = calloc(1, sizeof(*request) + op->len);

    if (request) {
        request->op = *op;
    }
    return request;
}

/* Have a get or a claim answered. */
static apr_status_t submit(staple_share_t *share, const operation_t *op,
                           apr_interval_time_t patience,
                           staple_share_done_fn *done, void *baton)
{
    engine_t *engine = share->engine;
    apr_time_t now = staple_clock_now();
    request_t *request;

    if (!engine) {
        return APR_EINVAL;
    }
    request = make_request(op);
    if (!request) {
        return APR_ENOMEM;
    }
    request->done = done;
    request->baton = baton;
    request->deadline = now + patience;
    share->owed++;
    staple_wait_lock(engine->wait);
    staple_share_accept(engine, request, now);
    staple_wait_unlock(engine->wait);
    return APR_SUCCESS;
}

apr_status_t staple_share_get(staple_share_t *share, const unsigned char *id,
                              apr_interval_time_t patience,
                              staple_share_done_fn *done, void *baton)
{
    operation_t op = make_operation(GET, id);

    return submit(share, &op, patience, done, baton);
}

apr_status_t staple_share_claim(staple_share_t *share, const unsigned char *id,
                                apr_interval_time_t span,
                                apr_interval_time_t patience,
                                staple_share_done_fn *done, void *baton)
{
    operation_t op = make_operation(CLAIM, id);

    op.span = span;
    return submit(share, &op, patience, done, baton);
}

static request_t *make_put(const unsigned char *id, apr_size_t der_len,
                           apr_time_t expiry)
{
    operation_t op = make_operation(PUT, id);
    request_t *request;

    op.len = STAPLE_SHARE_HEAD_LEN + der_len;
    op.expiry = expiry;
    request = make_request(&op);
    if (request) {
        request->deadline = NEVER;
    }
    return request;
}

void staple_share_put(staple_share_t *share, const unsigned char *id,
                      const unsigned char *der, apr_size_t der_len,
                      apr_time_t fetched_at, apr_time_t expiry)
{
    engine_t *engine = share->engine;
    request_t *request;

    if (!engine || der_len > STAPLE_SHARE_DER_MAX) {
        return;
    }
    request = make_put(id, der_len, expiry);
    if (!request) {
        return;
    }
    staple_wait_lock(engine->wait);
    if (staple_share_pack(request->record, der, der_len, fetched_at)) {
        staple_share_accept(engine, request, staple_clock_now());
    }
    else {
        staple_share_refuse(engine, request);
    }
    staple_wait_unlock(engine->wait);
}

/* ----- answers ----- */

/* Until something is finished or nothing is owed; under the lock. */
static void wait_for_answer(const staple_share_t *share, apr_time_t now,
                            apr_time_t end)
{
    engine_t *engine = share->engine;

    for (;;) {
        apr_time_t next = staple_share_expire(engine, now);

        if (engine->finished.first || !share->owed || now >= end) {
            return;
        }
        staple_wait_until(engine->wait, next < end ? next : end);
        now = staple_clock_now();
    }
}

/* Call back, without the lock: callbacks make new requests. */
static void deliver(staple_share_t *share, request_t *request)
{
    while (request) {
        request_t *next = request->next;

        share->owed--;
        request->done(request->baton, &request->answer);
        free(request->der);
        free(request);
        request = next;
    }
}

int staple_share_run(staple_share_t *share, apr_interval_time_t span)
{
    engine_t *engine = share->engine;
    apr_time_t now = staple_clock_now();
    request_t *finished;

    if (!engine) {
        return 0;
    }
    staple_wait_lock(engine->wait);
    wait_for_answer(share, now, now + span);
    finished = staple_share_take_finished(engine);
    staple_wait_unlock(engine->wait);
    deliver(share, finished);
    return share->owed;
}

/* ----- the share's life ----- */

apr_status_t staple_share_start(staple_share_t *share)
{
    if (share->engine) {
        return APR_EINVAL;
    }
    return staple_share_launch(&share->engine, &share->backend,
                               share->identity);
}

void staple_share_state(staple_share_t *share, staple_share_state_t *state)
{
    engine_t *engine = share->engine;
    apr_time_t now = staple_clock_now();

    if (!engine) {
        memset(state, 0, sizeof(*state));
        return;
    }
    staple_wait_lock(engine->wait);
    staple_share_note_state(engine, now, state);
    staple_wait_unlock(engine->wait);
}
