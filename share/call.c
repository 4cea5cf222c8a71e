/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * One call of the share's provider: it reads a response, makes a claim, or
 * stores a response. What lives here: the calls of a provider, and what their
 * results mean. What does not: the bytes that are stored (share/entry.c),
 * whether a call is made, and who waits for its result (share/engine.c).
 *
 * The one idea: a call of a provider may never return. So these functions use
 * only memory that belongs to the share's thread, a client and a call, and hold
 * no mutex.
 */

#include "share_int.h"

#include <stdlib.h>
#include <string.h>

/* memcached reads more than 30 days as a date. */
#define EXPIRY_MAX apr_time_from_sec((apr_time_t)29 * 86400)

/* Providers take whole seconds and round down. */
#define EXPIRY_MIN apr_time_from_sec(1)

/* ----- the provider ----- */

/* Read the value of a key into the client's buffer. */
static apr_status_t read_value(client_t *client, const unsigned char *key,
                         unsigned int *len)
{
    const backend_t *backend = &client->backend;

    *len = sizeof(client->buf);
    return backend->provider->retrieve(backend->instance, backend->server, key,
                                       STAPLE_SHARE_KEY_LEN, client->buf, len,
                                       client->scratch);
}

static apr_status_t store(const client_t *client, const unsigned char *key,
                          unsigned char *bytes, apr_size_t len,
                          apr_time_t expiry)
{
    const backend_t *backend = &client->backend;
    apr_status_t rv
        = backend->provider->store(backend->instance, backend->server, key,
                                   STAPLE_SHARE_KEY_LEN, expiry, bytes,
                                   (unsigned int)len, client->scratch);

    /* The clients of redis and memcache report "not found" when a server is
     * down. */
    return APR_STATUS_IS_NOTFOUND(rv) ? APR_EGENERAL : rv;
}

/* The value is too large for our buffer or for the provider. That does not say
 * whether the provider works. */
static int is_size_refused(apr_status_t rv)
{
    return APR_STATUS_IS_ENOSPC(rv) || APR_STATUS_IS_ENOMEM(rv);
}

static apr_status_t health_of(apr_status_t rv)
{
    return is_size_refused(rv) ? APR_NOTFOUND : rv;
}

/* ----- reading a response ----- */

/* Copy the response: the next call uses the buffer again, and the answer is
 * used after that. */
static void keep_response(call_t *call)
{
    call->der = malloc(call->answer.der_len);
    if (!call->der) {
        memset(&call->answer, 0, sizeof(call->answer));
        return;
    }
    memcpy(call->der, call->answer.der, call->answer.der_len);
    call->answer.der = call->der;
}

static void get_response(client_t *client, call_t *call)
{
    unsigned int len;
    apr_status_t rv = read_value(client, call->op.key, &len);

    call->health = health_of(rv);
    if (rv && !is_size_refused(rv)) {
        if (APR_STATUS_IS_NOTFOUND(rv)) {
            call->answer.outcome = STAPLE_SHARE_MISSING;
        }
        return;
    }
    if (rv || !staple_share_unpack(&call->answer, client->buf, len)) {
        call->is_foreign = 1;
        call->answer.outcome = STAPLE_SHARE_MISSING;
        return;
    }
    keep_response(call);
}

/* ----- making a claim ----- */

/* Half a second is added, because providers round down to whole seconds. */
static apr_time_t claim_expiry(apr_interval_time_t span)
{
    return apr_time_now() + (span > EXPIRY_MIN ? span : EXPIRY_MIN)
           + EXPIRY_MIN / 2;
}

/* The first time: read the claim, and write one if there is none. The second
 * time: read whose claim is there now. */
static void make_claim(client_t *client, call_t *call)
{
    unsigned int len = 0;
    apr_status_t rv = read_value(client, call->op.key, &len);

    call->health = health_of(rv);
    if (call->health && !APR_STATUS_IS_NOTFOUND(call->health)) {
        return;
    }
    call->answer.outcome
        = rv ? STAPLE_SHARE_MISSING
             : staple_share_read_claim(client->claim, client->buf, len);
    if (call->answer.outcome != STAPLE_SHARE_MISSING) {
        return;
    }
    call->answer.outcome = STAPLE_SHARE_NO_ANSWER;
    if (call->op.is_written) { /* the provider has not kept it */
        return;
    }
    rv = store(client, call->op.key, client->claim, STAPLE_SHARE_CLAIM_LEN,
               claim_expiry(call->op.span));
    call->health = health_of(rv);
    call->has_written = !rv;
}

/* ----- storing a response ----- */

static void put_response(client_t *client, call_t *call)
{
    apr_time_t now = apr_time_now();
    apr_time_t expiry = call->op.expiry < now + EXPIRY_MAX ? call->op.expiry
                                                            : now + EXPIRY_MAX;

    call->health = APR_NOTFOUND;
    /* mod_socache_redis takes an expiry in the past for one far ahead. */
    if (expiry < now + EXPIRY_MIN) {
        return;
    }
    call->health = health_of(store(client, call->op.key, call->record,
                                   call->op.len, expiry));
}

void staple_share_make_call(client_t *client, call_t *call)
{
    switch (call->op.kind) {
    case GET:
        get_response(client, call);
        break;
    case CLAIM:
        make_claim(client, call);
        break;
    case PUT:
        put_response(client, call);
        break;
    }
    apr_pool_clear(client->scratch);
}
