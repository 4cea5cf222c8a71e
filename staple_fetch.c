/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The fetch engine, see staple_fetch.h for the contract. What lives here: the
 * loop, which waits for whatever comes first, gives every exchange its steps,
 * and fills free slots with the next jobs. What does not: the steps
 * (fetch/exchange.c and attempt.c), what becomes of a job (fetch/job.c), whose
 * turn it is (fetch/queue.c), sockets (fetch/conn.c), names
 * (fetch/dns.c), HTTP, OCSP, and any decision about when to ask.
 *
 * The one idea: a job travels, an exchange is one visit. The job carries what
 * was learned on the way; the visit holds everything that waits for a peer,
 * and ends in one of three places: staple_fetch_succeed, staple_fetch_fail, or
 * the engine's end.
 *
 *     job  --submit-->  fresh  --route-->  queue  --start-->  exchange
 *                         ^                                      |
 *                         +----------- its next URL -------------+--> done
 *
 * Memory: a job is a block of malloc, since ten thousand of them may wait.
 * An exchange and a connection have a pool of their own. Nothing is taken from
 * the engine's pool once it runs.
 */

#include "fetch/fetch_int.h"

#include "staple_pool.h"

#include <apr_strings.h>

/* Shorter than the keep-alive of most servers, so that few are stale. */
#define KEEPALIVE apr_time_from_sec(4)

#define FREE_MAX (1024 * 1024) /* bytes kept for the pools to come */

/* ---- turns ---- */

/* It does not wait, but there is an end to how many there may be. */
static void start_probe(staple_fetch_t *fetch, job_t *job,
                        responder_t *responder)
{
    if (staple_fetch_queue_has_room_aside(&fetch->queue)) {
        staple_fetch_exchange_start(fetch, job, responder, staple_clock_now());
    }
    else {
        staple_fetch_job_pass_on_as(fetch, job, STAPLE_FETCH_SYSTEM,
                                    "no place for a probe");
    }
}

/* Put a job where it waits, or past a URL that cannot be asked. */
static void route(staple_fetch_t *fetch, job_t *job)
{
    apr_pool_t *p = fetch->scratch;
    const staple_url_t *through;
    responder_t *responder;
    staple_url_t url, proxy;
    staple_url_e reason;

    APR_RING_REMOVE(&job->waiter, link);
    apr_pool_clear(p);
    reason = staple_url_parse(&url, staple_fetch_job_url(job), p);
    if (reason != STAPLE_URL_OK) {
        staple_fetch_job_pass_on_as(
            fetch, job, STAPLE_FETCH_BAD_URL,
            apr_pstrcat(p, "the URL ", staple_url_text(reason), NULL));
        return;
    }
    if (!staple_fetch_job_proxy(job, &proxy, &through, p)) {
        staple_fetch_job_pass_on_as(fetch, job, STAPLE_FETCH_BAD_URL,
                                    "the proxy's URL cannot be used");
        return;
    }
    responder = staple_fetch_queue_responder(&fetch->queue, &url, through, p);
    if (!responder) {
        staple_fetch_job_pass_on_as(fetch, job, STAPLE_FETCH_SYSTEM,
                                    "out of memory");
        return;
    }
    if (job->ask.is_probe) {
        start_probe(fetch, job, responder);
        return;
    }
    job->waiter.has_other = job->tried + 1 < job->ask.urls_count;
    job->waiter.is_suspect = job->ask.is_suspect;
    staple_fetch_queue_add(&fetch->queue, responder, &job->waiter);
}

/* Its responder is not asked now: the job fails for the reason of others. */
static void refuse(staple_fetch_t *fetch, job_t *job, const failure_t *refusal)
{
    failure_t failure = *refusal;

    failure.resolve_took = failure.connect_took = failure.wait_took = -1;
    staple_fetch_job_pass_on(fetch, job, &failure, NULL);
}

/* One step towards full slots; whether there was one to take. */
static int take_turn(staple_fetch_t *fetch, apr_time_t now)
{
    const failure_t *refusal;
    responder_t *responder = staple_fetch_queue_next(&fetch->queue, now,
                                                     &refusal);

    if (responder) {
        job_t *job = staple_fetch_job_of(
            staple_fetch_queue_take(&fetch->queue, responder));

        if (refusal) {
            refuse(fetch, job, refusal);
        }
        else {
            staple_fetch_exchange_start(fetch, job, responder, now);
        }
        return 1;
    }
    if (!APR_RING_EMPTY(&fetch->fresh, waiter_t, link)) {
        route(fetch, staple_fetch_job_of(APR_RING_FIRST(&fetch->fresh)));
        return 1;
    }
    return 0;
}

/* Fill the slots; beyond that, as much as there is time for. */
static void take_turns(staple_fetch_t *fetch, apr_time_t until)
{
    int enough = fetch->conf.concurrency * 2;
    apr_time_t now = staple_clock_now();

    while (take_turn(fetch, now) && (enough-- > 0 || now < until)) {
        now = staple_clock_now();
    }
}

/* ---- the loop ---- */

/* Whoever waits for this look-up has to give up. */
static void fail_lookup(staple_fetch_t *fetch,
                        const staple_fetch_lookup_t *lookup)
{
    exchange_t *ex, *next;

    APR_RING_FOREACH_SAFE(ex, next, &fetch->exchanges, exchange_t, link) {
        if (ex->site == lookup->site && ex->state == RESOLVING) {
            staple_fetch_exchange_unresolved(fetch, ex, lookup->error);
        }
    }
}

/* What was looked up; who waited for it goes on in step_exchanges(). */
static void take_lookups(staple_fetch_t *fetch)
{
    staple_fetch_lookup_t lookup;

    while (staple_fetch_dns_take(fetch->dns, &lookup)) {
        site_t *site = lookup.site;

        site->is_looked_up = 0;
        if (lookup.count) {
            staple_fetch_queue_set_endpoints(&fetch->queue, site,
                                             lookup.endpoints, lookup.count,
                                             staple_clock_now());
        }
        else {
            fail_lookup(fetch, &lookup);
        }
    }
}

static void step_exchanges(staple_fetch_t *fetch)
{
    exchange_t *ex, *next;
    apr_time_t now = staple_clock_now();

    APR_RING_FOREACH_SAFE(ex, next, &fetch->exchanges, exchange_t, link) {
        staple_fetch_exchange_step(fetch, ex, now);
    }
}

/* When step_exchanges() is needed next, if nothing happens before. */
static apr_time_t next_step(const staple_fetch_t *fetch, apr_time_t until)
{
    const exchange_t *ex;

    APR_RING_FOREACH(ex, &fetch->exchanges, exchange_t, link) {
        apr_time_t then = staple_fetch_exchange_next_step(ex);

        until = then < until ? then : until;
    }
    return until;
}

static void handle_event(staple_fetch_t *fetch, const apr_pollfd_t *pfd)
{
    conn_t *conn = STAPLE_CAST(conn_t, CONN_MAGIC, pfd->client_data);

    switch (conn->state) {
    case STAPLE_FETCH_CONN_CONNECTING:
        staple_fetch_attempt_connected(fetch, conn);
        break;
    case STAPLE_FETCH_CONN_BUSY:
        staple_fetch_attempt_go_on(fetch, conn->owner, pfd->rtnevents);
        break;
    case STAPLE_FETCH_CONN_IDLE:
        /* its peer has nothing to say to us */
        staple_fetch_conn_close(&fetch->conns, conn);
        break;
    case STAPLE_FETCH_CONN_DEAD:
        break;
    }
}

/* A wait was interrupted: by a signal, or by a name that was looked up. */
static int is_ending(const staple_fetch_t *fetch)
{
    return fetch->conf.is_ending
           && fetch->conf.is_ending(fetch->conf.ending_baton);
}

/* @return whether to go on */
static int handle_events(staple_fetch_t *fetch, apr_interval_time_t wait)
{
    const apr_pollfd_t *events;
    apr_int32_t count = 0;
    apr_status_t rv;
    apr_int32_t i;

    /* the pollset counts in milliseconds: less than one would be a spin */
    if (wait > 0 && wait < 1000) {
        wait = 1000;
    }
    rv = apr_pollset_poll(fetch->pollset, wait, &count, &events);
    for (i = 0; rv == APR_SUCCESS && i < count; i++) {
        handle_event(fetch, &events[i]);
    }
    return !APR_STATUS_IS_EINTR(rv) || !is_ending(fetch);
}

int staple_fetch_run(staple_fetch_t *fetch, apr_interval_time_t span)
{
    apr_time_t now = staple_clock_now();
    apr_time_t until = now + span;
    apr_interval_time_t wait = 0;

    while (handle_events(fetch, wait)) {
        take_lookups(fetch);
        step_exchanges(fetch);
        take_turns(fetch, until);
        now = staple_clock_now();
        staple_fetch_conn_close_idle(&fetch->conns, now - KEEPALIVE);
        staple_fetch_conn_free_closed(&fetch->conns);
        if (!fetch->busy || now >= until) {
            break;
        }
        wait = next_step(fetch, until) - now;
        if (wait < 0 || !APR_RING_EMPTY(&fetch->fresh, waiter_t,
                                        link)) {
            wait = 0;
        }
    }
    return fetch->busy;
}

int staple_fetch_busy(const staple_fetch_t *fetch)
{
    return fetch->busy;
}

/* ---- life ---- */

apr_status_t staple_fetch_submit(staple_fetch_t *fetch,
                                 const staple_fetch_job_t *ask)
{
    job_t *job;

    if (fetch->is_destroyed) {
        return APR_EOF;
    }
    if (ask->urls_count < 1 || !ask->request != !ask->request_len
        || !ask->done) {
        return APR_EINVAL;
    }
    job = staple_fetch_job_copy(ask);
    if (!job) {
        return APR_ENOMEM;
    }
    APR_RING_INSERT_TAIL(&fetch->fresh, &job->waiter, waiter_t,
                         link);
    fetch->busy++;
    return APR_SUCCESS;
}

/* Any job that is not under way, taken out of where it waits; NULL: none. */
static job_t *take_any(staple_fetch_t *fetch)
{
    waiter_t *waiter = staple_fetch_queue_take_any(&fetch->queue);

    if (!waiter && !APR_RING_EMPTY(&fetch->fresh, waiter_t,
                                   link)) {
        waiter = APR_RING_FIRST(&fetch->fresh);
        APR_RING_REMOVE(waiter, link);
    }
    return staple_fetch_job_of(waiter);
}

/* Before the engine's pool goes, by destroy or with its parent: what was not
 * taken from it. Callbacks are no longer made. */
static apr_status_t cleanup(void *data)
{
    staple_fetch_t *fetch = STAPLE_CAST(staple_fetch_t, FETCH_MAGIC, data);
    exchange_t *ex;
    job_t *job;

    while ((job = take_any(fetch)) != NULL) {
        staple_fetch_job_free(job);
    }
    APR_RING_FOREACH(ex, &fetch->exchanges, exchange_t, link) {
        staple_fetch_job_free(ex->job);
    }
    staple_fetch_dns_destroy(fetch->dns);
    staple_fetch_queue_free(&fetch->queue);
    return APR_SUCCESS;
}

void staple_fetch_destroy(staple_fetch_t *fetch)
{
    job_t *job;

    fetch->is_destroyed = 1;
    while (!APR_RING_EMPTY(&fetch->exchanges, exchange_t, link)) {
        exchange_t *ex = APR_RING_FIRST(&fetch->exchanges);

        staple_fetch_leave(fetch, ex);
        staple_fetch_job_end_stopped(fetch, ex->job);
        apr_pool_destroy(ex->pool);
    }
    while ((job = take_any(fetch)) != NULL) {
        staple_fetch_job_end_stopped(fetch, job);
    }
    apr_pool_destroy(fetch->pool);
}

/* What the engine waits with. */
static apr_status_t init_waiting(staple_fetch_t *fetch)
{
    apr_uint32_t size = (apr_uint32_t)fetch->conf.concurrency
                        * (STAPLE_FETCH_ENDPOINTS_MAX + 1) + 1;
    apr_status_t rv = apr_pollset_create(&fetch->pollset, size, fetch->pool,
                                         APR_POLLSET_WAKEABLE);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    staple_fetch_conn_init(&fetch->conns, fetch->pool, fetch->pollset,
                           fetch->conf.concurrency);
    fetch->dns = staple_fetch_dns_create(fetch->pollset);
    return fetch->dns ? APR_SUCCESS : APR_ENOMEM;
}

apr_status_t staple_fetch_create(staple_fetch_t **made,
                                 const staple_fetch_conf_t *conf,
                                 apr_pool_t *p)
{
    staple_fetch_t *fetch;
    apr_pool_t *pool;
    apr_status_t rv;

    rv = staple_pool_make(&pool, p, FREE_MAX, "staple_fetch");
    if (rv != APR_SUCCESS) {
        return rv;
    }
    fetch = apr_pcalloc(pool, sizeof(*fetch));
    fetch->magic = FETCH_MAGIC;
    fetch->pool = pool;
    fetch->conf = *conf;
    fetch->conf.concurrency = conf->concurrency > 1 ? conf->concurrency : 1;
    fetch->conf.user_agent = apr_pstrdup(pool, conf->user_agent);
    APR_RING_INIT(&fetch->fresh, waiter_t, link);
    APR_RING_INIT(&fetch->exchanges, exchange_t, link);
    staple_fetch_queue_init(&fetch->queue, &fetch->conf, &fetch->conns, pool);
    rv = apr_pool_create(&fetch->scratch, pool);
    if (rv == APR_SUCCESS) {
        rv = init_waiting(fetch);
    }
    if (rv != APR_SUCCESS) {
        apr_pool_destroy(pool);
        return rv;
    }
    apr_pool_pre_cleanup_register(pool, fetch, cleanup);
    *made = fetch;
    return APR_SUCCESS;
}
