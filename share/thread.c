/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The share's thread. What lives here: its start and its loop, which the end of
 * the process ends. What does not: what it does to a request (share/engine.c)
 * and what it asks of the provider (share/call.c).
 *
 * The one idea: a provider call may hang for ever (apr_memcache reads without
 * a timeout, and so in effect does apr_redis), so it is made on a thread of its
 * own, which nobody waits for. All memory that this thread uses belongs to an
 * engine, whose pools have no parent and live as long as the process.
 */

#include "share_int.h"

#include <apr_general.h>

#include "staple_clock.h"

/* Bytes that the pool of a call keeps for the next one. */
#define SCRATCH_KEPT ((apr_size_t)256 * 1024)

/* ----- in the thread ----- */

static void wait_for_work(engine_t *engine)
{
    const request_t *settling = engine->settling.first;

    staple_wait_until(engine->wait, settling ? settling->ready_at : NEVER);
}

static request_t *next_request(engine_t *engine)
{
    for (;;) {
        request_t *request = staple_share_take_next(engine,
                                                    staple_clock_now());

        if (request) {
            return request;
        }
        wait_for_work(engine);
    }
}

/* The refresher may take the request, and free it, while the lock is not held;
 * so the call has a copy of it. */
static void handle_request(engine_t *engine, request_t *request)
{
    call_t call;

    staple_share_begin(engine, request, staple_clock_now(), &call);
    staple_wait_unlock(engine->wait);

    staple_share_make_call(&engine->client, &call);

    staple_wait_lock(engine->wait);
    staple_share_conclude(engine, request, &call, staple_clock_now());
}

static void *APR_THREAD_FUNC run_thread(apr_thread_t *thread, void *data)
{
    engine_t *engine = STAPLE_CAST(engine_t, ENGINE_MAGIC, data);

    (void)thread;
    apr_setup_signal_thread(); /* the server's signals are not for us */
    staple_wait_lock(engine->wait);
    for (;;) {
        handle_request(engine, next_request(engine));
    }
    return NULL; /* never reached; the type wants it */
}

/* ----- its start: in the refresher's thread ----- */

/* A pool that no other pool's end destroys. */
static apr_status_t make_pool(apr_pool_t **p, const backend_t *backend,
                              const char *tag)
{
    apr_status_t rv = apr_pool_create_unmanaged_ex(p, backend->on_oom, NULL);

    if (rv == APR_SUCCESS) {
        apr_pool_tag(*p, tag);
    }
    return rv;
}

static apr_status_t make_engine(engine_t **engine, const backend_t *backend)
{
    apr_pool_t *p;
    apr_status_t rv = make_pool(&p, backend, "staple_share");

    if (rv == APR_SUCCESS) {
        *engine = apr_pcalloc(p, sizeof(**engine));
        (*engine)->magic = ENGINE_MAGIC;
        (*engine)->pool = p;
        (*engine)->client.backend = *backend;
    }
    return rv;
}

static void free_engine(engine_t *engine)
{
    if (engine->client.scratch) {
        apr_pool_destroy(engine->client.scratch);
    }
    apr_pool_destroy(engine->pool);
}

static apr_status_t write_claim(client_t *client,
                                const unsigned char *identity)
{
    unsigned char made[STAPLE_SHARE_IDENTITY_LEN];
    apr_status_t rv = APR_SUCCESS;

    if (!identity) {
        rv = apr_generate_random_bytes(made, sizeof(made));
        identity = made;
    }
    if (rv == APR_SUCCESS) {
        staple_share_write_claim(client->claim, identity);
    }
    return rv;
}

static apr_status_t make_scratch(client_t *client)
{
    apr_status_t rv = make_pool(&client->scratch, &client->backend,
                                "staple_share_scratch");

    if (rv == APR_SUCCESS) {
        apr_allocator_max_free_set(apr_pool_allocator_get(client->scratch),
                                   SCRATCH_KEPT);
    }
    return rv;
}

static apr_status_t start_thread(engine_t *engine)
{
    apr_pool_t *p = engine->pool;
    apr_threadattr_t *attr;
    apr_thread_t *thread;
    apr_status_t rv = staple_wait_make(&engine->wait, p);

    if (!rv) {
        rv = apr_threadattr_create(&attr, p);
    }
    if (!rv) {
        apr_threadattr_detach_set(attr, 1);
        rv = apr_thread_create(&thread, attr, run_thread, engine, p);
    }
    return rv;
}

apr_status_t staple_share_launch(engine_t **enginep, const backend_t *backend,
                                 const unsigned char *identity)
{
    engine_t *engine;
    apr_status_t rv = make_engine(&engine, backend);

    if (rv) {
        return rv;
    }
    rv = write_claim(&engine->client, identity);
    if (!rv) {
        rv = make_scratch(&engine->client);
    }
    if (!rv) {
        rv = start_thread(engine);
    }
    if (rv) {
        free_engine(engine);
        return rv;
    }
    *enginep = engine;
    return APR_SUCCESS;
}
